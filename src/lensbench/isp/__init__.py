"""Image signal processing: a raw mosaic, developed in many views.

`develop` gives one view of a frame, `Developer` many that share their work; a `View` is a value with a digest, a
`Camera` what must be known of the frame. Tiers of views are data: see `lensbench.isp.tiers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lensbench.isp.camera import Camera as Camera
    from lensbench.isp.camera import camera_of as camera_of
    from lensbench.isp.camera import get_camera as get_camera
    from lensbench.isp.pipeline import Developer as Developer
    from lensbench.isp.pipeline import Tile as Tile
    from lensbench.isp.pipeline import develop as develop
    from lensbench.isp.view import Corruption as Corruption
    from lensbench.isp.view import View as View
    from lensbench.isp.view import view_of as view_of

_EXPORTS = {
    "camera": ("Camera", "camera_of", "get_camera"),
    "pipeline": ("Developer", "Tile", "develop"),
    "view": ("Corruption", "View", "view_of"),
}
"""Module → its public names, imported when one is first used: a benchmark names views without an image library."""


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _EXPORTS.items():
        if name in names:
            return getattr(import_module(f"lensbench.isp.{module}"), name)
    raise AttributeError(f"module 'lensbench.isp' has no attribute {name!r}")
