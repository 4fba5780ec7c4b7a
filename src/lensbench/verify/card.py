"""Whether a dataset card is complete: what the Hub reads, the datasheet's sections, every column, every citation."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from lensbench.errors import DatasetError
from lensbench.registry import Dataset
from lensbench.verify.facts import Checked, verdict

FRONT_MATTER = ("license", "pretty_name", "task_categories", "size_categories", "tags")
"""What the Hub shows and filters by."""
SECTIONS = (
    *("Motivation", "Composition", "Splits", "Collection", "Preprocessing", "Columns", "Known limits"),
    "Licence and citation",
)
"""Headings of the datasheet, at any level; `Specimen` is another where there is one."""
TASKS = {"classification": "image-classification", "segmentation": "image-segmentation"}
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#{1,6}) +(.+?) *$", re.MULTILINE)


def check_card(dataset: Dataset, columns: Collection[str]) -> Iterator[Checked]:
    """Hold README.md against the entry and `columns`, the names of all columns of all configs."""
    path = dataset.folder / "README.md"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: no card that can be read ({error})") from error
    front, body = _parts(text)
    count = f"{len(FRONT_MATTER)} entries"
    yield from verdict("card/front matter", _front_matter(dataset, front), count)
    sections = _sections(body)
    wanted = [*SECTIONS, *(["Specimen"] if dataset.specimens else [])]
    lacking = [f"no section {name!r}" for name in wanted if not sections.get(name.lower(), "").strip()]
    yield from verdict("card/sections", lacking, f"{len(wanted)} sections of the datasheet")
    documented = sections.get("columns", "")
    lacking = [f"column `{name}` is not in the section Columns" for name in columns if f"`{name}`" not in documented]
    yield from verdict("card/columns", lacking, f"{len(columns)} columns documented")
    named = sections.get("splits", "")
    lacking = [f"config {name} is not in the section Splits" for name in dataset.configs if not _names(name, named)]
    yield from verdict("card/splits", lacking, f"{len(dataset.configs)} configs described")
    flat = " ".join(body.split())
    lacking = [
        f"the citation of version {version.name} is not there"
        for version in dataset.versions.values()
        if " ".join(version.citation.split()) not in flat
    ]
    lacking += [] if dataset.licence in body else [f"the licence {dataset.licence} is not named"]
    yield from verdict("card/citation", lacking, f"licence, citation of {len(dataset.versions)} versions")


def _parts(text: str) -> tuple[dict[str, Any], str]:
    """Front matter and body; no front matter is an empty one."""
    from huggingface_hub import DatasetCard
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        card = DatasetCard(text)
    except (ValueError, TypeError, YAMLError) as error:
        raise DatasetError(f"front matter that the Hub could not read: {str(error).splitlines()[0]}") from error
    front: dict[str, Any] = dict(card.data.to_dict())  # type: ignore[no-untyped-call]
    return front, str(card.text)


def _front_matter(dataset: Dataset, front: dict[str, Any]) -> Iterator[str]:
    for name in FRONT_MATTER:
        if not front.get(name):
            yield f"{name!r} is missing"
    licence = front.get("license")
    if licence and str(licence).lower() != dataset.licence.lower():
        yield f"license {licence!r} is not the {dataset.licence!r} of dataset.toml"
    tasks = {TASKS[config.task] for config in dataset.configs.values()}
    if front.get("task_categories") and set(front["task_categories"]) != tasks:
        yield f"task_categories {front['task_categories']} are not those of the configs: {', '.join(sorted(tasks))}"


def _sections(body: str) -> dict[str, str]:
    """Lower-case heading → what stands below it, its own subsections included."""
    body = FENCED.sub("", body)  # a comment in code looks like a heading
    marks = [(len(m[1]), m[2].lower(), m.start(), m.end()) for m in HEADING.finditer(body)]
    found = {}
    for i, (level, name, _, end) in enumerate(marks):
        after = next((start for other, _, start, _ in marks[i + 1 :] if other <= level), len(body))
        found[name] = body[end:after]
    return found


def _names(word: str, text: str) -> bool:
    """Whether `word` is there as a word of its own: `paper-1` is not `paper-10`."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None
