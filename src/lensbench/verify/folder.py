"""The parts of a dataset folder that decide what is read: builder, classes, rules; and the benchmarks that name it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from itertools import cycle, islice

import pyarrow as pa

from lensbench.benchmark import benchmark_names, benchmark_root, get_benchmark
from lensbench.data.loader import load_builder
from lensbench.data.request import Request
from lensbench.errors import LensbenchError
from lensbench.images.content import RULES
from lensbench.paths import shipped
from lensbench.registry import SPECIMEN, Config, Dataset
from lensbench.rules import assign
from lensbench.verify.facts import Checked, failed, ok, unknown, verdict
from lensbench.verify.groups import crossed_by, shares_groups
from lensbench.verify.specimen import read_index

REQUIRED = ("id", "image", "group", "sha256")
STAND_INS = 1_000_000
"""Rows that are made up to try a published draw on."""


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
            on = "no specimen" if by is not None else f"no known number of samples, or more than {STAND_INS:,},"
            yield unknown(what, f"{config.rule.kind}: {on} to prove it on")
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
        problems += [*_crossed(rows, splits, str(by)), *crossed_by(rows, str(by))] if by is not None else []
        yield from verdict(what, problems, f"{config.rule.kind}: {counts} of {rows.num_rows:,} {on}")
    if specimens and not any(map(shares_groups, specimens.values())):
        yield failed("rules", "no two rows of the specimen share a group: that groups stay whole is proven on nothing")


def _specimen_rows(dataset: Dataset, config: Config, known: dict[str, pa.Table]) -> pa.Table | None:
    name = config.name if config.synthetic else dataset.specimen_of(config.name)
    if name not in dataset.configs:
        return None
    if name not in known:
        known[name] = read_index(dataset, dataset.configs[name])[1].rows
    return known[name]


def _stand_in(dataset: Dataset, config: Config) -> pa.Table | None:
    """As many rows as the source has, its classes in turn: a published draw depends on number and labels alone."""
    if config.samples is None or config.samples > STAND_INS:
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
