"""Image signal processing: a raw mosaic, developed in many views.

`develop` gives one view of a frame, `Developer` many that share their work; a `View` is a value with a digest, a
`Camera` what must be known of the frame. Tiers of views are data: see `lensbench.isp.tiers`.
"""

from lensbench.isp.camera import Camera, camera_of, get_camera
from lensbench.isp.pipeline import Developer, Tile, develop
from lensbench.isp.view import Corruption, View, view_of

__all__ = ["Camera", "Corruption", "Developer", "Tile", "View", "camera_of", "develop", "get_camera", "view_of"]
