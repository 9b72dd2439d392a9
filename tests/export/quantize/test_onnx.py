"""ONNX Runtime's integers of a prepared network: which weights have how many bits, and where layers stay in float32."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from export.graphs.onnx_runtime import run
from export.quantize.network import Network
from export.quantize.onnx import OnnxRuntime, greatest
from export.quantize.prepared import prepare
from export.quantize.ranges import ranges
from export.quantize.repair import Kept
from measures import tasks
from measures.distance import sqnr_db
from records.tensor import Array
from tests.export.quantize.networks import images, residual


@pytest.fixture
def prepared(tmp_path: Path) -> OnnxRuntime:
    """A residual block whose activations have eight bits."""
    source = tmp_path / "source.onnx"
    onnx.save(residual(), source)
    ready = prepare(source, images(64), tmp_path, greatest)
    assert ready.corrected.details == {"equalised_streams": 1, "rounded_layers": 5, "corrected_biases": 5}
    (tmp_path / "between").mkdir()
    return OnnxRuntime(
        ready.corrected.path, images(64), tasks.load("classification"), tmp_path / "between", ready.exact
    )


def weights(path: Path) -> dict[str, tuple[Array, Array]]:
    """Return weight → integers and scales of each output."""
    model = onnx.load(path)
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    return {
        node.input[0].removesuffix("_quantized"): (constants[node.input[0]], constants[node.input[1]])
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0].endswith("_quantized") and "bias" not in node.input[0]
    }


def test_weights_have_seven_bits_but_in_depthwise_convolutions_and_are_those_that_were_rounded(
    prepared: OnnxRuntime,
) -> None:
    path = prepared.quantize(ranges(prepared.seen, prepared.following, "extremes"))
    network, quantized = Network(prepared.model), weights(path)
    assert set(quantized) == {"into", "wider", "each", "back", "head"}
    for name, (integers, scales) in quantized.items():
        assert np.abs(integers.astype(int)).max() == (127 if name == "each" else 64), name
        expected = network.constant(name)
        assert expected is not None
        actual = integers * scales.reshape(-1, *[1] * (integers.ndim - 1))
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-7)


def test_a_network_in_integers_is_near(prepared: OnnxRuntime) -> None:
    path = prepared.quantize(ranges(prepared.seen, prepared.following, "extremes"))
    given = images(64, seed=9)
    assert sqnr_db(run(path, given)["out"], run(prepared.prepared, given)["out"]) > 25


def test_a_layer_in_float_has_its_weights_as_they_were_before_rounding(prepared: OnnxRuntime) -> None:
    prepared.__dict__["places"] = {node.name: node.output[0] for node in prepared.model.graph.node}
    path = prepared.quantize(ranges(prepared.seen, prepared.following, "extremes"), Kept(float32=("wide",)))
    kept = {item.name: onnx.numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
    exact, rounded = Network(onnx.load(prepared.exact)), Network(prepared.model)
    before, after = exact.constant("wider"), rounded.constant("wider")
    assert before is not None and after is not None
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(kept["wider"], before)
    assert "back_quantized" in kept and "wider_quantized" not in kept
    for name in ("wider.bias", "back.bias"):  # what a correction makes up for is not all there
        before, after = exact.constant(name), rounded.constant(name)
        assert before is not None and after is not None
        assert not np.array_equal(before, after), name
        steps = kept.get(f"{name}_quantized_scale", np.ones(1))
        values = kept[f"{name}_quantized"] * steps if f"{name}_quantized" in kept else kept[name]
        np.testing.assert_allclose(values, before, atol=steps.max() if f"{name}_quantized" in kept else 0)
