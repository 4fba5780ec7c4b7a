"""The card of a published dataset: the registry's own, with what the Hub reads and what this copy holds filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensbench import __version__
from lensbench.data.prepared import Prepared
from lensbench.errors import DatasetError
from lensbench.publish.folder import NOTES
from lensbench.publish.shards import Written
from lensbench.registry import Config, Dataset, Version
from lensbench.sources import NO_RECORD
from lensbench.splits import awaited

if TYPE_CHECKING:
    import datasets

CARD = "README.md"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LARGER = "1M<n<10M"
PINNED = {"official": "the official archive", "copy": "another copy", "specimen": "the specimen in lensbench"}
"""Provenance of a pinned digest, in the card's words."""
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Shown:
    """One config as it was written: where it comes from, and split → its shards."""

    config: Config
    prepared: Prepared
    splits: Mapping[str, Written]

    @property
    def rows(self) -> int:
        """Rows of all splits."""
        return sum(written.rows for written in self.splits.values())


def write_card(folder: Path, dataset: Dataset, version: Version, shown: Sequence[Shown], repo: str | None) -> None:
    """Write README.md into `folder`, which holds all other files by now; `repo` is its name on the Hub, if it has one.

    Raises DatasetError for a dataset whose own card cannot be read.
    """
    from huggingface_hub import DatasetCard

    path = dataset.folder / CARD
    try:
        card = DatasetCard.load(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: is not a card that huggingface_hub reads ({error})") from error
    data, synthetic = card.data, all(item.config.synthetic for item in shown)
    data.pop("viewer", None)  # there was nothing to view
    data.size_categories = [size_category(max(item.rows for item in shown))]
    if synthetic:
        data.pretty_name = f"{data.pretty_name or dataset.title} (synthetic specimen)"
        data.tags = [*(data.tags or []), "synthetic"]
    default = default_config(dataset, shown)
    data["configs"] = [_config(item, version, default) for item in shown]
    _infos(shown).to_dataset_card_data(data)
    card.text = _with_section(card.text, _section(dataset, version, shown, repo or folder_name(folder), bool(repo)))
    card.text = LINK.sub(lambda link: _kept(link, folder), card.text)
    card.save(folder / CARD)


def size_category(rows: int) -> str:
    """The Hub's word for so many rows.

    >>> size_category(50), size_category(1_000), size_category(337_000)
    ('n<1K', '1K<n<10K', '100K<n<1M')
    """
    return next((name for limit, name in SIZES if rows < limit), LARGER)


def default_config(dataset: Dataset, shown: Sequence[Shown]) -> str:
    """The dataset's own default config where it was written, else the first that was."""
    names = [item.config.name for item in shown]
    return dataset.default_config if dataset.default_config in names else names[0]


def _config(item: Shown, version: Version, default: str) -> dict[str, Any]:
    files = [{"split": split, "path": f"data/{item.config.name}/{split}-*.parquet"} for split in item.splits]
    entry: dict[str, Any] = {"config_name": item.config.name, "version": version.name, "data_files": files}
    return entry | ({"default": True} if item.config.name == default else {})


def _infos(shown: Sequence[Shown]) -> datasets.info.DatasetInfosDict:
    import datasets

    infos = datasets.info.DatasetInfosDict()
    for item in shown:
        splits = datasets.SplitDict()
        for split, written in item.splits.items():
            splits.add(datasets.SplitInfo(split, num_bytes=written.num_bytes, num_examples=written.rows))
        infos[item.config.name] = datasets.DatasetInfo(
            config_name=item.config.name,
            features=datasets.Features.from_arrow_schema(next(iter(item.splits.values())).schema),
            splits=splits,
            download_size=sum(path.stat().st_size for written in item.splits.values() for path in written.files),
            dataset_size=sum(written.num_bytes for written in item.splits.values()),
        )
    return infos


# -- the text ------------------------------------------------------------------------------------------------


def _section(dataset: Dataset, version: Version, shown: Sequence[Shown], place: str, on_hub: bool) -> str:
    """What this copy is, before what the datasheet says of the dataset."""
    default = default_config(dataset, shown)
    revision = f', revision="{version.name}"' if on_hub else ""
    lines = ["## This copy", ""]
    if all(item.config.synthetic for item in shown):
        lines += [f"**Synthetic**: drawn by lensbench in the layout of {dataset.title}. Not one image is real."]
    else:
        lines += [
            f"Version {version.name} of {dataset.title}, as Parquet: {_origin(version)},",
            f"read by lensbench {__version__}. Please cite",
            "the publisher, as below. The rest of this page is the datasheet in lensbench's registry; the registry",
            "itself keeps no images.",
        ]
    if any("folder" in item.prepared.source for item in shown):
        lines += ["", "It was read from an unpacked folder: the digests of the publisher's archives were not checked."]
    lines += ["", "```python", "from datasets import load_dataset", ""]
    lines += [f'load_dataset("{place}", "{default}"{revision})', "```", ""]
    lines += ["| config | split | rows | content sha256 | the same as in |", "|---|---|---|---|---|"]
    for item in shown:
        name = f"{item.config.name}{' (synthetic)' if item.config.synthetic else ''}"
        for split, written in item.splits.items():
            digest = item.prepared.digests[split]
            lines.append(f"| {name} | {split} | {written.rows:,} | `{digest}` | {_same_as(item, split)} |")
    gaps = [text for item in shown for text in absences(dataset, item)]
    lines += ["", *(f"- {text}." for text in gaps), *([""] if gaps else [])]
    lines += [
        "A digest is over (id, split, label, group, sha256 of the sample) of the rows, sorted by id;",
        f"[{NOTES}]({NOTES}) holds the digests, and size and sha256 of every file.",
    ]
    return "\n".join(lines)


def _origin(version: Version) -> str:
    """What was read, with the record and the doi that there are."""
    record = "" if version.record == NO_RECORD else f"record {version.record}"
    doi = "" if version.doi == NO_RECORD else f"[doi:{version.doi}](https://doi.org/{version.doi})"
    if not record:
        return "the publisher's files" + (f" ({doi})" if doi else "")
    return f"the publisher's {record}" + (f"\n({doi})" if doi else "")


def _same_as(item: Shown, split: str) -> str:
    """Where the digest of a split was seen before: it is pinned, and was compared before anything was written."""
    pinned = item.config.splits[split].content.get(item.prepared.version)
    return PINNED[pinned.provenance] if pinned and pinned.sha256 and not item.prepared.own_lists else "nothing yet"


def absences(dataset: Dataset, item: Shown) -> list[str]:
    """What a reader would look for in a config and not find, in words."""
    texts = []
    for split in item.prepared.unavailable:
        why = awaited(dataset, item.config, item.config.splits[split])
        texts.append(f"{item.config.name} is without {split}: its ids are not known yet; {why}")
    for split, cover in item.prepared.coverage.items():
        if lost := len(cover.missing) + len(cover.absent):
            texts.append(f"{lost:,} ids listed in {split} of {item.config.name} have no file in this version")
    return texts


def _with_section(text: str, section: str) -> str:
    """`text` with `section` right after its title: what a reader must know first."""
    title, _, rest = text.strip().partition("\n")
    if not title.startswith("# "):
        title, rest = "", text
    return f"\n{title}\n\n{section}\n\n## The dataset\n\n{rest.strip()}\n".replace("\n\n\n", "\n\n")


def _kept(link: re.Match[str], folder: Path) -> str:
    """A link that leads somewhere from the published folder; of another one, its words."""
    label, target = link.groups()
    path = target.partition("#")[0]
    inside = "://" in target or not path or path == NOTES or (folder / path).is_file()
    return link[0] if inside and ".." not in path.split("/") else str(label)


def folder_name(folder: Path) -> str:
    """The name that the folder will have: it is written as `<name>.part`."""
    return folder.name.removesuffix(".part")
