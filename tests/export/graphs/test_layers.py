"""Tensors of an artifact and the modules they come from."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export.graphs import layers
from export.graphs.layers import Place, Twin
from export.graphs.operators import SCOPES
from export.run import Run


def node(operator: str, output: str, scopes: list[str], after: str = "x") -> onnx.NodeProto:
    made = helper.make_node(operator, [after], [output], output)
    item = made.metadata_props.add()
    item.key, item.value = SCOPES, str([*scopes, "aten"])
    return made


def model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", nodes[-1].output[0])]
    return helper.make_model(helper.make_graph(list(nodes), "g", ends[:1], ends[1:]))


def test_a_node_is_the_output_of_the_deepest_module_that_ends_with_it() -> None:
    made = model(
        node("Sub", "sub", [""]),
        node("Div", "div", [""]),
        node("Conv", "conv", ["", "model", "model.block", "model.block.0"]),
        node("Relu", "relu", ["", "model", "model.block", "model.block.act"]),
        node("Conv", "conv_1", ["", "model", "model.block", "model.block.1"]),
        node("Add", "add", ["", "model", "model.block"]),
        node("Relu", "relu_1", ["", "model", "model.block", "model.block.act"]),
        node("Identity", "flat", ["", "model"]),
        node("Gemm", "logits", ["", "model", "model.fc"]),
    )
    assert layers.of_onnx(made) == {
        "sub": Place("normalisation", None),
        "div": Place("normalisation", 0),
        "conv": Place("block.0", 0),
        "relu": Place("block.act", 0),
        "conv_1": Place("block.1", 0),
        "add": Place("block", None),
        "relu_1": Place("block.act", 1),
        "flat": Place("the model", None),
        "logits": Place("fc", 0),
    }


def test_names_lose_what_was_inlined_around_them_and_the_last_of_what_was_fused_counts() -> None:
    assert layers.canonical("StatefulPartitionedCall_1/PartitionedCall/model/relu/Relu:0") == "model/relu/Relu"
    known = ["model/conv", "model/add", "model/relu", "logits"]
    assert layers.latest("PartitionedCall/model/relu;PartitionedCall/model/add;;7;model/conv", known) == "model/relu"
    assert layers.latest("PartitionedCall/x/MatMul;model/relu;model/add", known) == "model/relu"
    assert layers.latest("model/plus_3;model/add;model/conv", known) is None
    assert layers.latest("logits_inner", known) == "logits"
    assert layers.latest("model/pad;12", known) is None


def test_tensors_are_matched_by_value_images_in_either_layout() -> None:
    random = np.random.default_rng(0)
    image, row = random.normal(size=(1, 4, 6, 5)).astype(np.float32), random.normal(size=(1, 120)).astype(np.float32)
    known = {"conv": Place("conv", 0), "fc": Place("fc", 0), "dead": Place("relu", 0)}
    reference = {"conv": image, "fc": row, "dead": np.zeros((1, 120), np.float32)}
    values = {
        "a": np.moveaxis(image, 1, -1) * np.float32(1 + 1e-6),
        "b": row,
        "c": image + 0.1,
        "d": np.zeros((1, 120), np.float32),
        "e": image,
    }
    assert layers.matched(known, reference, values) == {
        "a": Twin("conv", (0, 3, 1, 2), "conv"),
        "b": Twin("fc", (0, 1), "fc"),
        "e": Twin("conv", (0, 1, 2, 3), "conv"),
    }


def test_a_path_means_all_within_it_and_an_unknown_one_says_the_nearest() -> None:
    modules = ["features.0.0", "features.1.block.0", "features.1.block.1", "features.10", "classifier"]
    assert layers.chosen(modules, ["features.1", "classifier"]) == [
        "features.1.block.0",
        "features.1.block.1",
        "classifier",
    ]
    with pytest.raises(ValueError, match=r"unknown layer 'clasifier'\. Nearest: classifier"):
        layers.chosen(modules, ["clasifier"])


def test_what_no_module_returns_belongs_to_the_next_that_one_does() -> None:
    known = {
        "sigmoid": Twin("a", (0, 3, 1, 2), "act"),
        "out": Twin("b", None, "fc"),
        "relu": Twin("c", None, "the model"),
    }
    assert layers.spread(["x/pad", "sigmoid", "mul", "matmul;relu;out", "relu", "rest"], known) == {
        "x/pad": "act",
        "sigmoid": "act",
        "mul": "fc",
        "matmul;relu;out": "fc",
        "relu": "the model",
    }


def test_manifests_say_where_the_layers_are(released: Path) -> None:
    run = Run.open("tiny")
    first = layers.places(run.artifact("onnx/float32").details)
    second = layers.twins(run.artifact("saved_model/float32").details)
    assert {"conv1", "conv2", "fc1", "fc2", "normalisation"} <= {one.module for one in first.values()}
    returned = {name for name, one in first.items() if one.call is not None and one.module != layers.NORMALISATION}
    assert {one.tensor for one in second.values()} >= returned  # what normalises is one with what follows here
    assert second["logits"] == Twin("logits", None, "fc2")
    assert layers.modules(run.artifact("onnx/float32").details) == {one.module for one in first.values()}
