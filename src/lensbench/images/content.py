"""The hash of what an image holds, whatever file it came in: the part of a dataset's digest that each sample gives.

Three rules: ``bytes`` (published bytes: JPEG, which no two decoders read alike), ``pixels`` (lossless images:
dtype, shape and values) and ``labelmap`` (instance annotations: the objects, not the ids or colours they wear).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.digest import canonical, sha256_of
from lensbench.errors import ArchiveError
from lensbench.images.labelmap import from_colours, renumber

RULES = ("bytes", "pixels", "labelmap")
DTYPES = ("uint8", "uint16", "uint32", "float32")


def pixels_sha256(array: NDArray[Any]) -> str:
    """Hex sha256 over the canonical JSON of ``[dtype, shape]``, then the values in C order, little-endian.

    dtype is one of uint8, uint16, uint32 and float32; raises ValueError for another. Byte order and strides of
    the array do not matter.
    """
    if array.dtype.name not in DTYPES:
        raise ValueError(f"pixels are one of {', '.join(DTYPES)}, not {array.dtype}")
    digest = hashlib.sha256(canonical([array.dtype.name, list(array.shape)]))
    digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def labelmap_sha256(labels: NDArray[Any]) -> str:
    """`pixels_sha256` of the map `renumber`ed by first appearance: integers H×W, any ids."""
    return pixels_sha256(renumber(labels))


def sample_sha256(parts: Mapping[str, str]) -> str:
    """A sample's hash from those of its image columns: a single one as it is, several as the mapping's digest."""
    if not parts:
        raise ValueError("a sample has at least one part")
    return next(iter(parts.values())) if len(parts) == 1 else sha256_of(dict(parts))


def part_sha256(data: bytes, rule: str, where: str) -> str:
    """The hash of one image column from its encoded bytes, by `rule`.

    Raises ArchiveError naming `where` for an image that cannot be read or is no label map, ValueError for an
    unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"a hash rule is one of {', '.join(RULES)}, not {rule!r}")
    if rule == "bytes":
        return hashlib.sha256(data).hexdigest()
    from lensbench.images.decode import decode

    pixels = decode(data, where)
    if rule == "pixels":
        return pixels_sha256(pixels)
    try:
        return pixels_sha256(from_colours(pixels) if pixels.ndim == 3 else renumber(pixels))
    except ValueError as error:
        raise ArchiveError(f"{where}: {error}") from error
