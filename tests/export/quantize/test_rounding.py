"""Weights on integer steps, rounded together so that layers give what they gave."""

import numpy as np
import onnx
import pytest
from onnx import helper

from export.graphs.onnx_runtime import loaded
from export.quantize.network import Layer, Network
from export.quantize.prepared import eight_bits
from export.quantize.rounding import nearest, patches, round_weights
from measures.distance import sqnr_db
from records.tensor import Array
from tests.export.quantize.networks import images, network, residual

TOP = 7
"""The greatest integer of four bits: rounding is felt."""


def four_bits(layer: Layer) -> int:
    return TOP


def plainly(model: onnx.ModelProto) -> None:
    """Round every weight to its own nearest step."""
    graph = Network(model)
    for layer in graph.layers:
        weight = graph.constant(layer.weight)
        assert weight is not None
        steps = np.abs(layer.rows(weight)).max(axis=-1, keepdims=True) / TOP
        graph.change(layer.weight, layer.stored(np.round(layer.rows(weight) / steps) * steps, weight))


def noise(model: onnx.ModelProto, reference: Array) -> float:
    return sqnr_db(loaded(model.SerializeToString())(images(64, seed=9))["out"], reference)


@pytest.mark.parametrize("group", [1, 3])
def test_rounding_together_leaves_less_noise_than_rounding_each_on_samples_that_it_never_saw(group: int) -> None:
    """Of neighbouring pixels that are alike: a convolution, and a depthwise one."""
    gains = []
    for seed in range(4):
        weight = np.random.default_rng(seed).normal(size=(12, 3 // group, 3, 3))
        node = helper.make_node("Conv", ["image", "w"], ["out"], group=group)
        each, together = network([node], {"w": weight}), network([node], {"w": weight})
        reference = loaded(each.SerializeToString())(images(64, seed=9))["out"]
        plainly(each)
        assert round_weights(Network(together), images(64), four_bits) == 1
        gains.append(noise(together, reference) - noise(each, reference))
    assert min(gains) > 6, gains


def test_a_whole_network_is_rounded_layer_by_layer() -> None:
    assert round_weights(Network(residual()), images(16), eight_bits) == 5


def test_every_weight_stands_on_a_step_that_a_quantizer_finds_again() -> None:
    before, model = Network(residual()), residual()
    graph = Network(model)
    round_weights(graph, images(32), eight_bits)
    for layer in graph.layers:
        weight, old = graph.constant(layer.weight), before.constant(layer.weight)
        assert weight is not None and old is not None
        rows, old_rows = layer.rows(weight), layer.rows(old)
        greatest = np.abs(rows).max(axis=-1, keepdims=True)
        np.testing.assert_allclose(greatest, np.abs(old_rows).max(axis=-1, keepdims=True), rtol=1e-6)
        steps = rows / (greatest / 127)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


def test_inputs_that_never_occur_and_channels_of_zeros_are_no_trouble() -> None:
    moment = np.zeros((1, 4, 4))
    assert np.isfinite(nearest(np.full((1, 2, 4), 0.4), moment, 7)).all()
    moment[0, 0, 0] = 1e12
    assert np.isfinite(nearest(np.full((1, 2, 4), 0.4), moment, 7)).all()
    model = residual()
    graph = Network(model)
    weight = graph.constant("wider")
    assert weight is not None
    weight = weight.copy()
    weight[3] = 0
    graph.change("wider", weight)
    round_weights(graph, images(16), four_bits)
    rounded = graph.constant("wider")
    assert rounded is not None and not rounded[3].any()


@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [1, 1, 1, 1]},
        {"strides": [2, 2], "pads": [0, 1, 1, 0]},
        {"dilations": [2, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        {"group": 2},
        {"group": 4},
    ],
    ids=str,
)
def test_patches_are_what_the_convolution_reads(attributes: dict[str, object]) -> None:
    """In the order of its weight's columns, at every place of a small image."""
    groups = int(str(attributes.get("group", 1)))
    weight = np.random.default_rng(0).normal(size=(8, 4 // groups, 3, 3)).astype(np.float32)
    model = network([helper.make_node("Conv", ["image", "w"], ["out"], **attributes)], {"w": weight}, channels=4)
    (layer,) = Network(model).layers
    pictures = images(2, channels=4)
    expected = loaded(model.SerializeToString())(pictures)["out"]  # (2, 8, h, w)
    inputs = patches(layer, pictures["image"], np.random.default_rng(0))  # (groups, n, k)
    products = np.einsum("gok,gnk->ngo", layer.rows(weight), inputs).reshape(2, -1, 8)
    np.testing.assert_allclose(products, expected.reshape(2, 8, -1).transpose(0, 2, 1), atol=1e-4)
