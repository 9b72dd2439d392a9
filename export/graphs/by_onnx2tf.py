"""Graphs by onnx2tf: a second opinion, and a way for operators that the importer does not have.

    for way in WAYS: network = way(model, inputs)

onnx2tf finds the layout of every tensor by rules and trials, and saves through Keras, which takes minutes instead of
seconds. So its graph is taken in memory, and the first way is taken whose outputs equal ONNX Runtime's.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnx import helper, numpy_helper

from export.graphs.affine import merge
from export.graphs.importer.signs import never_negative
from export.graphs.operators import inexpressible, module_of
from records.tensor import Tensor

ONE_BY_ONE = "a batch is computed image by image: onnx2tf gives this network for a batch of one only"
TensorFunction = Callable[..., Any]
"""A function of tensors that returns a tensor or a list of tensors, as onnx2tf's graph is called."""


@dataclass(frozen=True)
class Network:
    """The graph that one of `WAYS` returns."""

    call: TensorFunction
    batch: int | None
    """The only batch size it accepts; None: any."""


def check_operators(model: onnx.ModelProto) -> None:
    """Check that onnx2tf has a file for every operator. Raises Inexpressible, which names those that it lacks."""
    unknown = {
        node.op_type: module_of(node)
        for node in model.graph.node
        if importlib.util.find_spec(f"onnx2tf.ops.{node.op_type}") is None
    }
    if unknown:
        raise inexpressible("onnx2tf", unknown)


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same function in operators that onnx2tf converts correctly.

    An elementwise operator with one constant per channel, (C, 1, 1) or (1, C, 1, 1), becomes a depthwise 1×1
    convolution: onnx2tf turns the axes of the constant twice where the batch is dynamic. Max pooling is padded by an
    operator of its own: onnx2tf pads with the least float32, which as part of an integer range leaves one step of 10³⁶
    (resnet18 in int8: LiteRT aborts the process).
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    ranks = {item.name: len(item.type.tensor_type.shape.dim) for item in [*inferred.input, *inferred.value_info]}
    merge(model, ranks)
    graph, positive = model.graph, never_negative(model.graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        padded = node.op_type == "MaxPool" and (mode := padding_mode(node, positive))
        nodes += _padded(node, mode, graph) if padded else [node]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next(
        (helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name), default
    )


def padding_mode(node: onnx.NodeProto, positive: set[str]) -> str:
    """Return the mode of a Pad whose values never become a maximum of the pooling; empty: none is known.

    "constant", zeros, if the input is never negative. Else "reflect", if every window that reaches over the edge also
    holds the values that are reflected.
    """
    pads, kernel = _attribute(node, "pads", []), _attribute(node, "kernel_shape", [])
    if not any(pads) or len(pads) != 4 or _attribute(node, "ceil_mode", 0):  # it counts windows by what is padding
        return ""
    if node.input[0] in positive:
        return "constant"
    plain = max(_attribute(node, "dilations", [1])) == 1
    inside = all(2 * pad < size for pad, size in zip(pads, kernel * 2, strict=True))
    return "reflect" if plain and inside else ""


def _padded(node: onnx.NodeProto, mode: str, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    (top, left, bottom, right), name = _attribute(node, "pads", []), f"{node.output[0]}.padded"
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    graph.initializer.append(numpy_helper.from_array(pads, f"{name}.pads"))
    pool = onnx.NodeProto()
    pool.CopyFrom(node)
    pool.input[0] = name
    for attribute in pool.attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [0, 0, 0, 0]
    return [helper.make_node("Pad", [node.input[0], f"{name}.pads"], [name], name, mode=mode), pool]


def onnx2tf_graph(model: onnx.ModelProto, **options: Any) -> TensorFunction:
    """Return onnx2tf's network in memory, as a function of its tensors."""
    import onnx2tf  # seconds, which only this way needs

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        network = onnx2tf.convert(
            input_onnx_file_path=str(path),
            output_folder_path=folder,
            tflite_backend="tf_converter",
            disable_model_save=True,
            not_use_onnxsim=True,
            disable_strict_mode=True,  # no trying of axis permutations until one fits: the result is checked here
            **options,
        )
    return lambda *values: network(values[0] if len(values) == 1 else list(values))


def any_batch(model: onnx.ModelProto, inputs: tuple[Tensor, ...]) -> Network:
    """Return the network as onnx2tf makes it: right for convolutional networks."""
    return Network(onnx2tf_graph(model), None)


def any_batch_nchw(model: onnx.ModelProto, inputs: tuple[Tensor, ...]) -> Network:
    """Return the network with inputs in ONNX's layout, transposed before it: right if it transposes, too (ConvNeXt)."""
    network = onnx2tf_graph(model, keep_shape_absolutely_input_names=[tensor.name for tensor in inputs])

    def call(*values: Any) -> Any:
        transposed = [
            tf.transpose(value, [0, 3, 1, 2]) if tensor.layout == "NHWC" else value
            for value, tensor in zip(values, inputs, strict=True)
        ]
        return network(*transposed)

    return Network(call, None)


def one_by_one(model: onnx.ModelProto, inputs: tuple[Tensor, ...]) -> Network:
    """Return the network for a batch of one: right for transformers, whose reshapes mix the batch with other axes.

    With a batch of one every shape is known, so nothing is left to onnx2tf's rules.
    """
    import onnxsim

    single = onnx.ModelProto()
    single.CopyFrom(model)
    for tensor in [*single.graph.input, *single.graph.output]:
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    del single.graph.value_info[:]
    simplified, _ = onnxsim.simplify(single)
    return Network(onnx2tf_graph(simplified), 1)


WAYS = (any_batch, any_batch_nchw, one_by_one)
