"""From stored masks to the `result` of a record: align with the true ones by id, score, say how each image fared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.benchmark import Benchmark
from lensbench.masks.stored import masks_digest
from lensbench.masktruth import Stored, TrueMaps
from lensbench.metrics import ImageScore, MaskPrediction, MaskTruth, curve, mask_rows, per_image, rows_of, score
from lensbench.metrics.coco import most_detections
from lensbench.metrics.views import ViewPrediction, rows_by_view, rows_of_view
from lensbench.result import About, Origin, clusters, head, pretended, rounded
from lensbench.splits import Manifest
from lensbench.viewresult import Computed, view_parts, viewed


def make_mask_result(
    benchmark: Benchmark,
    manifest: Manifest,
    truth: TrueMaps,
    ids: Sequence[str],
    answers: Path,
    about: About,
    *,
    origin: Origin,
    protocol: Mapping[str, Any],
    extra: int = 0,
    assumed: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Score the stored `answers` against `truth`, whose rows are `ids`; every value is plain JSON.

    `protocol` is how the answers were made and are compared; `extra` counts those that were brought for other ids.
    Of a benchmark with views, images and curve are those of the reference view.
    """
    expected, stored = manifest.without(benchmark.absent), Stored(answers)
    each = len(benchmark.views.names) if benchmark.views else 1  # answers stand id by id, view by view
    paired = aligned(benchmark, expected, truth, ids, stored, each)
    true, mine = paired.true, paired.ids
    groups = clusters(benchmark, expected, mine)
    plain, brought = MaskPrediction(stored), len(stored) // each
    given: MaskPrediction | ViewPrediction = paired.given
    parts, computed = dict[str, Any](), Computed()
    if benchmark.views is not None:
        given = viewed(benchmark, plain).take(paired.rows)
    values = score(true, given, benchmark.metrics, groups, arguments=benchmark.arguments, computed=computed)
    if isinstance(given, ViewPrediction):
        parts = view_parts(benchmark, true, given, groups, mine, computed)
        compared = rows_of_view(computed[rows_by_view(mask_rows)], given.reference)
    else:
        compared = computed[mask_rows] if mask_rows in computed else rows_of(mask_rows, true, given)
    images = per_image(compared)
    found = {
        **head(benchmark, expected, mine, extra + brought - len(mine), about, origin, masks_digest(answers)),
        "protocol": {**protocol, **_uncut(paired.given if each == 1 else plain)},
        "metrics": {key: value.to_json() for key, value in values.items()},
        "images": [{"id": key, **asdict(one)} for key, one in zip(mine, images, strict=True)],
        "curve": [asdict(point) for point in curve(compared)],
        **parts,
        "assumed": [*assumed, *pretended(benchmark)],
        "notes": [*notes, *_foreground(images)],
    }
    return rounded(found)


@dataclass(frozen=True, eq=False)
class Paired:
    """Stored answers to expected images beside their true maps: `rows` are those of the ids that were answered."""

    ids: tuple[str, ...]
    true: MaskTruth
    given: MaskPrediction
    """Where each image has one answer."""
    rows: NDArray[np.intp]


def aligned(
    benchmark: Benchmark, expected: Manifest, truth: TrueMaps, ids: Sequence[str], stored: Stored, each: int = 1
) -> Paired:
    """The stored answers, `each` of an id, that are of `expected` images, with their true maps; `ids` are truth's."""
    assert benchmark.protocol is not None
    wanted, brought = set(expected.ids), stored.ids[::each]
    rows = np.array([row for row, key in enumerate(brought) if key in wanted], np.intp)
    mine = tuple(brought[row] for row in rows)
    place = {key: row for row, key in enumerate(ids)}
    whole = MaskTruth(truth, benchmark.labels, benchmark.protocol.scoring, benchmark.truth == "labelmap", tuple(ids))
    true = whole.take(np.array([place[key] for key in mine], np.intp))
    return Paired(mine, true, MaskPrediction(stored).take(rows), rows)


def _foreground(images: Sequence[ImageScore]) -> list[str]:
    """That label maps look like masks of foreground, whose every pixel has one number."""
    counts = [(one.n_truth or 0, one.n_predicted) for one in images]
    if any(given is None or given > 1 for _, given in counts) or not any(true > 1 for true, _ in counts):
        return []
    return ["no answer holds more than one object: a mask of foreground has to be numbered object by object"]


def _uncut(given: MaskPrediction) -> dict[str, int]:
    """COCO's maxDets for scored masks: as many as an image has, so that none is cut."""
    if not given.scored:
        return {}
    return {"max_detections": most_detections(given)}
