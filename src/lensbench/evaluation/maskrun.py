"""The folder of a segmentation run: shards of masks, and beside each what was assumed for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensbench.errors import ModelError
from lensbench.masks.stored import GROUP, Row, holds, merge_masks, write_masks, write_tables
from lensbench.masks.values import Kind, Value
from lensbench.paths import write_text
from lensbench.predictions import VIEW
from lensbench.shards import Run, by_id, told_schema

PIXELS = 5 << 20
"""Pixels of a shard, the most that a kill loses: 20 MB of label maps, 4 images of 1104 × 1104, two for each thread."""
MOST = 64
"""Images of a shard, where they are small."""


def shard_of(shape: tuple[int, int]) -> int:
    """How many images of that shape go into a shard."""
    return max(1, min(MOST, PIXELS // (shape[0] * shape[1])))


@dataclass(frozen=True)
class MaskRun(Run):
    """A run whose shards hold masks of one kind."""

    @property
    def kind(self) -> Kind:
        """What is stored for each image."""
        kind: Kind = self.plan["kind"]
        return kind

    @property
    def stated(self) -> dict[str, Any]:
        """What every file of this run says of it."""
        return {"plan": self.digest}

    @property
    def words(self) -> Path:
        """What was assumed for any image, once all are there."""
        return self.folder / "assumed.json"

    def holds(self, path: Path, rows: int) -> bool:
        """Whether `path` is a whole file of this run with `rows` rows, and what was assumed for them is there."""
        beside = self.words if path == self.predictions else path.with_suffix(".json")
        return beside.is_file() and holds(path, rows, self.kind, self.stated)

    def keep(
        self,
        path: Path,
        ids: Sequence[str],
        values: Sequence[Value],
        words: Sequence[str],
        views: Sequence[str] = (VIEW,),
    ) -> None:
        """Put one shard in place: first what was assumed, so that a shard never lacks it."""
        try:
            write_text(path.with_suffix(".json"), _text(words))
        except OSError as error:
            raise ModelError(f"{path}: cannot be written ({error.strerror}); free some space") from error
        keys = ((key, view) for key in ids for view in views)
        rows = (Row(key, view, value) for (key, view), value in zip(keys, values, strict=True))
        write_masks(path, rows, self.kind, self.stated)

    def assumed(self) -> list[str]:
        """What was assumed for any image of a finished run, in the order of the images."""
        return _read(self.words)

    def _join(self, shards: Sequence[Path], part: Path, questions: Sequence[Path], found: str) -> None:
        paths = questions or shards
        words = dict.fromkeys(word for path in paths for word in _read(path.with_suffix(".json")))
        write_text(self.words, _text(list(words)))
        if questions:
            write_tables(part, by_id(questions, GROUP), told_schema(questions[0], found))
        else:
            merge_masks(shards, part)


def _text(words: Sequence[str]) -> str:
    return json.dumps(list(words), ensure_ascii=False, indent=1) + "\n"


def _read(path: Path) -> list[str]:
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read; remove {path.parent} and run again") from error
    return [str(word) for word in words]
