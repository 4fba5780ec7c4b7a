"""What a person reads after an evaluation: the scores with their intervals, what is missing, what was assumed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from lensbench.benchmark import benchmark_names
from lensbench.errors import printable
from lensbench.evaluation import Evaluated
from lensbench.progress import rate_text
from lensbench.registry import registry_words
from lensbench.shards import WORST_VIEW

SYNTHETIC = "specimen: synthetic images; these numbers say nothing about real ones"
SIMULATED = (
    "simulated: raw frames made of 8-bit images that were processed already; these numbers compare processing and say "
    "nothing about raw data"
)

WORST = 5
"""Images that the summary lists."""
VIEWS = 24
"""Views that it lists; a record and its report have all of them."""


def summary(done: Evaluated) -> str:
    """The text that `bench eval` prints."""
    result = done.record.result
    benchmark, coverage = result["benchmark"], result["coverage"]
    name = f"{benchmark['name']} ({benchmark['config']})"
    scored = f"{coverage['scored']:,} of {coverage['expected']:,} {benchmark['split']} images"
    lines = ["", f"{result['model']['name']} on {name}: {scored}"]
    if benchmark["synthetic"]:
        lines.append(SYNTHETIC)
    if benchmark.get("simulated"):
        lines.append(SIMULATED)
    lines += ["", *table(result["metrics"])]
    lines += views(result)
    lines += worst([] if "views" in result else result.get("images", []))
    lines += [f"protocol: {text}" for text in protocol(result)]
    lines += [f"INCOMPLETE: {text}" for text in gaps(result)]
    lines += [f"not used: {text}" for text in unused(result)]
    lines += [f"assumed: {text}" for text in result["assumed"]]
    lines += [f"note: {text}" for text in result["notes"]]
    speed = done.record.run["images_per_second"]
    lines += ["", f"speed: {rate_text(speed)} images/s on {done.record.run['cores']} cores"] if speed else [""]
    lines.append(f"record: {done.folder / 'record.json'} (sha256 {done.record.sha256[:12]}…)")
    if done.ground is not None:
        lines.append(f"pictures: {done.folder / 'report.html'}")
    lines.append(f"board: {_board(benchmark, done)}")
    return printable("\n".join(lines))


def table(metrics: Mapping[str, Any], head: str = "metric") -> list[str]:
    """One line per metric: id, value, 95 % interval and how it was made."""
    wide = max([28, *map(len, metrics)])
    lines = [f"{head:<{wide}} {'value':>9}   95 % interval"]
    for key, entry in metrics.items():
        if entry["value"] is None:
            lines.append(f"{key:<{wide}} {'–':>9}   {entry.get('reason', '')}")
            continue
        interval = f"[{entry['low']:.4f}, {entry['high']:.4f}]" if entry["low"] is not None else "none"
        how = f"{entry['method']}, {entry['groups']} groups" if entry["low"] is not None else entry.get("reason", "")
        lines.append(f"{key:<{wide}} {entry['value']:>9.6f}   {interval}  {how}")
    return lines


def views(result: Mapping[str, Any]) -> list[str]:
    """Of a benchmark with views: reference, mean and worst in a line, then each view, each stage, the worst frames."""
    shown = result.get("views", [])
    if not shown:
        return []
    base = result["grid"]["metric"]
    if any(one["metrics"].get(base, {"value": None})["value"] is None for one in shown):
        return []
    from lensbench.metrics import get_metric

    sign = 1 if get_metric(base).direction == "higher" else -1
    values = {one["name"]: one["metrics"][base]["value"] for one in shown}
    compared = [one["name"] for one in shown if one["compared"]]
    least = min(compared, key=lambda name: sign * values[name])
    clean, mean = values[result["grid"]["reference"]], sum(values[name] for name in compared) / len(compared)
    drop = sign * (clean - values[least])
    told = "" if "search" in result else f" mean {mean:.4f},"
    lines = ["", f"{base}: reference {clean:.4f},{told} worst {values[least]:.4f} ({least}), drop {drop:.4f}"]
    lines += searched(result)
    if len(shown) <= VIEWS:
        lines += table({one["name"]: one["metrics"][base] for one in shown}, f"{base} by view")
    if result["stages"]:
        lines += ["", *table({one["name"]: one["drop"] for one in result["stages"]}, "mean drop by stage")]
    lines += ["", f"{'frames that lose most':<44} {'reference':>9} {'mean':>6} {'least':>6}"]
    for one in result["frames"][:WORST]:
        lines.append(
            f"{one['id']:<44} {one['reference']:>9.3f} {one['mean']:>6.3f} {one['least']:>6.3f}  {one['view']}"
        )
    return [*lines, ""]


def searched(result: Mapping[str, Any]) -> list[str]:
    """The worst view that a search found, in words."""
    from lensbench.leaderboard.searching import parse_search

    search = parse_search(result)
    if search is None:
        return []
    return [f"worst view: {search.words} (question {search.at} of {search.budget}; {WORST_VIEW} has it whole)", ""]


def worst(images: Sequence[Mapping[str, Any]]) -> list[str]:
    """The images on which a segmentation did worst, by F1 at .5 where objects were compared, else by foreground IoU."""
    key = "f1" if any(image["f1"] is not None for image in images) else "iou_fg"
    known = sorted((image for image in images if image[key] is not None), key=lambda image: (image[key], image["id"]))
    if len(known) < 2:
        return []
    lines = ["", f"worst images by {'f1@0.5' if key == 'f1' else key}"]
    for image in known[:WORST]:
        line = f"{image['id']:<28} {image[key]:>9.6f}"
        if key == "f1":
            line += f"   {image['tp']} found, {image['fn']} missed, {image['fp']} false"
            line += f", {image['splits']} split, {image['merges']} merged"
        lines.append(line)
    return [*lines, ""]


def protocol(result: Mapping[str, Any]) -> list[str]:
    """The protocol of a segmentation in one line: its name, how objects were made, how they are compared."""
    found = result.get("protocol")
    if found is None:
        return []
    from lensbench.leaderboard.segments import compared_text, parse_segments

    made = parse_segments(result).made
    most = f", up to {found['max_detections']} scored masks an image" if "max_detections" in found else ""
    return [f"{found['name']}: {compared_text(found['scoring'])}; {made}{most}"]


def gaps(result: Mapping[str, Any]) -> list[str]:
    """What is missing, in words; empty for a complete result."""
    coverage = result["coverage"]
    if not coverage["missing"]:
        return []
    some = ", ".join(coverage["missing_ids"][:2])
    count = f"{coverage['missing']:,} of {coverage['expected']:,} images were not scored ({some}, …)"
    return [f"{count}; the record stands apart from the board"]


def unused(result: Mapping[str, Any]) -> list[str]:
    """What was there and had no place in the evaluated split."""
    coverage, benchmark = result["coverage"], result["benchmark"]
    texts = []
    if coverage["unlisted"]:
        lists = "neither list" if not benchmark["synthetic"] else "none of the lists"
        others = "".join(f"{n:,} in {split}, " for split, n in (coverage["elsewhere"] or {}).items() if n)
        texts.append(f"of the source's images {coverage['scored']:,} are in {benchmark['split']}, {others}")
        texts[-1] += f"{coverage['unlisted']:,} in {lists} of {benchmark['config']}: none of these is taken for train"
    if coverage["extra"]:
        texts.append(f"{coverage['extra']:,} predictions are for ids outside the split")
    return texts


def _board(benchmark: Mapping[str, Any], done: Evaluated) -> str:
    if benchmark["name"] not in benchmark_names():
        return "none: a benchmark of its own, compared with no record of another"
    folder = shlex.quote(str(done.folder))
    return f"bench leaderboard {benchmark['name']} {_config(benchmark)}{folder} --out board{registry_words()}"


def _config(benchmark: Mapping[str, Any]) -> str:
    return f"--config {benchmark['config']} " if benchmark["synthetic"] else ""
