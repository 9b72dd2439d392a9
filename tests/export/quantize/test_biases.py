"""Biases that make up for the steps of weights and activations."""

import numpy as np
import onnx
import pytest
from onnx import helper

from export.graphs.onnx_runtime import loaded
from export.quantize.biases import correct_biases
from export.quantize.equalise import equalise
from export.quantize.network import Layer, Network
from export.quantize.rounding import round_weights
from measures.distance import sqnr_db
from records.tensor import Array, Arrays
from tests.export.quantize.networks import images, network, residual


def six_bits(layer: Layer) -> int:
    return 31


def equalised(seed: int = 0, activation: str = "Relu") -> onnx.ModelProto:
    """Return a residual block whose activations have eight bits worth the name."""
    model = residual(seed, activation)
    equalise(Network(model), images(64))
    return model


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy with coarse weights."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    round_weights(Network(copy), images(64), six_bits)
    return copy


def shifted(model: onnx.ModelProto, by: Array, bias: str) -> onnx.ModelProto:
    """Return a copy in which a bias is off, as if weights or steps shifted what the layer gives."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = Network(copy)
    before = graph.constant(bias)
    assert before is not None
    graph.change(bias, before + by)
    return copy


def outputs(model: onnx.ModelProto, given: Arrays) -> Array:
    return loaded(model.SerializeToString())(given)["out"]


@pytest.mark.parametrize("activation", ["Relu", "HardSwish"])
def test_a_network_with_coarse_weights_is_nearer_on_samples_that_corrected_nothing(activation: str) -> None:
    gains = []
    for seed in range(4):
        exact = equalised(seed, activation)
        coarse, corrected = rounded(exact), rounded(exact)
        assert correct_biases(Network(corrected), exact, images(256)) == 5
        given = images(256, seed=9)
        reference = outputs(exact, given)
        gains.append(sqnr_db(outputs(corrected, given), reference) - sqnr_db(outputs(coarse, given), reference))
    assert np.mean(gains) > 1, gains


@pytest.mark.parametrize("bias", ["into.bias", "each.bias", "head.bias"])
def test_a_shift_is_taken_out_where_it_arises(bias: str) -> None:
    """And nowhere else: the layers behind it are measured behind what is right."""
    exact = equalised()
    size = next(item.dims[0] for item in exact.graph.initializer if item.name == bias)
    off = shifted(exact, np.full(size, 0.5), bias)
    correct_biases(Network(off), exact, images(128))
    for layer in Network(exact).layers:
        before, after = Network(exact).constant(layer.bias), Network(off).constant(layer.bias)
        assert before is not None and after is not None
        np.testing.assert_allclose(after, before, atol=0.1, err_msg=layer.bias)


def test_what_is_added_behind_a_product_is_its_bias() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["product"]),
        helper.make_node("Add", ["b", "product"], ["out"]),
    ]
    exact = network(nodes, {"w": rng.normal(size=(3, 5)), "b": rng.normal(size=5)})
    off = shifted(exact, np.arange(5) / 10, "b")
    assert correct_biases(Network(off), exact, images(64)) == 1
    before, after = Network(exact).constant("b"), Network(off).constant("b")
    assert before is not None and after is not None
    np.testing.assert_allclose(after, before, atol=0.02)


def test_strange_samples_are_no_shift() -> None:
    """One in sixty-four is a thousand times as great: all others would lie on one step."""
    exact, given, unseen = equalised(), images(256), images(256, seed=9)
    given["image"][7::64] *= 1000
    coarse, corrected = rounded(exact), rounded(exact)
    correct_biases(Network(corrected), exact, given)
    reference = outputs(exact, unseen)
    assert sqnr_db(outputs(corrected, unseen), reference) > sqnr_db(outputs(coarse, unseen), reference) - 3


def test_no_bias_and_one_sample_at_a_time_are_left_as_they_are() -> None:
    node = helper.make_node("Conv", ["image", "w"], ["out"])
    model = network([node], {"w": np.ones((2, 3, 1, 1))})
    assert correct_biases(Network(model), model, images(8)) == 0
    single = residual()
    single.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    assert correct_biases(Network(single), residual(), images(8)) == 0
