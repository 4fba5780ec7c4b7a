"""Segmentations made elsewhere: every format gives the same maps, and what is not fit says so in one line."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensbench.errors import ModelError
from lensbench.images.decode import encode_png
from lensbench.masks.match import match
from lensbench.masks.read import open_masks
from lensbench.masks.values import ClassMap, LabelMap, Masks, to_labelmap
from tests.masks_files import MAPS, SHAPES, coco, kaggle, labels, npy, npz, put, tiff, zipped


def as_savez(path: Path) -> Path:
    arrays = {key: array.astype(np.int64) for key, array in MAPS.items()}
    np.savez_compressed(path / "p.npz", **arrays)  # type: ignore[arg-type]
    return path / "p.npz"


def as_text(name: str, text: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        (path / name).write_text(text)
        return path / name

    return write


LISTED = {"images": [{"id": n, "file_name": f"img/{key}.png"} for n, key in enumerate(MAPS)]}
BY_NUMBER = LISTED | {"annotations": [row | {"image_id": "abc".index(row["image_id"])} for row in coco(MAPS, 0.5)]}
OBJECT = {"images": {"0": "a", "1": "b", "2": "c"}, "results": BY_NUMBER["annotations"]}

FORMATS: dict[str, Callable[[Path], Path]] = {
    "png16": lambda path: put(path, {f"{k}.png": encode_png(v.astype(np.uint16)) for k, v in MAPS.items()}),
    "tiff32": lambda path: put(path, {f"{k}.tif": tiff(v) for k, v in MAPS.items()}),
    "tiff-int": lambda path: put(path, {f"{k}.TIFF": tiff(v.astype(np.int32)) for k, v in MAPS.items()}),
    "zip": lambda path: zipped(path / "p.zip", {f"{k}.tif": tiff(v.astype(np.uint16)) for k, v in MAPS.items()}),
    "zip in a folder": lambda path: zipped(path / "p.zip", {f"preds/{k}.npy": npy(v) for k, v in MAPS.items()}),
    "npz": as_savez,
    "npz of one image": lambda path: put(path, {f"{k}.npz": npz(v) for k, v in MAPS.items()}),
    "npz in a zip": lambda path: zipped(path / "p.zip", {f"{k}.npz": npz(v) for k, v in MAPS.items()}),
    "suffix": lambda path: put(path, {f"{k}_objects.tif": tiff(v) for k, v in MAPS.items()}),
    "coco": as_text("p.json", json.dumps(BY_NUMBER)),
    "coco-object": as_text("p.json", json.dumps(OBJECT)),
    "kaggle": as_text("p.csv", kaggle(MAPS)),
    "kaggle.png": as_text("p.csv", kaggle({f"{key}.png": array for key, array in MAPS.items()})),
}
MATCHED = {
    "zip in a folder": "folders in the name left aside",
    "suffix": "left aside",
    "coco": "folders in the name left aside",
    "kaggle.png": "ending, _objects",
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_objects(name: str, tmp_path: Path) -> None:
    with open_masks(FORMATS[name](tmp_path), SHAPES, "labelmap") as files:
        report = files.report
        assert not report.missing and not report.extra and not report.duplicates
        assert [MATCHED[name] in note for note in report.notes] == [True] if name in MATCHED else not report.notes
        answers = dict(files)
    assert list(answers) == ["a", "b", "c"]
    for key, value in answers.items():
        if isinstance(value, Masks):
            assert (value.scores is None) == name.startswith("kaggle")
            ids = np.unique(MAPS[key])
            assert np.array_equal(ids[to_labelmap(value, key).pixels], MAPS[key]), key
        else:
            assert isinstance(value, LabelMap) and value.pixels.dtype == np.uint32
            assert np.array_equal(value.pixels, MAPS[key]), key


def test_class_maps_take_bools_and_know_their_classes(tmp_path: Path) -> None:
    truth = labels() > 0
    put(
        tmp_path, {"a.npy": npy(truth), "b.png": encode_png(truth.astype(np.uint8)), "c.tif": tiff(truth * np.int32(2))}
    )
    with open_masks(tmp_path, SHAPES, "classmap", classes=3) as files:
        answers = dict(files)
    for key, factor in {"a": 1, "b": 1, "c": 2}.items():
        value = answers[key]
        assert isinstance(value, ClassMap) and value.pixels.dtype == np.uint8
        assert np.array_equal(value.pixels, truth * factor)
    with open_masks(tmp_path, SHAPES, "classmap", classes=2) as files:
        assert files.read("a") is not None
        with pytest.raises(ModelError, match=r"c\.tif.*\(id 'c'\): holds 2, a classmap holds 0 to 1"):
            files.read("c")
    for name in ("p.json", "p.csv"):
        (tmp_path / name).write_text("[]")
        with pytest.raises(ModelError, match="this benchmark scores classes"):
            open_masks(tmp_path / name, SHAPES, "classmap")


def test_names_are_matched_by_the_id_before_anything_else() -> None:
    found, report = match(["b.png", "x/a.png", "x/a_objects.png", "c_objects.png", "e.png"], "dcba", files=True)
    assert found == {"b": "b.png", "a": "x/a.png", "c": "c_objects.png"}
    assert report.missing == ("d",) and report.extra == ("e.png", "x/a_objects.png") and not report.duplicates
    assert report.notes == (
        "1 matched with folders in the name left aside, such as 'x/a.png' for 'a'",
        "1 matched with ending, _objects and _cp_masks left aside, such as 'c_objects.png' for 'c'",
    )


def test_two_answers_for_an_id_are_none() -> None:
    found, report = match(["a.png", "a.tif", "x/b.png", "y/b.png", "c.png"], "abc", files=True)
    assert found == {"c": "c.png"}
    assert report.duplicates == report.missing == ("a", "b") and not report.extra


def test_an_answer_that_could_be_two_ids_is_neither() -> None:
    found, report = match(["a_objects.png"], ["a.png", "a.tif"], files=True)
    assert not found and report.missing == ("a.png", "a.tif") and report.extra == ("a_objects.png",)
    assert report.notes == ("'a_objects.png' could be 'a.png' or 'a.tif': not matched",)


def test_ids_with_dots_and_slashes_keep_them() -> None:
    ids = ["x/a.1", "x/a.2", "plate.tif"]
    assert match(["x/a.1.png", "x/a.2.png", "plate.tif"], ids, files=True)[0] == {
        "x/a.1": "x/a.1.png",
        "x/a.2": "x/a.2.png",
        "plate.tif": "plate.tif",
    }
    assert match(["a.1", "A.2"], ["a.1", "a.2"], files=False)[0] == {"a.1": "a.1"}


@given(st.lists(st.sampled_from(["a", "a.png", "a.tif", "x/a.png", "a_objects.png", "b.png", "B.png"])), st.booleans())
def test_no_name_answers_twice_and_none_is_lost(names: list[str], files: bool) -> None:
    found, report = match(names, ["a", "b", "a.png"], files=files)
    assert len({*found.values()}) == len(found) and {*found.values()} <= {*names}
    assert not {*found.values()} & {*report.extra}
    assert {*report.missing} == {"a", "b", "a.png"} - found.keys() and {*report.duplicates} <= {*report.missing}


def test_missing_extra_and_other_files_are_reported_before_a_map_is_read(tmp_path: Path) -> None:
    put(tmp_path, {"a.png": b"never read", "z.png": b"", "notes.txt": b"", ".DS_Store": b"", "__MACOSX/._b.png": b""})
    with open_masks(tmp_path, SHAPES, "labelmap") as files:
        assert files.ids == ("a",)
        assert files.report.missing == ("b", "c") and files.report.extra == ("z.png",)
        assert files.report.notes == ("3 other files left aside",)
        with pytest.raises(ModelError, match=r"'a\.png' \(id 'a'\): neither a PNG nor a TIFF"):
            next(iter(files))


def test_no_answer_at_all_is_an_error_that_shows_both_names(tmp_path: Path) -> None:
    put(tmp_path / "preds", {"image_1.png": b""})
    with pytest.raises(ModelError, match=r"preds: no answer for any of 3 images such as 'a': 1 names such as 'image_1"):
        open_masks(tmp_path / "preds", SHAPES, "labelmap")
    with pytest.raises(ModelError, match="there is no such file or folder"):
        open_masks(tmp_path / "nothing", SHAPES, "labelmap")
    (tmp_path / "p.h5").write_bytes(b"\x89HDF")
    with pytest.raises(ModelError, match="predictions are a folder or zip of PNG"):
        open_masks(tmp_path / "p.h5", SHAPES, "labelmap")


def test_an_archive_may_not_hold_more_than_a_map_can_have(tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", {"a.npy": npy(labels()) + bytes(2 << 20), "../b.npy": b""})
    with pytest.raises(ModelError, match="leaves the archive's folder"):
        open_masks(path, SHAPES, "labelmap")
    path = zipped(tmp_path / "q.zip", {"a.npy": npy(labels()) + bytes(np.random.default_rng(0).bytes(2 << 20))})
    with open_masks(path, SHAPES, "labelmap") as files, pytest.raises(ModelError, match="bytes are more than a map of"):
        files.read("a")


def test_the_npz_of_one_image_holds_one_array(tmp_path: Path) -> None:
    shape = labels().shape
    files = {
        "a.npz": npz(labels(), labels()),
        "b.npz": npz(np.zeros((1000, 1000))),
        "c.npz": b"PK\3\4",
    }
    with open_masks(put(tmp_path / "p", files), dict.fromkeys("abc", shape), "labelmap") as found:
        for key, words in {"a": "of 2 arrays", "b": "8,000,128 bytes are more than a map", "c": "c.npz"}.items():
            with pytest.raises(ModelError, match=words):
                found.read(key)


def test_an_empty_map_may_be_as_small_as_deflate_makes_it(tmp_path: Path) -> None:
    shape = (1200, 1200)
    np.savez_compressed(tmp_path / "p.npz", a=np.zeros(shape, np.int64))
    assert (tmp_path / "p.npz").stat().st_size * 1000 < 8 * 1200**2
    with open_masks(tmp_path / "p.npz", {"a": shape}, "labelmap") as files:
        value = files.read("a")
    assert isinstance(value, LabelMap) and value.shape == shape and not value.pixels.any()


def test_one_map_is_in_memory_at_a_time(tmp_path: Path) -> None:
    shape, ids = (600, 600), [f"i{n}" for n in range(12)]
    put(tmp_path, {f"{key}.png": encode_png(np.full(shape, 3, np.uint16)) for key in ids})
    tracemalloc.start()
    try:
        with open_masks(tmp_path, dict.fromkeys(ids, shape), "labelmap") as files:
            assert sum(int(value.pixels[0, 0]) for _, value in files if isinstance(value, LabelMap)) == 36
        assert tracemalloc.get_traced_memory()[1] < 4 * 4 * 600**2
    finally:
        tracemalloc.stop()
