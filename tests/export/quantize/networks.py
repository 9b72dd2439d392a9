"""Small ONNX networks of numpy arrays, for the steps before quantization."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from records.tensor import Array, Arrays

SIZE = 8


def network(nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Array], channels: int = 3) -> onnx.ModelProto:
    """Return a model of `image` (N, channels, 8, 8) to `out`, shapes inferred."""
    for node in nodes:
        node.name = node.output[0]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", channels, SIZE, SIZE])],
        [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(value.astype(np.float32) if value.dtype.kind == "f" else value, name)
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model)
    return model


def residual(seed: int = 0, activation: str = "Relu") -> onnx.ModelProto:
    """Return an inverted residual block whose stream has channels of very different sizes, pooled into six logits."""
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(0.01, 10, 8)
    constants = {
        "into": rng.normal(size=(8, 3, 3, 3)) * sizes[:, None, None, None],
        "into.bias": rng.normal(size=8) * sizes,
        "wider": rng.normal(size=(16, 8, 1, 1)) / sizes[None, :, None, None],
        "wider.bias": rng.normal(size=16),
        "each": rng.normal(size=(16, 1, 3, 3)),
        "each.bias": rng.normal(size=16),
        "back": rng.normal(size=(8, 16, 1, 1)) * sizes[:, None, None, None],
        "back.bias": rng.normal(size=8) * sizes,
        "head": rng.normal(size=(6, 8)) / sizes,
        "head.bias": rng.normal(size=6),
    }
    nodes = [
        helper.make_node("Conv", ["image", "into", "into.bias"], ["stem"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["stem", "wider", "wider.bias"], ["wide"]),
        helper.make_node(activation, ["wide"], ["wide.active"]),
        helper.make_node("Conv", ["wide.active", "each", "each.bias"], ["deep"], pads=[1, 1, 1, 1], group=16),
        helper.make_node(activation, ["deep"], ["deep.active"]),
        helper.make_node("Conv", ["deep.active", "back", "back.bias"], ["branch"]),
        helper.make_node("Add", ["stem", "branch"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head", "head.bias"], ["out"], transB=1),
    ]
    return network(nodes, constants)


def images(count: int, seed: int = 1, channels: int = 3) -> Arrays:
    """Return smooth images (N, channels, 8, 8), whose neighbouring pixels are alike."""
    rng = np.random.default_rng(seed)
    flat = rng.uniform(size=(count, channels, 1, 1)) + rng.normal(size=(count, channels, SIZE, SIZE)) * 0.05
    return {"image": flat.astype(np.float32)}
