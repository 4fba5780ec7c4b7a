"""Segmentation scores the slow way: sets of pixels, fractions, and every assignment tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[Any]
Objects = list[frozenset[int]]
HALF = Fraction(1, 2)
THRESHOLDS = [Fraction(k, 20) for k in range(10, 20)]


def objects(labels: Labels) -> Objects:
    flat = labels.reshape(-1).tolist()
    return [frozenset(i for i, value in enumerate(flat) if value == key) for key in sorted(set(flat) - {0})]


def iou(a: frozenset[int], b: frozenset[int]) -> Fraction:
    return Fraction(len(a & b), len(a | b))


def most_matches(edges: list[list[int]]) -> int:
    """The size of a maximum matching, by augmenting paths: `edges` of each object on the left."""
    partner: dict[int, int] = {}

    def augment(left: int, seen: set[int]) -> bool:
        for right in edges[left]:
            if right not in seen:
                seen.add(right)
                if right not in partner or augment(partner[right], seen):
                    partner[right] = left
                    return True
        return False

    return sum(augment(left, set()) for left in range(len(edges)))


def best_shared(true: Objects, mine: Objects) -> int:
    """The pixels shared under the assignment of the largest summed IoU, of equal sums the most."""
    found: set[tuple[Fraction, int, frozenset[int]]] = {(Fraction(0), 0, frozenset())}
    for one in true:
        grown = set(found)
        for total, shared, used in found:
            for k, other in enumerate(mine):
                if k not in used and one & other:
                    grown.add((total + iou(one, other), shared + len(one & other), used | {k}))
        found = grown
    return max((total, shared) for total, shared, _ in found)[1]


def counts(true_map: Labels, my_map: Labels, strict: bool = False) -> dict[str, Any]:
    """Everything about one image."""
    true, mine = objects(true_map), objects(my_map)
    table = [[iou(a, b) for b in mine] for a in true]

    def edges(t: Fraction) -> list[list[int]]:
        return [[k for k, x in enumerate(row) if (x > t if strict else x >= t)] for row in table]

    over = [x for row in table for x in row if x > HALF]
    sizes = [min(sum(len(a) >= limit for limit in (1024, 9216)), 2) for a in true]
    hit = [[k for k, a in enumerate(edges(HALF)) if a and sizes[k] == s] for s in range(3)]
    covered = [max((x for x, b in zip(row, mine, strict=True) if 2 * len(a & b) > len(a)), default=Fraction(0))
               for a, row in zip(true, table, strict=True)]  # fmt: skip
    fg, my_fg = frozenset().union(*true), frozenset().union(*mine)
    near = [[x > Fraction(1, 10) for x in row] for row in table]
    return {
        "true": len(true),
        "mine": len(mine),
        "tp": [most_matches(edges(t)) for t in THRESHOLDS],
        "over": over,
        "covered": sum(covered, Fraction(0)),
        "splits": sum(sum(row) > 1 for row in near),
        "merges": sum(sum(column) > 1 for column in zip(*near, strict=True)),
        "sizes": [(most_matches([edges(HALF)[k] for k in hit[s]]), sizes.count(s)) for s in range(3)],
        "shared": best_shared(true, mine),
        "pixels": sum(map(len, true)) + sum(map(len, mine)),
        "fg": (len(fg & my_fg), len(fg | my_fg), len(fg) + len(my_fg)),
        "bg": (true_map.size - len(fg | my_fg), true_map.size - len(fg & my_fg)),
    }


def parts(metric: str, one: Mapping[str, Any]) -> tuple[Fraction, Fraction]:
    """What is divided by what, for one image (metrics without a mean over thresholds or classes)."""
    name, _, t = metric.partition("@")
    tp = one["tp"][round(float(t) * 20) - 10] if t else 0
    both, total = len(one["over"]), one["true"] + one["mine"]
    found = {
        "f1": (2 * tp, total),
        "precision": (tp, one["mine"]),
        "recall": (tp, one["true"]),
        "dsb": (tp, total - tp),
        "pq": (2 * sum(one["over"]), total),
        "sq": (sum(one["over"]), both),
        "rq": (2 * both, total),
        "aji_plus": (one["shared"], one["pixels"] - one["shared"]),
        "seg": (one["covered"], one["true"]),
        "splits": (one["splits"], one["true"]),
        "merges": (one["merges"], one["mine"]),
        "recall_small": one["sizes"][0],
        "recall_medium": one["sizes"][1],
        "recall_large": one["sizes"][2],
        "iou_fg": one["fg"][:2],
        "dice_fg": (2 * one["fg"][0], one["fg"][2]),
    }[name.removesuffix("_macro")]
    return Fraction(found[0]), Fraction(found[1])


EMPTY_LEFT_OUT = ("sq", "splits", "merges", "recall_small", "recall_medium", "recall_large")


def value(metric: str, images: Sequence[Mapping[str, Any]], image_mean: bool = False) -> float | None:
    """The metric over all images by its definition; None where it is undefined."""
    if metric in ("f1_mean", "ap_dsb"):
        over = "f1" if metric == "f1_mean" else "dsb"
        each = [value(f"{over}@{float(t):g}", images, image_mean) for t in THRESHOLDS]
        known = [x for x in each if x is not None]
        return sum(known) / len(known) if len(known) == len(each) else None
    if metric == "miou":
        fg = _ratio([parts("iou_fg", one) for one in images])
        bg = _ratio([(Fraction(one["bg"][0]), Fraction(one["bg"][1])) for one in images])
        present = [x for x, there in ((fg, any(one["true"] for one in images)), (bg, _has_background(images))) if there]
        return float(sum(x or 0 for x in present) / len(present)) if present else None
    found = [parts(metric, one) for one in images]
    if metric.endswith("_macro") or (image_mean and metric not in ("iou_fg", "dice_fg")):
        own = []
        for (a, b), one in zip(found, images, strict=True):
            if b:
                own.append(a / b)
            elif one["true"] + one["mine"] == 0 and metric not in EMPTY_LEFT_OUT:
                own.append(Fraction(1))
        return float(sum(own, Fraction(0)) / len(own)) if own else None
    ratio = _ratio(found)
    return None if ratio is None else float(ratio)


def _has_background(images: Sequence[Mapping[str, Any]]) -> bool:
    return any(one["true_bg"] for one in images)


def _ratio(found: Sequence[tuple[Fraction, Fraction]]) -> Fraction | None:
    total = sum((b for _, b in found), Fraction(0))
    return sum((a for a, _ in found), Fraction(0)) / total if total else None


def image(true_map: Labels, my_map: Labels, strict: bool = False) -> dict[str, Any]:
    return counts(true_map, my_map, strict) | {"true_bg": bool((true_map == 0).any())}


def random_pair(
    rng: np.random.Generator, side: int = 8, most: int = 6
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Two label maps that agree in part, ids with gaps."""
    labels = np.zeros((side, side + 1), np.uint32)
    for number in range(int(rng.integers(0, most))):
        top, left = rng.integers(0, side - 1, 2)
        height, width = rng.integers(1, 1 + side // 2, 2)
        labels[top : top + height, left : left + width] = 1 + number * 37
    mine = np.roll(labels, int(rng.integers(0, 2)), axis=int(rng.integers(2)))
    noise = rng.random(labels.shape) < rng.choice([0, 0.05, 0.3])
    return labels, np.where(noise, rng.integers(0, 4, labels.shape), mine).astype(np.uint32)
