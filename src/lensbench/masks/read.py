"""Segmentations made elsewhere, matched to the benchmark's images by id and read one image at a time.

A folder or zip of label maps (PNG or TIFF of 8, 16 or 32 bits, .npy, .npz of one array), one .npz of an array per
id, COCO's results (.json) or Kaggle's run lengths (.csv). Everything is a stranger's: no path, size or number is
taken on trust.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from lensbench.archives import Archive, Limits, open_archive
from lensbench.errors import ArchiveError, ModelError
from lensbench.masks.arrays import MapKind, read_map
from lensbench.masks.match import Report, match
from lensbench.masks.tables import Table, coco_masks, kaggle_masks, read_coco, read_kaggle
from lensbench.masks.values import Masks, Value

MAPS = (".png", ".tif", ".tiff", ".npy", ".npz")
Shapes = Mapping[str, tuple[int, int]]
"""(height, width) of every image that is expected, by id, in the benchmark's order."""
LIMITS = Limits(member=1 << 30, members=1_000_000, ratio=1100)
"""An empty map deflates 1 : 1027, and deflate cannot do better than 1 : 1032."""
SLACK = 1 << 20
"""Bytes of a file beside its pixels: headers, metadata."""


class MaskFiles(ABC):
    """The answers found for the images of `shapes`; a context manager. Iterating reads one image after the other."""

    def __init__(self, label: str, shapes: Shapes, found: Mapping[str, str], report: Report) -> None:
        self.report = report
        """What was found, by names alone: no map has been read for it."""
        self._label = label
        self._shapes = shapes
        self._found = found

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids with an answer, in the benchmark's order."""
        return tuple(key for key in self._shapes if key in self._found)

    def read(self, key: str) -> Value:
        """The answer for id `key`; KeyError without one, ModelError naming file and id for one that is not fit."""
        name = self._found[key]
        return self._read(
            name, f"{self._label}: {name!r}" + ("" if name == key else f" (id {key!r})"), self._shapes[key]
        )

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        for key in self.ids:
            yield key, self.read(key)

    @abstractmethod
    def _read(self, name: str, where: str, shape: tuple[int, int]) -> Value: ...

    @abstractmethod
    def close(self) -> None:
        """Release what is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_masks(path: Path, shapes: Shapes, kind: MapKind, classes: int = 256) -> MaskFiles:
    """Open what was brought for the images of `shapes`; only names are looked at yet.

    `kind` is the map that the benchmark scores: instances (``labelmap``) or, with values below `classes`,
    ``classmap``. Label maps come as `LabelMap`, class maps as `ClassMap`, COCO and Kaggle files as `Masks`.
    Raises ModelError in one line for what is none of these, or holds an answer for no image at all.
    """
    ending = path.suffix.lower()
    try:
        if not path.exists():
            raise ModelError(f"{path}: there is no such file or folder")
        if ending in (".json", ".csv") and path.is_file():
            files: MaskFiles = _Rows.of(path, shapes, kind)
        else:
            files = _Maps.of(path, shapes, kind, classes)
    except ArchiveError as error:
        raise ModelError(
            f"{error}; predictions are a folder or zip of PNG, TIFF, .npy or .npz maps, one .npz, "
            "COCO .json or Kaggle .csv"
        ) from error
    if shapes and not files.ids:
        files.close()
        extra = files.report.extra
        got = f"{len(extra)} names such as {extra[0]!r}" if extra else "no name"
        raise ModelError(
            f"{path.name}: no answer for any of {len(shapes)} images such as {next(iter(shapes))!r}: {got}"
        )
    return files


class _Maps(MaskFiles):
    """One file per image, in a folder or an archive (an .npz is a zip of .npy)."""

    def __init__(
        self, archive: Archive, shapes: Shapes, found: Mapping[str, str], report: Report, kind: MapKind, classes: int
    ) -> None:
        super().__init__(Path(archive.label).name, shapes, found, report)
        self._archive = archive
        self._kind = kind
        self._classes = classes
        wanted = {*found.values()}
        self._sizes = {member.name: member.size for member in archive.members() if member.name in wanted}

    @classmethod
    def of(cls, path: Path, shapes: Shapes, kind: MapKind, classes: int) -> Self:
        archive = open_archive(path, limits=LIMITS)
        try:
            names, others = list[str](), 0
            for name in archive.names():
                hidden = name.startswith((".", "__MACOSX/")) or "/." in name
                if not hidden and name.lower().endswith(MAPS):
                    names.append(name)
                else:
                    others += 1
            found, report = match(names, shapes, files=True)
            if others:
                report = replace(report, notes=(*report.notes, f"{others} other files left aside"))
            return cls(archive, shapes, found, report, kind, classes)
        except BaseException:
            archive.close()
            raise

    def _read(self, name: str, where: str, shape: tuple[int, int]) -> Value:
        _check_bytes(self._sizes[name], shape, where)
        try:
            data = self._only_array(name, shape, where) if name.lower().endswith(".npz") else self._archive.read(name)
        except ArchiveError as error:
            raise ModelError(str(error)) from error
        return read_map(data, where, self._kind, shape, self._classes)

    def _only_array(self, name: str, shape: tuple[int, int], where: str) -> bytes:
        """The bytes of the one .npy in the .npz `name`."""
        with self._archive.nested(name) as inner:
            members = inner.members()
            if len(members) != 1:
                raise ModelError(f"{where}: an .npz of {len(members)} arrays; the .npz of one image holds one")
            _check_bytes(members[0].size, shape, where)
            return inner.read(members[0].name)

    def close(self) -> None:
        """Release the archive."""
        self._archive.close()


def _check_bytes(size: int, shape: tuple[int, int], where: str) -> None:
    if size > 16 * shape[0] * shape[1] + SLACK:
        raise ModelError(f"{where}: {size:,} bytes are more than a map of {shape} can have")


class _Rows(MaskFiles):
    """One table for all images."""

    def __init__(
        self,
        table: Table,
        shapes: Shapes,
        masks: Callable[[Table, str, str, tuple[int, int]], Masks],
    ) -> None:
        found, report = match(table.rows, shapes, files=table.files)
        super().__init__(table.where, shapes, found, replace(report, notes=(*report.notes, *table.notes)))
        self._table = table
        self._masks = masks

    @classmethod
    def of(cls, path: Path, shapes: Shapes, kind: MapKind) -> Self:
        if kind == "classmap":
            raise ModelError(f"{path.name}: holds objects, and this benchmark scores classes: give class maps")
        if path.suffix.lower() == ".json":
            return cls(read_coco(path), shapes, coco_masks)
        return cls(read_kaggle(path), shapes, kaggle_masks)

    def _read(self, name: str, where: str, shape: tuple[int, int]) -> Value:
        return self._masks(self._table, name, where, shape)

    def close(self) -> None:
        """Nothing is held."""
