"""An ONNX model as a function of TensorFlow tensors: right by construction, for any batch.

    network = read(onnx.load(path))                                # raises Refused for what is not there, by name
    network(image=tensor)                                          # {"logits": tensor}
    network.twins                                                  # TensorFlow's name → ONNX's tensor, as traced

Every operator has ONNX's meaning. Layouts are not guessed: a value knows how it is stored (value.py), an operator that
does not care keeps what it finds, and a transposition stands only where an operator wants another order. What can be
computed while the graph is built is: shapes above all, of which the batch alone stays open.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnx import helper, numpy_helper

from export.graphs.importer import sizes
from export.graphs.importer.groups import restore
from export.graphs.importer.node import Expected, Node, Refused, narrow, running
from export.graphs.importer.node import read as read_node
from export.graphs.importer.operators import (
    activation,
    attention,
    control,
    convolution,
    detection,
    elementwise,
    indexing,
    logic,
    matrix,
    normalisation,
    pooling,
    quantization,
    recurrent,
    reduction,
    resizing,
    sampling,
    scattering,
    shape,
)
from export.graphs.importer.signs import never_negative
from export.graphs.importer.value import Sizes, Stored, Value, channels_last
from export.graphs.operators import module_of

KINDS = (
    activation, attention, control, convolution, detection, elementwise, indexing, logic, matrix, normalisation,
    pooling, quantization, recurrent, reduction, resizing, sampling, scattering, shape,
)  # fmt: skip
OPERATORS = {name: function for kind in KINDS for name, function in vars(kind).items() if hasattr(function, "since")}
"""ONNX's name → the function that builds it."""
FOLDED = 2**26
"""Elements of a constant that is computed beforehand, at most: 256 MB of float32."""
DOMAINS = {"", "ai.onnx"}
GRAPHS = {"then_branch", "else_branch", "body"}
"""Attributes that are graphs, which see the tensors around them."""


@dataclass(frozen=True)
class Traced:
    """The ONNX tensor that a TensorFlow operator gives, and how it is stored."""

    tensor: str
    stored: Stored
    module: str


@dataclass
class Network:
    """A model that can be called, in a graph or eagerly."""

    model: onnx.ModelProto
    opset: int
    constants: dict[str, Value]
    kinds: dict[str, Expected]
    positive: set[str]
    last: frozenset[str]
    """Inputs and outputs whose channels are last, as TensorFlow has images."""
    twins: dict[str, Traced] = field(default_factory=dict)
    """Of the latest call: TensorFlow's operator → what it gives."""

    @property
    def inputs(self) -> list[str]:
        """Return the names of the model's inputs."""
        return [tensor.name for tensor in self.model.graph.input if tensor.name not in self.constants]

    def __call__(self, **tensors: Any) -> dict[str, Any]:
        """Return outputs by name for input tensors by name. Raises Refused."""
        self.twins.clear()
        values = dict(self.constants)
        for name in self.inputs:
            tensor = tf.convert_to_tensor(tensors[name])
            stored = channels_last(len(tensor.shape)) if name in self.last else None
            values[name] = Value(tf.cast(tensor, running(tensor.dtype)), stored)
        self._walk(self.model.graph, values)
        return {output.name: self._output(output.name, values[output.name]) for output in self.model.graph.output}

    def _output(self, name: str, value: Value) -> Any:
        """Return an output as the caller expects it: of ONNX's type, channels last if it is among `last`."""
        tensor = value.last if name in self.last else value.logical
        expected = self.kinds.get(name)
        kind = expected.dtype if expected and expected.dtype else tensor.dtype
        return tf.cast(tensor, kind)

    def _walk(self, graph: onnx.GraphProto, values: dict[str, Value]) -> None:
        uses = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        for node in graph.node:
            values_in = [values[name] if name else None for name in node.input]
            read = read_node(
                node,
                self.opset,
                self.kinds,
                wanted=tuple(bool(name) and (name in uses or _has_graphs(graph)) for name in node.output),
                never_negative=bool(node.input) and node.input[0] in self.positive,
                inside=lambda inner, values=values: self._inside(inner, values),
            )
            values_out = self._build(read, values_in)
            for name, value in zip(node.output, values_out, strict=False):
                if name and value is not None:
                    values[name] = value
                    self._remember(name, value, read.module)

    def _inside(self, graph: onnx.GraphProto, outer: dict[str, Value]) -> list[Value]:
        values = outer | {tensor.name: Value(np.array(numpy_helper.to_array(tensor))) for tensor in graph.initializer}
        self._walk(graph, values)
        return [values[output.name] for output in graph.output]

    def _remember(self, name: str, value: Value, module: str) -> None:
        if not value.constant and not isinstance(value, Sizes) and not tf.executing_eagerly():
            operator = value.tensor.op
            if operator.type != "Placeholder" and operator.outputs[0] is value.tensor:
                self.twins.setdefault(operator.name, Traced(name, value.stored, module))

    def _build(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Value | None, ...]:
        """Return an operator's outputs, computed at once if all it takes is known. Raises Refused."""
        try:
            if any(isinstance(value, Sizes) for value in inputs):
                numbers = sizes.build(node, inputs)
                if numbers is not None:
                    return (numbers,)
            if _settled(node, inputs):
                with tf.init_scope():
                    return tuple(_folded(output, kind) for output, kind in _paired(_call(node, inputs), node.outputs))
            with tf.name_scope(_scope(node)):
                plain = [
                    Value(narrow(value.tensor), value.stored) if value and value.constant else value for value in inputs
                ]
                return tuple(_checked(node, output, kind) for output, kind in _paired(_call(node, plain), node.outputs))
        except (ValueError, TypeError, IndexError, tf.errors.OpError) as error:
            if isinstance(error, Refused):
                raise
            raise node.refused(f"TensorFlow says: {str(error).strip().splitlines()[0]}") from error


def _has_graphs(graph: onnx.GraphProto) -> bool:
    return any(attribute.type == onnx.AttributeProto.GRAPH for node in graph.node for attribute in node.attribute)


def _call(node: Node, inputs: Sequence[Value | None]) -> tuple[Value | None, ...]:
    outputs = OPERATORS[node.operator](node, *inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _paired(outputs: tuple[Value | None, ...], kinds: tuple[Expected, ...]) -> list[tuple[Value | None, Expected]]:
    return list(zip(outputs, [*kinds, *[Expected(None, None)] * len(outputs)], strict=False))


def _settled(node: Node, inputs: Sequence[Value | None]) -> bool:
    """True if an operator can be computed beforehand: all it takes is known, and the result is not too large."""
    if any(value is not None and not value.constant for value in inputs) or GRAPHS & set(node.attributes):
        return False
    return not any(
        kind.shape is not None and None not in kind.shape and np.prod(kind.shape, dtype=np.float64) > FOLDED  # type: ignore[arg-type]
        for kind in node.outputs
    )


def _folded(value: Value | None, kind: Expected) -> Value | None:
    if value is None or isinstance(value, Sizes):
        return value
    array = value.tensor if value.constant else value.tensor.numpy()
    dtype = kind.dtype.as_numpy_dtype if kind.dtype is not None else array.dtype
    return Value(np.asarray(array, dtype), value.stored)


def _checked(node: Node, value: Value | None, kind: Expected) -> Value | None:
    """Return a value with the sizes that ONNX's inference knows and TensorFlow does not.

    Raises Refused if ranks differ.
    """
    if value is None or value.constant or isinstance(value, Sizes) or kind.shape is None:
        return value
    if len(kind.shape) != value.rank:
        raise node.refused(f"its output has {value.rank} axes, ONNX's inference says {len(kind.shape)}")
    physical: list[int | None] = [None] * value.rank
    for axis, size in zip(value.stored, kind.shape, strict=True):
        physical[axis] = size if value.tensor.shape[axis] is None else None
    value.tensor.set_shape(physical)
    return value


def _scope(node: Node) -> str:
    """Return a node's name as TensorFlow allows it: letters, digits and some signs, the first a letter."""
    plain = "".join(sign if sign.isalnum() or sign in "_." else "_" for sign in node.name or node.operator)
    return plain if plain[:1].isalpha() else f"n{plain}"


# ------------------------------------------------------------------------------------------------------- reading


def read(model: onnx.ModelProto, last: Sequence[str] = ()) -> Network:
    """Check that every operator is there, and take the model apart. Raises Refused.

    last: inputs and outputs (N, C, …) that the caller has, or wants, with the channels last.
    """
    opset = next((opset_id.version for opset_id in model.opset_import if opset_id.domain in DOMAINS), 1)
    check(model, opset)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise Refused(f"ONNX's shape inference refuses the model: {error}") from error
    graph = inferred.graph
    restore(graph)
    kinds = {tensor.name: _expected(tensor) for tensor in [*graph.input, *graph.value_info, *graph.output]}
    kinds |= {
        tensor.name: kind
        for inner in _inner_graphs(graph)
        for tensor in inner.value_info
        if (kind := _expected(tensor))
    }
    constants = {tensor.name: Value(np.array(numpy_helper.to_array(tensor))) for tensor in graph.initializer}
    positive = never_negative(graph)
    without_weights(graph)  # which are the constants now
    return Network(inferred, opset, constants, kinds, positive, frozenset(last))


def without_weights(graph: onnx.GraphProto) -> None:
    """Take the numbers out of a graph's initializers, which keep their names and shapes: half a gigabyte of VGG's."""
    for tensor in graph.initializer:
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")


def check(model: onnx.ModelProto, opset: int) -> None:
    """Raise Refused if there are operators that the importer has not, with all of them and their modules."""
    missing: dict[str, str] = {}
    for graph in [model.graph, *_inner_graphs(model.graph)]:
        for node in graph.node:
            name = node.op_type if node.domain in DOMAINS else f"{node.domain}.{node.op_type}"
            if name not in OPERATORS:
                missing.setdefault(name, module_of(node))
            elif OPERATORS[name].since > opset:
                missing.setdefault(f"{name} before opset {OPERATORS[name].since}", module_of(node))
    if missing:
        named = ", ".join(f"{name} (in module {where})" if where else name for name, where in missing.items())
        raise Refused(f"the importer has no {named}; the model is of opset {opset}")


def _inner_graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    graphs = [
        helper.get_attribute_value(attribute)
        for node in graph.node
        for attribute in node.attribute
        if attribute.type == onnx.AttributeProto.GRAPH
    ]
    return graphs + [deeper for inner in graphs for deeper in _inner_graphs(inner)]


def _expected(tensor: onnx.ValueInfoProto) -> Expected:
    kind = tensor.type.tensor_type
    dtype = TYPES.get(int(kind.elem_type))
    if not tensor.type.HasField("tensor_type") or not kind.HasField("shape"):
        return Expected(dtype, None)
    return Expected(dtype, tuple(_extent(axis) for axis in kind.shape.dim))


def _extent(axis: Any) -> int | None:
    return int(axis.dim_value) if axis.HasField("dim_value") else None


TYPES: dict[int, Any] = {
    onnx.TensorProto.FLOAT: tf.float32,
    onnx.TensorProto.DOUBLE: tf.float64,
    onnx.TensorProto.FLOAT16: tf.float16,
    onnx.TensorProto.INT8: tf.int8,
    onnx.TensorProto.INT16: tf.int16,
    onnx.TensorProto.INT32: tf.int32,
    onnx.TensorProto.INT64: tf.int64,
    onnx.TensorProto.UINT8: tf.uint8,
    onnx.TensorProto.UINT16: tf.uint16,
    onnx.TensorProto.UINT32: tf.uint32,
    onnx.TensorProto.UINT64: tf.uint64,
    onnx.TensorProto.BOOL: tf.bool,
}
"""ONNX's element types that TensorFlow computes with."""
