"""What must be known of a camera to develop its raw frames: filter order, levels, white balance, colour matrix."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lensbench.errors import FrameError, nearest

CFAS = ("RGGB", "GRBG", "GBRG", "BGGR")
"""Filter orders, by the cell's rows: the top left pixel first."""
TOP = 65535
"""Largest value of a raw pixel."""
LARGEST = 1e3
"""Largest magnitude of a gain or a matrix entry that is taken for a real one."""
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Camera:
    """A pixel's light is (value − black) / span; gains and colour matrix come after.

    `black` has one level for each site of the filter's cell, row by row; `white` is where the sensor saturates;
    all three in the frame's own numbers. Gains and matrix entries may be negative. Raises FrameError for values
    that no camera has.
    """

    cfa: str = "RGGB"
    black: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    white: float = float(TOP)
    span: float = float(TOP)
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    matrix: tuple[float, ...] = IDENTITY

    def __post_init__(self) -> None:
        if self.cfa not in CFAS:
            raise FrameError(f"the filter order is one of {', '.join(CFAS)}, not {self.cfa!r}")
        sizes = (len(self.black), len(self.gains), len(self.matrix))
        if sizes != (4, 3, 9):
            raise FrameError(f"a camera has 4 black levels, 3 gains and 9 matrix entries, not {sizes}")
        if not all(math.isfinite(v) and abs(v) <= LARGEST for v in (*self.gains, *self.matrix)):
            raise FrameError(f"gains and matrix entries are numbers of at most {LARGEST:g}: {self.gains} {self.matrix}")
        if not (0 < self.white <= TOP and 0 < self.span <= TOP and all(0 <= b < self.white for b in self.black)):
            raise FrameError(
                f"black levels lie in 0…white and white in 0…{TOP}: black {self.black}, white {self.white}, "
                f"span {self.span}"
            )

    @property
    def red(self) -> tuple[int, int]:
        """Row and column of the red site in the cell; blue lies across."""
        return divmod(self.cfa.index("R"), 2)

    def rescaled(self, white: float) -> Camera:
        """The same camera for frames that saturate at `white`."""
        factor = white / self.white
        one, two, three, four = (level * factor for level in self.black)
        return replace(self, black=(one, two, three, four), white=white, span=self.span * factor)


def camera_of(columns: Mapping[str, Any]) -> Camera:
    """The camera of a dataset's row: `cfa`, `white_level`, `black_level` (shares of it), `white_balance`, `ccm`.

    As these datasets were published, light is counted in shares of the white level, black not taken off it.
    """
    try:
        white = float(columns["white_level"])
        black, gains, matrix = (_floats(columns[name]) for name in ("black_level", "white_balance", "ccm"))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"not the columns of a raw frame ({type(error).__name__}: {error})") from error
    if len(black) != 4 or len(gains) != 3:
        raise FrameError(f"a camera has 4 black levels and 3 gains, not {len(black)} and {len(gains)}")
    levels = (black[0] * white, black[1] * white, black[2] * white, black[3] * white)
    return Camera(str(columns["cfa"]), levels, white, white, (gains[0], gains[1], gains[2]), matrix)


def _floats(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


CAMERAS = Path(__file__).with_name("cameras.toml")


def get_camera(name: str) -> Camera:
    """A camera that came with lensbench, or the one that a TOML file of the same entries describes."""
    path = Path(name)
    try:
        known = tomllib.loads(CAMERAS.read_text(encoding="utf-8"))
        if name in known:
            return camera_of(known[name])
        if path.suffix != ".toml" or not path.is_file():
            raise FrameError(f"no camera {name!r}{nearest(name, known)}, or a .toml file with the same entries")
        return camera_of(tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:  # TOML, UTF-8, and numbers of too many digits
        raise FrameError(f"{path}: not valid TOML: {error}") from error
