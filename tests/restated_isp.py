"""The published pipeline, restated from its description alone: an oracle that shares no code with `lensbench.isp`.

colour-demosaicing, SciPy and scikit-image in float64, one view at a time, nothing shared. The demosaic is handed
the whole numbers of the mosaic as float64, in which its sums are exact: handed value / white it decides ties of
Menon's by rounding errors. Black level (one for all sites) and scale are applied afterwards, which changes nothing
else: every demosaic here keeps a constant, but for bilinear's edges, and there the constant is demosaiced, too.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal
from skimage.color import rgb2yuv, yuv2rgb
from skimage.filters import gaussian as blurred

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # matplotlib is not there, and not wanted
    from colour_demosaicing import (
        demosaicing_CFA_Bayer_bilinear,
        demosaicing_CFA_Bayer_Malvar2004,
        demosaicing_CFA_Bayer_Menon2007,
    )
# colour leaves stand-ins for it, on which whoever asks whether the real one is there stumbles afterwards.
for stub in [key for key, module in sys.modules.items() if not getattr(module, "__spec__", None)]:
    if stub.partition(".")[0] == "matplotlib":
        del sys.modules[stub]

Array = NDArray[np.float64]
DEMOSAICS: dict[str, Callable[..., Any]] = {
    "bi": demosaicing_CFA_Bayer_bilinear,
    "ma": demosaicing_CFA_Bayer_Malvar2004,
    "me": demosaicing_CFA_Bayer_Menon2007,
}
VIEWS = tuple(f"{d}-{s}-{n}" for d in DEMOSAICS for s in ("s", "u") for n in ("me", "ga"))
KERNEL = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])


def developed(
    raw: NDArray[Any],
    name: str,
    *,
    black: float,
    span: float,
    gains: Any = (1, 1, 1),
    matrix: Any = (1, 0, 0, 0, 1, 0, 0, 0, 1),
    cfa: str = "RGGB",
) -> Array:
    """H×W×3 in [0, 1]: `raw` in the published view `name`; `black` in the mosaic's own numbers."""
    demosaic, sharpen, denoise = name.split("-")
    rgb = DEMOSAICS[demosaic](raw.astype(np.float64), cfa)
    ones = DEMOSAICS[demosaic](np.ones(raw.shape), cfa) if demosaic == "bi" else 1.0
    rgb = (rgb - black * ones) / span
    rgb = np.einsum("ijk,lk->ijl", rgb * np.asarray(gains, float), np.asarray(matrix, float).reshape(3, 3))
    rgb = on_luma(rgb, sharpened_3x3 if sharpen == "s" else sharpened_by_columns)
    rgb = on_luma(rgb, median if denoise == "me" else smoothed)
    return np.asarray(np.clip(rgb, 0, 1) ** (1 / 2.2))


def on_luma(rgb: Array, work: Callable[[Array], Array]) -> Array:
    yuv = rgb2yuv(rgb)
    yuv[..., 0] = work(yuv[..., 0])
    return np.asarray(yuv2rgb(yuv))


def sharpened_3x3(y: Array) -> Array:
    return np.asarray(signal.convolve2d(y, KERNEL, mode="same", boundary="fill", fillvalue=0))


def sharpened_by_columns(y: Array) -> Array:
    """Unsharp masking, radius 1 and amount 1, of each column by itself: what the published views carry."""
    smooth: Callable[..., Any] = blurred
    columns = [y[:, k] + (y[:, k] - smooth(y[:, k], sigma=1, mode="reflect")) for k in range(y.shape[1])]
    return np.stack(columns, axis=1)


def median(y: Array) -> Array:
    return np.asarray(ndimage.median_filter(y, 3))


def smoothed(y: Array) -> Array:
    return np.asarray(ndimage.gaussian_filter(y, 0.5))
