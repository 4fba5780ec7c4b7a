"""Find and read dataset folders: `registry/<name>/`, the one that came with lensbench or one's own."""

from __future__ import annotations

import csv
import shlex
import tomllib
from functools import cache
from pathlib import Path

from lensbench.errors import DatasetError, nearest
from lensbench.paths import named, shipped
from lensbench.registry.entry import parse_dataset, read_text
from lensbench.registry.values import Dataset

CLASSES = "classes.csv"


def registry_root(root: Path | str | None = None) -> Path:
    """The registry folder in use: `root`, else ``LENSBENCH_REGISTRY``, else the one that came with lensbench."""
    return Path(root) if root else named("LENSBENCH_REGISTRY") or shipped("registry")


def registry_words() -> str:
    """What a command needs to find the registry in use: `` --registry DIR``, nothing where it came with lensbench."""
    root = registry_root().resolve()
    if root == shipped("registry").resolve():
        return ""
    here = Path.cwd()
    return f" --registry {shlex.quote(str(root.relative_to(here) if root.is_relative_to(here) else root))}"


def dataset_names(root: Path | str | None = None) -> list[str]:
    """Names of all dataset folders, sorted."""
    folder = registry_root(root)
    return sorted(entry.parent.name for entry in folder.glob("*/dataset.toml"))


def get_dataset(name: str, root: Path | str | None = None) -> Dataset:
    """Read and validate `registry/<name>/`; raises DatasetError with the nearest name when there is none."""
    names = dataset_names(root)
    if name not in names:
        other = "--registry DIR or LENSBENCH_REGISTRY names another"
        raise DatasetError(f"no dataset {name!r} in {registry_root(root)} ({other}){nearest(name, names)}")
    folder = registry_root(root) / name
    stats = [path.stat() for path in (folder / "dataset.toml", folder / "classes.csv") if path.is_file()]
    return _read(folder, tuple((stat.st_mtime_ns, stat.st_size) for stat in stats))


@cache
def _read(folder: Path, _stamp: tuple[tuple[int, int], ...]) -> Dataset:
    """Read once per state of the files: a folder may change under a long-lived process."""
    where = folder / "dataset.toml"
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise DatasetError(f"{path}: a link that leads out of the dataset's folder; put the file itself there")
    try:
        return parse_dataset(folder, tomllib.loads(read_text(where)))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DatasetError(f"{where}: not valid TOML: {error}") from error
    except OSError as error:
        raise DatasetError(f"{error.filename}: {error.strerror}") from error
    except (TypeError, ValueError, AttributeError, csv.Error) as error:
        what = str(error).removeprefix(f"{where.name}: ")
        raise DatasetError(f"{folder if what.startswith(CLASSES) else where}: {what}") from error
