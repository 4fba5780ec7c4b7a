"""Label maps and content hashes: objects by definition, and equal hashes for equal objects."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from lensbench.digest import sha256_of
from lensbench.errors import ArchiveError
from lensbench.images.content import labelmap_sha256, part_sha256, pixels_sha256, sample_sha256
from lensbench.images.decode import decode, encode_png
from lensbench.images.labelmap import Object, from_colours, objects, renumber

INTEGERS = st.sampled_from([np.dtype(code) for code in ("u1", "i2", "u2", "i4", "u4", "i8", "u8")])
MAPS = INTEGERS.flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        elements=st.sampled_from([0, 1, 2, 3, 120, int(np.iinfo(dtype).max)]),
    )
)


def renumbered(labels: NDArray[Any]) -> NDArray[np.uint32]:
    """The definition, pixel by pixel."""
    new = {0: 0}
    for value in labels.reshape(-1).tolist():
        new.setdefault(value, len(new))
    return np.array([new[value] for value in labels.reshape(-1).tolist()], np.uint32).reshape(labels.shape)


def found(labels: NDArray[Any]) -> list[Object]:
    """The definition, object by object."""
    result = []
    for value in np.unique(labels[labels != 0]):
        y, x = np.nonzero(labels == value)
        box = (int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1)
        edge = x.min() == 0 or y.min() == 0 or x.max() == labels.shape[1] - 1 or y.max() == labels.shape[0] - 1
        result.append(Object(int(value), len(x), box, bool(edge)))
    return result


@given(MAPS)
def test_objects_and_numbers_are_those_of_the_definition(labels: NDArray[Any]) -> None:
    new = renumber(labels)
    assert new.dtype == np.uint32 and np.array_equal(new, renumbered(labels))
    assert np.array_equal(renumber(new), new)
    assert objects(labels) == found(labels)
    assert objects(labels.T) == found(labels.T)  # not contiguous


@given(MAPS, st.randoms(use_true_random=False))
def test_other_ids_are_the_same_objects(labels: NDArray[Any], random: Any) -> None:
    ids = [0, *random.sample(range(1, 2**24), 8)]
    other = np.array(ids, np.uint32)[renumber(labels)]
    assert labelmap_sha256(other) == labelmap_sha256(labels)
    colours = np.stack([other >> 16, other >> 8 & 255, other & 255], axis=2).astype(np.uint8)
    assert np.array_equal(from_colours(colours), renumber(labels))
    small = renumber(labels).astype(np.uint16)
    assert part_sha256(encode_png(small), "labelmap", "a.png") == labelmap_sha256(labels)
    assert part_sha256(encode_png(colours), "labelmap", "a.png") == labelmap_sha256(labels)


def test_more_objects_than_sixteen_bits() -> None:
    """70,000 objects of one pixel, and one in two parts that touches another."""
    labels = np.zeros((300, 600), np.uint32)
    labels[::2, ::2] = np.arange(45_000).reshape(150, 300)[::-1] + 1
    labels[1::2, 1::2] = np.arange(45_000).reshape(150, 300) + 70_000
    labels[299, 598:] = labels[0, 0]
    new = renumber(labels)
    assert new.max() == len(np.unique(labels)) - 1 > 65_535
    assert np.array_equal(new, renumbered(labels)) and new[299, 599] == new[0, 0] == 1
    first = objects(new)[0]
    assert first == Object(1, 3, (0, 0, 600, 300), True)
    assert [o.id for o in objects(new)] == list(range(1, int(new.max()) + 1))


def test_empty_and_full_maps() -> None:
    for shape in ((0, 4), (4, 0), (3, 4)):
        assert objects(np.zeros(shape, np.uint8)) == [] and renumber(np.zeros(shape, np.uint8)).shape == shape
    assert objects(np.full((2, 3), 9)) == [Object(9, 6, (0, 0, 3, 2), True)]


@pytest.mark.parametrize("work", [renumber, objects, labelmap_sha256])
def test_what_is_no_label_map_is_refused(work: Any) -> None:
    for wrong in (np.ones((2, 2)), np.ones((2, 2), np.bool_), np.ones((2, 2, 3), np.uint8), np.ones(3, np.uint8)):
        with pytest.raises(ValueError, match=r"^a label map is integers H×W, not "):
            work(wrong)
    with pytest.raises(ValueError, match=r"^a label map has no negative ids, this one -4$"):
        work(np.array([[3, -4]]))


def test_what_is_no_annotation_in_colours_is_refused() -> None:
    arrays: list[Any] = [np.ones((2, 2), np.uint8), np.ones((2, 2, 4), np.uint8), np.ones((2, 2, 3), np.uint16)]
    for wrong in arrays:
        with pytest.raises(ValueError, match=r"^an annotation in colours is uint8 H×W×3, not "):
            from_colours(wrong)
    file = io.BytesIO()
    Image.fromarray(np.ones((2, 2, 4), np.uint8)).save(file, "PNG")
    with pytest.raises(ArchiveError, match=r"^a.png: an annotation in colours is uint8"):
        part_sha256(file.getvalue(), "labelmap", "a.png")


def test_the_hash_of_pixels_is_over_dtype_shape_and_values() -> None:
    pixels = np.arange(6, dtype=np.uint16).reshape(2, 3)
    by_hand = hashlib.sha256(b'["uint16",[2,3]]' + bytes([0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0]))
    assert pixels_sha256(pixels) == by_hand.hexdigest()
    same = (pixels.astype(">u2"), np.asfortranarray(pixels), np.repeat(pixels, 2, axis=1)[:, ::2])
    assert {pixels_sha256(p) for p in same} == {pixels_sha256(pixels)}
    changed = pixels.copy()
    changed[1, 2] ^= 1
    others = (pixels.reshape(3, 2), pixels.astype(np.uint32), pixels.astype(np.float32), pixels[..., None], changed)
    assert len({pixels_sha256(p) for p in (pixels, *others)}) == 6
    for wrong in (np.int64, np.float64, np.bool_):
        with pytest.raises(ValueError, match="pixels are one of uint8, uint16, uint32, float32, not"):
            pixels_sha256(pixels.astype(wrong))


def test_a_sample_of_one_part_has_its_hash() -> None:
    assert sample_sha256({"image": "ab"}) == "ab"
    assert sample_sha256({"mask": "cd", "image": "ab"}) == sha256_of({"image": "ab", "mask": "cd"})
    with pytest.raises(ValueError, match="at least one part"):
        sample_sha256({})


def test_a_part_is_hashed_by_its_rule() -> None:
    pixels = np.arange(300, dtype=np.uint16).reshape(15, 20)
    data = encode_png(pixels)
    assert part_sha256(b"abc", "bytes", "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert part_sha256(data, "pixels", "x") == pixels_sha256(pixels)
    assert part_sha256(data, "labelmap", "x") == labelmap_sha256(pixels)
    with pytest.raises(ValueError, match=r"^a hash rule is one of bytes, pixels, labelmap, not 'md5'$"):
        part_sha256(data, "md5", "x")
    with pytest.raises(ArchiveError, match=r"^x.png: "):
        part_sha256(data[:-1], "pixels", "x.png")


def test_hashing_label_maps_needs_no_opencv() -> None:
    code = "import sys, lensbench.images.labelmap, lensbench.images.content; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def voc_inverse(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The index whose colour this is in the Pascal VOC map: its bits 3k, 3k+1, 3k+2 are bit 7−k of R, G, B."""
    index = np.zeros(rgb.shape[:2], np.uint32)
    for k in range(8):
        for channel in range(3):
            index |= ((rgb[..., channel] >> (7 - k)) & 1).astype(np.uint32) << (3 * k + channel)
    return index


@pytest.mark.needs("realdata")
def test_the_real_annotations(realdata: Path) -> None:
    """Objects per split, border flags and areas as counted by others (facts on Aitslab_bioimaging1)."""
    folder, counts, every = realdata / "aitslab_bioimaging1", {}, []
    for split in ("training", "development", "test"):
        counts[split] = 0
        for path in sorted((folder / f"{split}_nuclei/annotations").glob("*.png")):
            rgb = decode(path.read_bytes(), path.name)
            labels = from_colours(rgb)
            numbers = voc_inverse(rgb)
            assert set(np.unique(numbers)) == set(range(int(labels.max()) + 1))  # the colour map's first, no gaps
            assert np.array_equal(renumber(numbers), labels)
            some = objects(labels)
            assert sum(o.area for o in some) == np.count_nonzero(labels)
            counts[split] += len(some)
            every += some
    assert counts == {"training": 1283, "development": 375, "test": 438}
    assert sum(o.touches_border for o in every) == 219
    assert (min(o.area for o in every), max(o.area for o in every)) == (6, 8498)


@pytest.mark.needs("realdata")
def test_the_published_annotation_is_the_re_encoded_one(realdata: Path) -> None:
    folder, name = realdata / "aitslab_bioimaging1", "MFGTMPcx7_170702000001_B14f07d0"
    published = (folder / f"ORIGINAL_annotation_{name}.png").read_bytes()
    copy = (folder / f"training_nuclei/annotations/{name}_objects.png").read_bytes()
    assert published != copy
    assert part_sha256(published, "labelmap", name) == part_sha256(copy, "labelmap", name)
    one = from_colours(decode(copy, name))
    one[objects(one)[0].bbox[1], objects(one)[0].bbox[0] :] += 1
    assert labelmap_sha256(one) != part_sha256(copy, "labelmap", name)
