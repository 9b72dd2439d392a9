"""Channels of one stream get ranges of one size, and the network computes what it did."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from export.graphs.onnx_runtime import loaded
from export.quantize.equalise import FARTHEST, equalise, streams
from export.quantize.network import Network, observed
from measures.distance import sqnr_db
from records.tensor import Array
from tests.export.quantize.networks import images, network, residual


def reach(model: onnx.ModelProto, tensor: str) -> Array:
    """Return the greatest magnitude of each channel of a tensor."""
    (_, arrays) = next(observed(model, [tensor], images(8)))
    return np.asarray(np.abs(arrays[tensor]).max(axis=(0, 2, 3)))


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    names = [name for node in model.graph.node for name in node.output]
    _, arrays = next(observed(model, names, images(1)))
    return {name: values.shape for name, values in arrays.items()}


def test_a_residual_stream_is_equalised_and_the_network_computes_the_same() -> None:
    model = residual()
    before, spread = loaded(model.SerializeToString())(images(8))["out"], np.ptp(np.log(reach(model, "sum")))
    assert equalise(Network(model), images(8)) == 1  # those inside the block are even
    assert sqnr_db(loaded(model.SerializeToString())(images(8))["out"], before) > 110
    assert np.ptp(np.log(reach(model, "sum"))) < spread / 1.5


def test_an_activation_that_knows_sizes_is_no_part_of_a_stream() -> None:
    model = residual(activation="HardSwish")
    before = loaded(model.SerializeToString())(images(8))["out"]
    found = streams(Network(model), shapes(model))
    assert [set(stream.tensors) for stream in found] == [{"stem", "branch", "sum", "pooled", "flat"}]
    equalise(Network(model), images(8))
    assert sqnr_db(loaded(model.SerializeToString())(images(8))["out"], before) > 110


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Clip", ["a", "zero", "six"], ["b"]),
        helper.make_node("Softmax", ["a"], ["b"], axis=1),
        helper.make_node("Add", ["a", "zero"], ["b"]),
        helper.make_node("Mul", ["a", "a"], ["b"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3]),
        helper.make_node("Pad", ["a", "ends"], ["b"], mode="edge"),
    ],
    ids=lambda node: node.op_type,
)
def test_what_may_not_be_divided_is_left_alone(node: onnx.NodeProto) -> None:
    """A sum with one value for all channels, too."""
    constants = {"w": np.ones((8, 3, 1, 1)), "v": np.ones((8, 8, 1, 1)), "zero": np.float32(0), "six": np.float32(6)}
    first, last = helper.make_node("Conv", ["image", "w"], ["a"]), helper.make_node("Conv", ["b", "v"], ["out"])
    model = network([first, node, last], {**constants, "ends": np.zeros(8, np.int64)})
    assert streams(Network(model), shapes(model)) == []


def test_a_constant_for_each_channel_is_divided_with_its_stream() -> None:
    rng = np.random.default_rng(0)
    sizes = np.geomspace(0.001, 100, 8)[:, None, None]
    constants = {
        "w": rng.normal(size=(8, 3, 1, 1)) * sizes[..., None],
        "shift": rng.normal(size=(8, 1, 1)) * sizes,
        "v": rng.normal(size=(4, 8, 1, 1)),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"]),
        helper.make_node("Add", ["a", "shift"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["out"]),
    ]
    model = network(nodes, constants)
    before = loaded(model.SerializeToString())(images(8))["out"]
    assert equalise(Network(model), images(8)) == 1
    assert sqnr_db(loaded(model.SerializeToString())(images(8))["out"], before) > 110


def test_a_weight_that_two_layers_read_is_not_changed() -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"]),
        helper.make_node("Conv", ["a", "v"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["out"]),
    ]
    model = network(nodes, {"w": np.ones((8, 3, 1, 1)), "v": np.ones((8, 8, 1, 1))})
    assert streams(Network(model), shapes(model)) == []


def test_a_dead_channel_gets_no_factor_and_no_factor_is_without_bounds(tmp_path: Path) -> None:
    constants = {"w": np.ones((8, 3, 1, 1)), "v": np.ones((4, 8, 1, 1))}
    constants["w"][0], constants["w"][1] = 0, 1e5
    model = network(
        [helper.make_node("Conv", ["image", "w"], ["a"]), helper.make_node("Conv", ["a", "v"], ["out"])], constants
    )
    graph = Network(model)
    assert equalise(graph, images(8)) == 1
    weight = graph.constant("v")
    assert weight is not None
    assert weight[0, 0, 0, 0] == 1
    assert weight.min() >= 1 / FARTHEST and weight.max() <= FARTHEST
