"""Named protocols: one value, one digest, the same after JSON; thresholds exact; what is wrong is named."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from lensbench.errors import BenchmarkError
from lensbench.images.labelmap import renumber
from lensbench.masks.postprocess import Components, Interior, Output, Watershed
from lensbench.masks.protocol import AITS_LEGACY, DEFAULT, PROTOCOLS, Protocol, Scoring, from_json, get_protocol
from lensbench.masks.tiling import Tiling

PIXELS = st.integers(0, 10_000)
MAYBE = st.one_of(st.none(), PIXELS)
METHODS = st.one_of(
    st.none(), st.just(Components()), st.builds(Watershed, st.integers(1, 99)), st.builds(Interior, PIXELS)
)
OUTPUTS = st.builds(
    Output,
    st.sampled_from([None, "logits", "probabilities"]),
    st.floats(0.01, 0.99),
    METHODS,
    st.sampled_from([4, 8]),
    PIXELS,
)
SCORINGS = st.builds(
    Scoring,
    st.sampled_from([">=", ">"]),
    st.sampled_from(["pooled", "image-mean"]),
    st.integers(0, 99).map(lambda n: 2 * n + 1),
    PIXELS,
)
ANY = st.builds(Protocol, st.sampled_from(["mine", "Ü 2"]), st.builds(Tiling, MAYBE, MAYBE), OUTPUTS, SCORINGS)


@given(ANY)
def test_a_protocol_is_the_same_after_json(protocol: Protocol) -> None:
    back = from_json(json.loads(protocol.text), "x")
    assert back == protocol and back.digest == protocol.digest and back.text == protocol.text


@given(ANY, ANY)
def test_two_protocols_have_one_digest_only_if_they_are_one(one: Protocol, other: Protocol) -> None:
    assert (one.digest == other.digest) == (one == other)


def test_every_rule_counts() -> None:
    outputs = [
        Output(activation="logits"),
        Output(threshold=0.4),
        Output(connectivity=8),
        Output(min_size=1),
        Output(method=Interior(2)),
        Output(method=Interior(3)),
    ]
    scorings = [Scoring(iou=">"), Scoring(pooling="image-mean"), Scoring(dilation=3), Scoring(min_size=10)]
    changes = [
        DEFAULT,
        replace(DEFAULT, name="other"),
        replace(DEFAULT, tiling=Tiling(halo=8)),
        replace(DEFAULT, tiling=Tiling(ramp=8)),
        *(replace(DEFAULT, output=output) for output in outputs),
        *(replace(DEFAULT, scoring=scoring) for scoring in scorings),
    ]
    assert len({protocol.digest for protocol in changes}) == len(changes) == 14


def test_the_named_ones() -> None:
    assert {name: get_protocol(name) for name in PROTOCOLS} == {"default": DEFAULT, "aits_legacy": AITS_LEGACY}
    assert DEFAULT.scoring == Scoring(">=", "pooled", 1, 0)
    assert AITS_LEGACY.scoring == Scoring(">", "image-mean", 3, 10)
    with pytest.raises(BenchmarkError, match=r"no protocol 'aits-legacy'.*aits_legacy"):
        get_protocol("aits-legacy")


def test_what_toml_leaves_out_is_as_under_default() -> None:
    text = 'name = "mine"\n[output]\nthreshold = 0.7\nmethod = {name = "watershed"}\n[scoring]\nmin_size = 5\n'
    wanted = Protocol("mine", output=Output(threshold=0.7, method=Watershed(10)), scoring=Scoring(min_size=5))
    assert from_json(tomllib.loads(text), "x") == wanted
    assert from_json({"name": "default"}, "x") == DEFAULT


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "expected a table"),
        ({}, "name is 1 to 100 printable"),
        ({"name": "a\nb"}, "name is 1 to 100 printable"),
        ({"name": 3}, "name is 1 to 100 printable"),
        ({"name": "x" * 101}, "name is 1 to 100 printable"),
        ({"name": "a", "scorign": {}}, "unknown entry 'scorign'.*scoring"),
        ({"name": "a", "tiling": {"halo": -1}}, "tiling.halo is a whole number of 0 to 10,000, not '-1'"),
        ({"name": "a", "tiling": {"ramp": 1.5}}, "tiling.ramp is a whole number"),
        ({"name": "a", "tiling": 8}, "tiling: expected a table"),
        ({"name": "a", "scoring": {"iou": "≥"}}, "scoring.iou is one of >=, >, not"),
        ({"name": "a", "scoring": {"pooling": "mean"}}, "scoring.pooling is one of pooled, image-mean"),
        ({"name": "a", "scoring": {"pooling": ["pooled"]}}, "scoring.pooling is one of"),
        ({"name": "a", "scoring": {"dilation": 2}}, "scoring.dilation is odd, not 2"),
        ({"name": "a", "scoring": {"dilation": 0}}, "scoring.dilation is a whole number of 1"),
        ({"name": "a", "scoring": {"min_size": True}}, "scoring.min_size is a whole number"),
        ({"name": "a", "output": {"connectivity": 6}}, "output.connectivity is one of 4, 8"),
        ({"name": "a", "output": {"connectivity": True}}, "output.connectivity is one of 4, 8"),
        ({"name": "a", "output": {"threshold": 0}}, "output.threshold lies between 0 and 1"),
        ({"name": "a", "output": {"threshold": float("nan")}}, "output.threshold lies between 0 and 1"),
        ({"name": "a", "output": {"threshold": True}}, "output.threshold lies between 0 and 1"),
        ({"name": "a", "output": {"activation": "softmax"}}, "output.activation is one of logits, probabilities"),
        ({"name": "a", "output": {"method": "watershed"}}, "output.method is a table with a name, one of components"),
        ({"name": "a", "output": {"method": {"name": ["x"]}}}, "output.method is a table"),
        ({"name": "a", "output": {"method": {"name": "interior", "gorw": 1}}}, "unknown entry 'gorw'.*grow"),
        ({"name": "a", "output": {"method": {"name": "watershed", "min_distance": 0}}}, "min_distance is a whole"),
        ({"name": "a", "output": {"min_size": 10**9}}, "output.min_size is a whole number of 0 to 10,000"),
    ],
)
def test_a_protocol_that_says_something_else_is_refused(data: Any, words: str) -> None:
    with pytest.raises(BenchmarkError, match=rf"\Ab\.toml: ?.*{words}") as caught:
        from_json(data, "b.toml")
    assert "\n" not in str(caught.value)


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.integers(10, 19))
def test_thresholds_are_fractions(intersection: int, union: int, twentieths: int) -> None:
    union = max(union, intersection)
    share, threshold = Fraction(intersection, union), Fraction(twentieths, 20)
    pair = np.array([intersection]), np.array([union])
    assert Scoring().matches(*pair, twentieths).tolist() == [share >= threshold]
    assert Scoring(">").matches(*pair, twentieths).tolist() == [share > threshold]


@pytest.mark.parametrize("twentieths", range(10, 20))
def test_exactly_at_the_threshold_the_rule_decides(twentieths: int) -> None:
    pair = np.array([7 * twentieths]), np.array([140])
    assert Scoring().matches(*pair, twentieths).all() and not Scoring(">").matches(*pair, twentieths).any()


@settings(deadline=None)
@given(
    hnp.arrays(np.uint16, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 0, 0, 9, 4])),
    st.integers(0, 8),
)
def test_only_predictions_are_widened_then_both_lose_their_small_objects(labels: Any, size: int) -> None:
    def kept(found: Any) -> Any:
        sizes = np.bincount(found.reshape(-1))
        return renumber(np.where(sizes[found] >= size, found, 0))

    numbered = renumber(labels).astype(np.int64)
    wide = ndimage.grey_dilation(numbered, (3, 3), mode="constant")
    scoring = Scoring(dilation=3, min_size=size)
    assert np.array_equal(scoring.truth(labels), kept(numbered))
    assert np.array_equal(scoring.prediction(labels), kept(wide))
    assert np.array_equal(Scoring(min_size=size).prediction(labels), kept(numbered))
