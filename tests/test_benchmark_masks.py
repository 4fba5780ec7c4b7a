"""The spec of a segmentation benchmark: read whole or refused in one line, its protocol in its digest."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from lensbench.benchmark import benchmark_root, get_benchmark
from lensbench.errors import BenchmarkError
from lensbench.masks.postprocess import Interior
from lensbench.masks.protocol import AITS_LEGACY, DEFAULT
from tests.conftest import ROOT

NAME = "aitslab_bioimaging1"
SPEC = (ROOT / "benchmarks" / f"{NAME}.toml").read_text(encoding="utf-8")


def spec(folder: Path, old: str = "", new: str = "", more: str = "") -> Path:
    """The benchmarks folder of one changed spec."""
    assert old in SPEC
    (folder / f"{NAME}.toml").write_text(SPEC.replace(old, new) + more, encoding="utf-8")
    return folder


def test_the_protocol_is_part_of_the_spec_and_its_digest(tmp_path: Path) -> None:
    plain, legacy = get_benchmark(NAME), get_benchmark(f"{NAME}-legacy")
    assert (plain.protocol, legacy.protocol) == (DEFAULT, AITS_LEGACY)
    assert plain.pinned["protocol"] == DEFAULT.to_json() and plain.truth == "labelmap"
    same = get_benchmark(NAME, root=spec(tmp_path, more='[protocol]\nname = "default"\n'))
    assert same.digest == plain.digest
    own = '[protocol]\nname = "mine"\nscoring.min_size = 10\noutput.method = { name = "interior", grow = 3 }\n'
    other = get_benchmark(NAME, root=spec(tmp_path, more=own))
    assert other.protocol is not None and other.protocol.output.method == Interior(3)
    assert other.protocol.scoring.min_size == 10 and other.digest != plain.digest


def test_classification_keeps_the_digest_it_had_before_there_were_protocols() -> None:
    for name in ("lifewatch_flowcam", "raw_microscopy"):
        found = get_benchmark(name)
        assert found.protocol is None and not {"protocol", "arguments"} & found.pinned.keys()


def test_raw_tiles_are_scored_by_class() -> None:
    assert get_benchmark("raw_drone-segmentation").truth == "classmap"


@pytest.mark.parametrize(
    ("old", "new", "more", "words"),
    [
        ("", "", '[protocol]\nname = "nope"\n', "no protocol 'nope'; "),
        ("", "", '[protocol]\nname = "default"\nscoring = { min_size = 9 }\n', "'default' has a fixed meaning"),
        ("", "", '[protocol]\nname = "x"\nscoring = { iou = "<" }\n', "scoring.iou is one of >=, >"),
        ("", "", "[protocol]\nnom = 1\n", "unknown entry 'nom'"),
        ('"labelmap", "rle"', '"labelmap", "classmap"', "", "name labelmap .* or classmap .*, not both"),
        ('"labelmap", "rle", ', "", "", "name labelmap .* or classmap .*, not both"),
        ('"labelmap", "rle"', '"classmap", "rle"', "", "rle holds objects"),
        ('"aji_plus"', '"aji_minus"', "", "unknown metric 'aji_minus'"),
        ('"aji_plus"', '"top1"', "", "metric 'top1' is of classification"),
        ('"aji_plus"', '"iou@car"', "", "'iou@car'.*is not one of background, nucleus"),
        ('resize = "none"', 'resize = "none"\nheight = 64\nwidth = 64', "", "at the image's own size"),
        ("", "", "[metrics.arguments.pq]\nx = 1\n", "metric 'pq' takes no arguments"),
        ("", "", "[metrics.arguments.top1]\nx = 1\n", "metric with arguments 'top1' is not one of"),
    ],
)
def test_a_wrong_spec_is_one_line(old: str, new: str, more: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=words) as caught:
        get_benchmark(NAME, root=spec(tmp_path, old, new, more))
    assert "\n" not in str(caught.value)


def test_a_classification_benchmark_has_no_protocol(tmp_path: Path) -> None:
    text = (benchmark_root() / "lifewatch_flowcam.toml").read_text(encoding="utf-8")
    assert "protocol" not in tomllib.loads(text)
    (tmp_path / "lifewatch_flowcam.toml").write_text(text + '[protocol]\nname = "default"\n', encoding="utf-8")
    with pytest.raises(BenchmarkError, match=r"a classification benchmark has no \[protocol\]"):
        get_benchmark("lifewatch_flowcam", root=tmp_path)


def test_arguments_of_torchmetrics_are_in_the_digest(tmp_path: Path) -> None:
    metric = "torchmetrics:classification.BinaryFBetaScore"
    digests = set()
    for beta in ("1.0", "2.0"):
        more = f'[metrics.arguments."{metric}"]\nbeta = {beta}\n'
        found = get_benchmark(NAME, root=spec(tmp_path, '"aji_plus"', f'"aji_plus", "{metric}"', more))
        assert found.arguments == {metric: {"beta": float(beta)}}
        digests.add(found.digest)
    assert len(digests) == 2
