"""The parts of a dataset folder that are code: builder, specimen, rules; and the benchmarks that name it."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from pathlib import Path

import pyarrow as pa

from lensbench.benchmark import benchmark_names, benchmark_root, get_benchmark
from lensbench.data.loader import load_builder, load_specimen
from lensbench.data.locate import Located, locate, locate_given
from lensbench.data.request import Request
from lensbench.data.source import Source
from lensbench.errors import DatasetError, LensbenchError
from lensbench.images.content import RULES
from lensbench.paths import shipped
from lensbench.registry import SPECIMEN, Config, Dataset
from lensbench.rules import assign
from lensbench.verify.facts import Checked, failed, ok, unknown, verdict

REQUIRED = ("id", "image", "group", "sha256")
LARGEST = 2_000_000
"""Bytes of all files in specimen/: they are in git and in the wheel."""
SIZES = (12, 40, 120, 400, 1200)
"""Of the specimen that is made twice: the first that can hold the splits of its dataset."""


def check_builder(dataset: Dataset, columns: dict[str, None]) -> Iterator[Checked]:
    """The builder loads and states its columns and parts; the names of all columns go into `columns`."""
    import datasets

    kind, problems = load_builder(dataset.folder), []
    for config in dataset.configs.values():
        request = Request(dataset, dataset.version(None), config)
        own, parts = kind.columns(config), kind.parts(config)
        problems += [f"{config.name}: no column {name!r}" for name in REQUIRED if name not in own]
        problems += [f"{config.name}: column 'label' is added by the base class, not by columns()"] * ("label" in own)
        for name, rule in parts.items():
            if not isinstance(own.get(name), datasets.Image) or rule not in RULES:
                problems.append(f"{config.name}: part {name!r} with rule {rule!r} is no image column with a known rule")
        if not problems:
            columns.update(dict.fromkeys(kind.features(request)))
    yield from verdict("builder.py", problems, f"{len(columns)} columns")


def check_classes(dataset: Dataset) -> Iterator[Checked]:
    """classes.csv, beyond what reading it has refused already."""
    problems = [
        f"class {label.name!r}: more cells than there are columns"
        for label in dataset.classes
        if None in label.attributes
    ]
    problems += [
        f"a class without a {what}"
        for label in dataset.classes
        for what, text in (("name", label.name), ("display", label.display))
        if not (text or "").strip()
    ]
    displays = [label.display for label in dataset.classes]
    problems += [
        f"two classes are displayed as {name!r}" for name in sorted({d for d in displays if displays.count(d) > 1})
    ]
    for config in dataset.configs.values():
        if len(dataset.label_order(config.labels)) < 2:
            problems.append(f"config {config.name}: the order {config.labels!r} has fewer than two classes")
    yield from verdict("classes.csv", problems, f"{len(dataset.classes)} classes")


# -- the specimen ----------------------------------------------------------------------------------------------


def check_specimen(dataset: Dataset) -> Iterator[Checked]:
    """There is one, it is small, all its files are pinned, and making it again gives the same pixels."""
    folder = dataset.folder / SPECIMEN
    if not dataset.specimens:
        yield failed("specimen", "no config is synthetic: a dataset that nobody can try offline cannot be tested")
        return
    pinned = {file.name for name in dataset.specimens for file in dataset.configs[name].files}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    problems = [
        f"{path.relative_to(dataset.folder)} is pinned by no config" for path in files if path.name not in pinned
    ]
    size = sum(path.stat().st_size for path in files)
    if size > LARGEST:
        problems.append(f"{size:,} bytes, and at most {LARGEST:,} go into git and the wheel")
    yield from verdict("specimen", problems, f"{size:,} bytes in {len(files)} files")


def check_made_twice(dataset: Dataset) -> Iterator[Checked]:
    """`specimen.make` is a function of its arguments: two runs give files of equal bytes, or at least equal samples."""
    make, version = load_specimen(dataset.folder), dataset.latest
    with tempfile.TemporaryDirectory() as scratch:
        first, second = Path(scratch, "first"), Path(scratch, "second")
        for size in SIZES:
            try:
                made = make(first, size=size, seed=3, layout=version)
                break
            except ValueError as error:
                reason = str(error)
        else:
            raise DatasetError(f"make() refuses every size up to {SIZES[-1]}: {reason}")
        again = make(second, size=size, seed=3, layout=version)
        names = [path.name for path in made]
        if names == [path.name for path in again] and all(
            a.read_bytes() == b.read_bytes() for a, b in zip(made, again, strict=True)
        ):
            yield ok("specimen.py", f"size {size} made twice: equal files")
            return
        problems = []
        for config in dataset.specimens:
            ours, theirs = (_hashes(dataset, dataset.configs[config], folder) for folder in (first, second))
            problems += [
                f"size {size} made twice, config {config}: {key} has other pixels"
                for key in sorted(ours.keys() | theirs.keys())
                if ours.get(key) != theirs.get(key)
            ][:1]
        yield from verdict("specimen.py", problems, f"size {size} made twice: equal pixels")


def _hashes(dataset: Dataset, config: Config, folder: Path) -> dict[str, str]:
    """Id → sample hash of everything in a specimen of one's own."""
    located = locate_given(dataset, dataset.version(None), config, folder, None)
    source, rows = _rows(dataset, config, located)
    kind, found = load_builder(dataset.folder), dict[str, str]()
    for start in range(0, rows.num_rows, kind.STEP):
        part = rows.slice(start, kind.STEP)
        hashes = kind.read(source, part, config)["sha256"].to_pylist()
        found.update(zip(part["id"].to_pylist(), hashes, strict=True))
    return found


def _rows(dataset: Dataset, config: Config, located: Located) -> tuple[Source, pa.Table]:
    source = Source(located.spec)
    request = Request(dataset, dataset.version(None), config, own_lists=located.own_lists)
    return source, load_builder(dataset.folder).index(source, request).rows


# -- rules -----------------------------------------------------------------------------------------------------


def check_rules(dataset: Dataset) -> Iterator[Checked]:
    """Every rule can be drawn: one over groups from the specimen, a published draw from as many rows as it needs."""
    specimens: dict[str, pa.Table] = {}
    for config in dataset.configs.values():
        if config.rule is None:
            continue
        what, by = f"{config.name}/rule", config.rule.options.get("by")
        rows = _stand_in(dataset, config) if by is None else _specimen_rows(dataset, config, specimens)
        if rows is None:
            yield unknown(what, f"{config.rule.kind}: no specimen to prove it on")
            continue
        try:
            splits = assign(config.rule, rows)
        except ValueError as error:
            yield failed(what, str(error))
            continue
        counts = ", ".join(f"{len(numbers):,} {name}" for name, numbers in splits.items())
        on = "stand-in rows" if by is None else "rows of the specimen"
        problems = [f"draws the splits {sorted(splits)}, and the config has {sorted(config.splits)}"] * (
            splits.keys() != config.splits.keys()
        )
        problems += _wrong_counts(config, splits) if by is None or config.synthetic else []
        problems += _crossed(rows, splits, str(by)) if by is not None else []
        yield from verdict(what, problems, f"{config.rule.kind}: {counts} of {rows.num_rows:,} {on}")


def _specimen_rows(dataset: Dataset, config: Config, known: dict[str, pa.Table]) -> pa.Table | None:
    name = config.name if config.synthetic else dataset.specimen_of(config.name)
    if name not in dataset.configs:
        return None
    if name not in known:
        specimen = dataset.configs[name]
        _, known[name] = _rows(dataset, specimen, locate(dataset, dataset.version(None), specimen, None, None))
    return known[name]


def _stand_in(dataset: Dataset, config: Config) -> pa.Table | None:
    """As many rows as the source has, its classes in turn: a published draw depends on number and labels alone."""
    if config.samples is None:
        return None
    labels = list(islice(cycle(dataset.label_order(config.labels)), config.samples))
    return pa.table({"id": [f"{row:08}" for row in range(config.samples)], "label": labels})


def _wrong_counts(config: Config, splits: Mapping[str, list[int]]) -> Iterator[str]:
    for name, numbers in splits.items():
        if name in config.splits and config.splits[name].rows not in (None, len(numbers)):
            yield f"draws {len(numbers):,} rows of {name}, and dataset.toml says {config.splits[name].rows:,}"


def _crossed(rows: pa.Table, splits: Mapping[str, list[int]], by: str) -> Iterator[str]:
    values, seen = rows[by].to_pylist(), dict[str, str]()
    for name, numbers in splits.items():
        for group in sorted({str(values[row]) for row in numbers}):
            if seen.setdefault(group, name) != name:
                yield f"{by} {group} of the specimen is drawn into {seen[group]} and {name}"


# -- benchmarks ------------------------------------------------------------------------------------------------


def check_benchmarks(dataset: Dataset) -> Iterator[Checked]:
    """Those that name the dataset are valid; one that came with lensbench has at least one."""
    found = 0
    for name in benchmark_names():
        try:
            data = tomllib.loads((benchmark_root() / f"{name}.toml").read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            continue  # of which dataset it is, nobody can say
        if data.get("dataset") != dataset.name:
            continue
        found += 1
        try:
            benchmark = get_benchmark(name)
            if benchmark.synthetic or not dataset.specimens:
                continue
            board = get_benchmark(name, SPECIMEN).slug
        except LensbenchError as error:
            yield failed(f"benchmark {name}", str(error))
            continue
        state = ok if benchmark.manifest != "unknown" else unknown
        yield state(
            f"benchmark {name}",
            f"{benchmark.split} of {benchmark.config}, digest {benchmark.digest[:12]}…; board {board}",
        )
    if not found:
        ours = dataset.folder.parent.resolve() == shipped("registry").resolve()
        text = f"none in {benchmark_root()} names it"
        yield failed("benchmarks", text) if ours else unknown("benchmarks", text)
