"""A view: one way to develop a raw frame, as a value with a canonical text and a digest.

Everything that decides a pixel is in it but the frame and its camera. The default view is the reference:
white balance before a bilinear demosaic, 3×3 sharpening, Gaussian denoising, gamma 2.2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lensbench.digest import sha256_of
from lensbench.errors import ViewError, nearest

CHOICES: Mapping[str, tuple[str, ...]] = {
    "demosaic": ("bilinear", "malvar2004", "menon2007"),
    "balance": ("before", "after"),
    "edges": ("reflect", "published"),
    "sharpen": ("none", "filter", "unsharp", "unsharp-vertical"),
    "denoise": ("none", "median", "gaussian"),
}
CORRUPTIONS = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "gaussian_blur"),
    *("zoom_blur", "contrast", "brightness", "saturate", "elastic"),
)
RANGES: Mapping[str, tuple[float, float]] = {
    "exposure": (1 / 64, 64.0),
    "bits": (1.0, 16.0),
    "black": (-0.5, 0.5),
    "saturation": (0.0, 8.0),
    "hue": (-180.0, 180.0),
    "sharpen_amount": (0.0, 16.0),
    "sharpen_sigma": (0.1, 4.0),
    "denoise_sigma": (0.1, 4.0),
    "gamma": (1.0, 4.0),
    "contrast": (-1.0, 1.0),
    "jpeg": (1, 100),
    "intensity": (1, 100),
}
"""Least and greatest value of each number; a gain may be any number of at most 64, and negative."""
WHOLE = ("jpeg", "intensity")
LARGEST_GAIN = 64.0


@dataclass(frozen=True)
class Corruption:
    """A common corruption of the developed image, at severity 1…5."""

    name: str
    severity: int

    def __post_init__(self) -> None:
        if self.name not in CORRUPTIONS:
            raise ViewError(f"no corruption {self.name!r}{nearest(str(self.name), CORRUPTIONS)}")
        if type(self.severity) is not int or not 1 <= self.severity <= 5:
            raise ViewError(f"corruption {self.name}: its severity is a whole number in 1…5, not {self.severity!r}")


@dataclass(frozen=True)
class View:
    """The stages in the order in which they run. Raises ViewError for a value that a stage cannot take.

    `name` says how a tier calls it; it is neither compared nor hashed.
    """

    name: str = field(default="", compare=False)
    intensity: int = 100
    """Which recording of the frame: per cent of the full intensity. Whoever reads the frame picks it."""
    exposure: float = 1.0
    """Factor on the light above black, clipped where the sensor saturates."""
    bits: float = 16.0
    """The raw range is cut into 2**bits − 1 steps; 16 leaves it as it is."""
    black: float = 0.0
    """Added to the black level that is subtracted: a share of the camera's span."""
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors on the camera's white balance."""
    balance: str = "before"
    """White balance ``before`` the demosaic, or ``after`` it."""
    demosaic: str = "bilinear"
    edges: str = "reflect"
    """``published``: demosaic and 3×3 sharpening as the published pipeline continues a frame past its edges."""
    saturation: float = 1.0
    hue: float = 0.0
    """Degrees."""
    sharpen: str = "filter"
    sharpen_amount: float = 1.0
    sharpen_sigma: float = 1.0
    denoise: str = "gaussian"
    denoise_sigma: float = 0.5
    gamma: float = 2.2
    contrast: float = 0.0
    """How far the curve goes from the gamma's (0) to an S (1), or to the S's mirror image (−1)."""
    jpeg: int | None = None
    """Quality of a JPEG that the image goes through."""
    corruption: Corruption | None = None

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ViewError(f"{self._where}{name} is one of {', '.join(known)}, not {getattr(self, name)!r}")
        for name, (low, high) in RANGES.items():
            object.__setattr__(self, name, self._number(name, low, high))
        gains = self.gains
        if not isinstance(gains, tuple | list) or len(gains) != 3 or not all(map(_is_gain, gains)):
            raise ViewError(f"{self._where}gains are three numbers of at most {LARGEST_GAIN:g}, not {gains!r}")
        object.__setattr__(self, "gains", tuple(float(gain) for gain in gains))

    @property
    def _where(self) -> str:
        return f"view {self.name}: " if self.name else "a view's "

    def _number(self, name: str, low: float, high: float) -> float | None:
        value = getattr(self, name)
        if value is None and name == "jpeg":
            return None
        kinds: tuple[type, ...] = (int,) if name in WHOLE else (int, float)
        if type(value) not in kinds or not low <= value <= high:
            kind = "a whole number" if name in WHOLE else "a number"
            raise ViewError(f"{self._where}{name} is {kind} in {low:g}…{high:g}, not {value!r}")
        return int(value) if name in WHOLE else float(value)

    @property
    def spec(self) -> dict[str, Any]:
        """What the digest is taken over: every stage's value, defaults too."""
        values = {key: value for key, value in asdict(self).items() if key != "name"}
        return {"schema": 1, **values, "gains": list(self.gains)}

    @cached_property
    def digest(self) -> str:
        """Hex sha256 over `spec`: two views of one digest are the same processing."""
        return sha256_of(self.spec)

    def but(self, **changes: Any) -> View:
        """This view with other values; raises ViewError for an entry that no view has."""
        return replace(self, **_checked(changes))


def view_of(entries: Mapping[str, Any], name: str = "") -> View:
    """The view that `entries` (of a TOML table or a `spec`) describe; what is left out is the reference's."""
    if entries.get("schema", 1) != 1:
        raise ViewError(f"view {name}: schema {entries['schema']!r} is not 1")
    given = {key: value for key, value in entries.items() if key != "schema"}
    return View(name=name, **_checked(given))


def _checked(entries: Mapping[str, Any]) -> dict[str, Any]:
    known = [f.name for f in fields(View)]
    for key in entries:
        if key not in known:
            raise ViewError(f"a view has no entry {key!r}{nearest(key, known)}")
    corruption = entries.get("corruption")
    if isinstance(corruption, Mapping):
        if corruption.keys() != {"name", "severity"}:
            raise ViewError(
                f"a corruption has a name and a severity, not {', '.join(map(str, corruption)) or 'nothing'}"
            )
        return {**entries, "corruption": Corruption(**corruption)}
    if corruption is not None and not isinstance(corruption, Corruption):
        raise ViewError(f"a corruption has a name and a severity, not {corruption!r}")
    return dict(entries)


def _is_gain(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= LARGEST_GAIN  # false for NaN, too


def read_view(path: Path) -> View:
    """The view in a JSON file: a `spec`, or an object with one under ``view``; raises ViewError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ViewError(f"{path}: cannot be read as JSON ({error})") from error
    entries = data.get("view", data) if isinstance(data, dict) else data
    if not isinstance(entries, dict):
        raise ViewError(f"{path}: holds no view")
    return view_of(entries, path.stem)
