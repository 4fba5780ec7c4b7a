"""Load a dataset folder's own code, `builder.py` and `specimen.py`, by path: one name per file and content."""

from __future__ import annotations

import copyreg
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lensbench.errors import DatasetError
from lensbench.paths import read_regular

if TYPE_CHECKING:
    from lensbench.data.builder import ImageBuilder

BUILDER = "builder.py"


def load_builder(folder: Path) -> type[ImageBuilder]:
    """The builder class of the dataset in `folder`; raises DatasetError where there is none.

    The code is the user's own (the registry that came with lensbench, or one they name): it runs as they do.
    """
    from lensbench.data.builder import ImageBuilder

    module = _load(folder, BUILDER)
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ImageBuilder) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise DatasetError(f"{folder / BUILDER}: expected one builder class, found {len(found)}")
    # By path, not by module name: a spawned worker never heard of a module loaded from a file.
    copyreg.pickle(found[0], lambda builder: (_again, (builder.request.dataset.folder, builder.__dict__)))
    return found[0]


def _again(folder: Path, state: dict[str, Any]) -> ImageBuilder:
    """A pickled builder in a worker process: its class is loaded by path first, then given its state."""
    kind = load_builder(folder)
    builder = kind.__new__(kind)
    builder.__dict__.update(state)
    return builder


def load_specimen(folder: Path) -> Callable[..., list[Path]]:
    """`make(folder, *, size, seed, layout, …) -> files` of the dataset's specimen script, its folder made first.

    Raises DatasetError without one, and when called for a make() that takes or returns something else.
    """
    where = folder / "specimen.py"
    make = getattr(_load(folder, where.name), "make", None)
    if not callable(make):
        raise DatasetError(f"{where}: defines no make()")
    taken = inspect.signature(make).parameters
    lacking = [name for name in ("size", "seed", "layout") if name not in taken]
    if lacking and not any(option.kind is option.VAR_KEYWORD for option in taken.values()):
        raise DatasetError(f"{where}: make() takes no {lacking[0]!r}; it is make(folder, *, size, seed, layout)")

    @wraps(make)
    def made(to: Path, **options: Any) -> list[Path]:
        to.mkdir(parents=True, exist_ok=True)
        paths = make(to, **options)
        if not isinstance(paths, list | tuple) or not paths or not all(isinstance(path, Path) for path in paths):
            raise DatasetError(f"{where}: make() returns the list of the paths that it wrote, not {paths!r:.60}")
        if lost := [path for path in paths if not path.is_file()]:
            raise DatasetError(f"{where}: make() returned {lost[0].name}, and wrote no such file")
        return list(paths)

    return made


def _load(folder: Path, file: str) -> ModuleType:
    path = folder / file
    try:
        code = read_regular(path)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); {folder.name} has no {path.stem}") from error
    # The name changes with path and content, so that an edited file is never the one already loaded.
    name = f"lensbench_{path.stem}_{folder.name}_{hashlib.sha256(bytes(path) + code).hexdigest()[:8]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise DatasetError(f"{path}: is not a Python module")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            if isinstance(error, SystemExit):  # else the command would end there, and with the code of its choice
                raise DatasetError(f"{path}: ends the process when it is loaded (SystemExit)") from error
            if isinstance(error, ImportError | SyntaxError):
                raise DatasetError(f"{path}: cannot be loaded: {str(error).splitlines()[0]}") from error
            raise
    return sys.modules[name]
