"""The gate, the card and the contract: what a stranger's model may be, and what is refused in one line."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lensbench.benchmark import Benchmark, get_benchmark
from lensbench.errors import ModelError
from lensbench.models.card import Card, card, metadata_card, read_card
from lensbench.models.contract import batch_size, bind, label_order, labels_given
from lensbench.models.gate import read_graph
from lensbench.models.onnx import read_onnx
from tests.graphs import SIDE, broken_model, colour_model, pack, weights, write


@pytest.fixture(scope="module")
def spec() -> Benchmark:
    return get_benchmark("lifewatch_flowcam")


def bound(data: bytes, spec: Benchmark, **fields: object) -> tuple[str, int, bool, str]:
    graph = read_graph(data, "m.onnx")
    feed = bind(graph, Card(labels="decrop2025", **fields), spec, "m.onnx").feed  # type: ignore[arg-type]
    return feed.layout, feed.batch, feed.fixed, feed.dtype


def test_every_way_of_exporting_a_classifier_binds(spec: Benchmark) -> None:
    assert bound(colour_model(), spec) == ("NCHW", 8, False, "float32")
    assert bound(colour_model(batch=1), spec) == ("NCHW", 1, True, "float32")
    assert bound(colour_model(layout="NHWC"), spec) == ("NHWC", 8, False, "float32")
    assert bound(colour_model(layout="NHWC", batch=4), spec) == ("NHWC", 4, True, "float32")
    assert bound(colour_model(side="s"), spec) == ("NCHW", 8, False, "float32")
    assert bound(colour_model(dtype=TensorProto.UINT8), spec) == ("NCHW", 8, False, "uint8")


def test_normalisation_is_the_declared_one(spec: Benchmark) -> None:
    graph = read_graph(colour_model(), "m.onnx")
    declared = Card(labels="decrop2025", range=(0.0, 255.0), mean=(158.0,), std=(127.5,))
    feed = bind(graph, declared, spec, "m.onnx").feed
    assert feed.scale == pytest.approx((1 / 127.5,) * 3) and feed.shift == pytest.approx((-158 / 127.5,) * 3)


def test_what_was_assumed_is_said_and_what_was_declared_is_not(spec: Benchmark) -> None:
    graph = read_graph(colour_model(), "m.onnx")
    open_card = bind(graph, Card(labels="decrop2025"), spec, "m.onnx")
    assert len(open_card.assumed) == 3
    full = Card(labels="decrop2025", colour="RGB", range=(0.0, 1.0), mean=(0.0,), std=(1.0,), kind="logits")
    assert bind(graph, full, spec, "m.onnx").assumed == ()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (colour_model(side=224), "N×3×224×224, and lifewatch_flowcam gives N×3×100×100"),
        (colour_model(channels=4), "gives N×3×100×100"),
        (colour_model(7), "no float32 output of N×95"),
        (colour_model(dtype=TensorProto.FLOAT16), "float16; export it with float32"),
        (
            pack([helper.make_node("MatMul", ["x", "w"], ["y"])], 1, ["n", 3], ["n", 95], weights(95)),
            "four dimensions",
        ),
    ],
)
def test_a_model_of_another_shape_is_refused(data: bytes, words: str, spec: Benchmark) -> None:
    with pytest.raises(ModelError, match=words):
        bound(data, spec)


def test_an_undeclared_label_order_is_refused_with_the_line_to_paste(spec: Benchmark) -> None:
    with pytest.raises(ModelError, match=r"--labels decrop2025\|equal400\|alphabetical\|FILE"):
        label_order(None, spec, "m.onnx")


def test_labels_are_mapped_by_name(spec: Benchmark, tmp_path: Path) -> None:
    shuffled = list(spec.labels)
    np.random.default_rng(0).shuffle(shuffled)
    order, how = label_order(tuple(shuffled), spec, "m.onnx")
    assert [shuffled[i] for i in order] == list(spec.labels) and how == "by name"
    displays = {label.name: label.display for label in _dataset(spec).classes}
    (tmp_path / "names.txt").write_text("\r\n".join(displays[name] for name in shuffled) + "\n\n")
    given = labels_given(str(tmp_path / "names.txt"), spec)
    assert label_order(given, spec, "m.onnx")[0] == order


def test_a_strangers_card_names_no_file(spec: Benchmark, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret words\n")
    with pytest.raises(ModelError, match="is not a published order") as caught:
        label_order(str(tmp_path / "secret"), spec, "m.onnx")
    assert "secret words" not in str(caught.value)


def test_the_two_published_orders_are_different_permutations(spec: Benchmark) -> None:
    e, v = (label_order(name, spec, "m")[0] for name in ("decrop2025", "equal400"))
    assert (
        e == tuple(range(95)) and sorted(v) == list(range(95)) and sum(a == b for a, b in zip(e, v, strict=True)) < 10
    )


def _dataset(spec: Benchmark):  # type: ignore[no-untyped-def]
    from lensbench.benchmark import benchmark_dataset

    return benchmark_dataset(spec)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Tripos"] * 95, "is not among them"),
        (["Tripos"], "1 labels for 95 classes"),
        (["Tripoz"], "'Tripoz' is not a class of lifewatch_flowcam; did you mean 'Tripos'"),
    ],
)
def test_wrong_label_names_are_named(names: list[str], words: str, spec: Benchmark) -> None:
    with pytest.raises(ModelError, match=words):
        label_order(tuple(names), spec, "m.onnx")


def test_label_order_that_is_no_order_and_no_file(spec: Benchmark) -> None:
    with pytest.raises(ModelError, match="neither a published order"):
        labels_given("decrop", spec)


# The gate


def test_external_data_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(colour_model())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")
    with pytest.raises(ModelError, match="lies outside the file"):
        read_graph(model.SerializeToString(), "m.onnx")


def test_external_data_in_a_constant_of_a_subgraph_is_refused() -> None:
    hidden = numpy_helper.from_array(np.zeros(1, np.float32), "c")
    hidden.ClearField("raw_data")
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="/etc/hostname")
    constant = helper.make_node("Constant", [], ["c"], value=hidden)
    branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("c", 1, [1])])
    choose = helper.make_node("If", ["t"], ["unused"], then_branch=branch, else_branch=branch)
    with pytest.raises(ModelError, match="lies outside the file"):
        read_graph(colour_model(extra=[choose]), "m.onnx")


def _laughs(depth: int, fan: int) -> bytes:
    functions = []
    for level in range(depth):
        inner = f"f{level - 1}"
        nodes = [
            helper.make_node("Identity", ["a"], [f"v{i}"])
            if not level
            else helper.make_node(inner, ["a"], [f"v{i}"], domain="d")
            for i in range(fan)
        ]
        nodes.append(helper.make_node("Sum", [f"v{i}" for i in range(fan)], ["b"]))
        functions.append(
            helper.make_function(
                "d",
                f"f{level}",
                ["a"],
                ["b"],
                nodes,
                [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)],
            )
        )
    call = helper.make_node(f"f{depth - 1}", ["w"], ["y"], domain="d")
    return pack([call], 1, ["n", 3, SIDE, SIDE], [3, 95], weights(95), functions=functions)


def test_functions_that_unfold_without_end_are_refused_at_once() -> None:
    with pytest.raises(ModelError, match="functions unfold to"):
        read_graph(_laughs(40, 4), "m.onnx")
    assert read_graph(_laughs(3, 2), "m.onnx").parameters == 285


def test_a_function_that_calls_itself_is_refused() -> None:
    node = helper.make_node("f", ["a"], ["b"], domain="d")
    function = helper.make_function("d", "f", ["a"], ["b"], [node], [helper.make_opsetid("d", 1)])
    data = pack(
        [helper.make_node("f", ["w"], ["y"], domain="d")],
        1,
        ["n", 3, 2, 2],
        [3, 95],
        weights(95),
        functions=[function],
    )
    with pytest.raises(ModelError, match="calls itself"):
        read_graph(data, "m.onnx")


def test_external_data_in_a_functions_default_attribute_is_refused() -> None:
    hidden = numpy_helper.from_array(np.zeros(1, np.float32), "c")
    hidden.ClearField("raw_data")
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="secret.bin")
    node = helper.make_node("Identity", ["a"], ["b"])
    default = helper.make_attribute("v", hidden)
    function = helper.make_function(
        "d", "f", ["a"], ["b"], [node], [helper.make_opsetid("", 17)], attribute_protos=[default]
    )
    call = helper.make_node("f", ["w"], ["y"], domain="d")
    with pytest.raises(ModelError, match="lies outside the file"):
        read_graph(pack([call], 1, ["n", 3, 2, 2], [3, 95], weights(95), functions=[function]), "m.onnx")


def test_an_overloaded_function_cannot_hide_another() -> None:
    node = helper.make_node("Identity", ["a"], ["b"])
    one = helper.make_function("d", "f", ["a"], ["b"], [node], [helper.make_opsetid("", 17)])
    two = helper.make_function("d", "f", ["a"], ["b"], [node, node], [helper.make_opsetid("", 17)])
    two.overload = "x"
    call = helper.make_node("f", ["w"], ["y"], domain="d")
    with pytest.raises(ModelError, match="two functions have one name"):
        read_graph(pack([call], 1, ["n", 3, 2, 2], [3, 95], weights(95), functions=[one, two]), "m.onnx")


def test_a_kilobyte_of_sparse_weights_is_refused() -> None:
    model = onnx.load_from_string(colour_model())
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 14, 1 << 14]))
    with pytest.raises(ModelError, match="sparse weights"):
        read_graph(model.SerializeToString(), "m.onnx")


def test_a_pipe_and_a_device_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "device.onnx").symlink_to("/dev/zero")
    for name in ("pipe.onnx", "device.onnx"):
        with pytest.raises(ModelError, match="not a regular file"):
            read_onnx(tmp_path / name)


def test_a_huge_fixed_batch_is_refused(spec: Benchmark) -> None:
    with pytest.raises(ModelError, match="export a dynamic batch"):
        bound(colour_model(batch=10**9), spec)


def test_other_gate_refusals() -> None:
    with pytest.raises(ModelError, match="is random"):
        read_graph(broken_model("random"), "m.onnx")
    with pytest.raises(ModelError, match="of a domain no engine here has"):
        read_graph(colour_model(extra=[helper.make_node("Evil", ["x"], ["z"], domain="my.ops")]), "m.onnx")
    with pytest.raises(ModelError, match="of metadata"):
        read_graph(colour_model(metadata={"a": "x" * (2 << 20)}), "m.onnx")
    model = onnx.load_from_string(colour_model())
    model.graph.initializer[0].dims[0] = 1 << 40
    with pytest.raises(ModelError, match="claims more values"):
        read_graph(model.SerializeToString(), "m.onnx")
    many = onnx.load_from_string(colour_model())
    for i in range(9):
        many.graph.output.append(helper.make_tensor_value_info(f"o{i}", 1, ["n", 95]))
    with pytest.raises(ModelError, match="10 outputs"):
        read_graph(many.SerializeToString(), "m.onnx")


@given(st.binary(max_size=400))
def test_bytes_that_are_no_model_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        read_graph(data, "m.onnx")


@given(st.integers(0, 5000), st.integers(0, 255))
def test_a_damaged_model_is_read_or_refused_and_nothing_else(position: int, value: int) -> None:
    data = bytearray(colour_model())
    data[position % len(data)] = value
    with suppress(ModelError):
        read_graph(bytes(data), "m.onnx")


# The card


def test_a_card_is_read_from_model_toml_and_from_metadata(tmp_path: Path) -> None:
    text = 'name = "Mine"\nlabels = "equal400"\nfile = "a.onnx"\n[input]\nlayout = "NHWC"\nmean = [0.5]\n'
    write(
        tmp_path,
        colour_model(metadata={"lensbench": json.dumps({"name": "Inner", "licence": "MIT"})}),
        "a.onnx",
    )
    (tmp_path / "model.toml").write_text(text)
    for path in (tmp_path, tmp_path / "a.onnx"):
        model = read_onnx(path)
        assert (model.card.name, model.card.licence, model.card.layout) == ("Mine", "MIT", "NHWC")
    assert read_onnx(write(tmp_path, colour_model(), "b.onnx")).card == Card(), "model.toml names another file"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 3", "printable text"),
        ('name = "a\\u001b[31m"', "printable text"),
        ('file = "../other.onnx"', "beside model.toml"),
        ('file = "/etc/passwd"', "beside model.toml"),
        ('nmae = "x"', "unknown entry 'nmae'"),
        ('input = "x"', r"\[input\] is not a table"),
        ('[input]\nlayout = "HWC"', "not one of NCHW, NHWC"),
        ("[input]\nstd = [0.0]", "above 0"),
        ("[input]\nmean = [nan]", "finite"),
        ("[input]\nrange = [1, 0]", r"\[low, high\]"),
        ('authors = "me"', "list"),
        ("name = ", "not valid TOML"),
        ("x = " + "1" * 5000, "not valid TOML"),
    ],
)
def test_a_wrong_card_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(text)
    with pytest.raises(ModelError, match=words):
        read_card(tmp_path / "model.toml")


def test_metadata_that_is_no_json_is_refused() -> None:
    with pytest.raises(ModelError, match="not valid JSON"):
        metadata_card({"lensbench": "{"})
    with pytest.raises(ModelError, match="expected a table"):
        card([1], "here")


def test_a_file_of_another_type_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"a model is an \.onnx file"):
        read_onnx(tmp_path / "model.pt")
    with pytest.raises(ModelError, match="No such file"):
        read_onnx(tmp_path / "none.onnx")


def test_batch_rule() -> None:
    assert [batch_size(3 * s * s) for s in (32, 100, 224, 2048)] == [16, 8, 1, 1]


def test_training_views_are_declared_and_shown_behind_the_data(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text('[training]\ndata = "x@1/train"\n')
    plain = read_card(path)
    assert plain.trained == "x@1/train"
    path.write_text('[training]\ndata = "x@1/train"\nviews = ["corrected-12/bi-s-ga", "paper-12/bi-s-me"]\n')
    seen = read_card(path)
    assert seen.trained == "x@1/train; in the views corrected-12/bi-s-ga, paper-12/bi-s-me"
    assert seen.digest != plain.digest
    path.write_text('[training]\nviews = "all"\n')
    with pytest.raises(ModelError, match="views must be a list"):
        read_card(path)
