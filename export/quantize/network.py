"""A float32 ONNX graph as its weighted layers, and what calibration samples give in each of its tensors.

    network = Network(onnx.load(path))
    for layer in network.layers: layer.rows          # (groups, outputs, inputs), a view of its weight
    for count, arrays in observed(network.model, names, samples): ...

Runs inside toolchains: onnx, onnxruntime and numpy only.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.graphs.onnx_runtime import session
from export.graphs.operators import module_of
from records.tensor import Array, Arrays

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators whose second input may be a weight."""
BATCH, VALUES = 4, 2**17
"""Samples that are computed at once, where a model takes several, at least, and their values, if that is more: every
tensor inside is kept."""


@dataclass(frozen=True)
class Layer:
    """One convolution or matrix product with a constant weight that no other operator shares."""

    node: Any
    weight: str
    groups: int
    """Of a depthwise convolution as many as it has channels; else mostly 1."""
    flipped: bool
    """True if the weight is stored (inputs, outputs)."""
    kernel: tuple[int, ...]
    """Of a convolution."""
    channels: int
    """Input channels."""
    outputs: int
    """Output channels."""

    @property
    def source(self) -> str:
        """Return the tensor that it reads."""
        name: str = self.node.input[0]
        return name

    @property
    def result(self) -> str:
        """Return the tensor that it gives."""
        name: str = self.node.output[0]
        return name

    @property
    def bias(self) -> str:
        """Return the name of its bias, empty if it has none."""
        return self.node.input[2] if len(self.node.input) > 2 else ""

    @property
    def depthwise(self) -> bool:
        """True if every output reads one channel."""
        return self.groups > 1 and self.groups == self.channels

    def rows(self, weight: Array) -> Array:
        """Return a weight as (groups, outputs of a group, inputs of one output)."""
        matrix = weight.T if self.flipped else weight
        return matrix.reshape(self.groups, len(matrix) // self.groups, -1)

    def stored(self, rows: Array, weight: Array) -> Array:
        """Return rows as this weight is stored."""
        matrix = rows.reshape(weight.shape[::-1] if self.flipped else weight.shape)
        return np.ascontiguousarray(matrix.T if self.flipped else matrix, np.float32)

    def scaled(self, weight: Array, factors: Array, incoming: bool) -> Array:
        """Return a weight whose input channels, or output channels, are multiplied by factors (C,)."""
        rows = self.rows(weight)
        if not incoming:
            return self.stored(rows * factors.reshape(self.groups, -1, 1), weight)
        places = int(np.prod(self.kernel, dtype=np.int64))
        columns = np.repeat(factors.reshape(self.groups, 1, -1), places, axis=2)
        return self.stored(rows * columns, weight)


class Network:
    """A float32 graph whose weights may be changed."""

    def __init__(self, model: onnx.ModelProto):
        """Read a model, which is changed in place."""
        self.model, self.graph = model, model.graph
        self._places = {item.name: item for item in self.graph.initializer}
        self.users: dict[str, list[Any]] = {}
        """Tensor → the operators that read it, once for each time."""
        for node in self.graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.ends = {item.name for item in (*self.graph.input, *self.graph.output)}
        self.makers = {name: node for node in self.graph.node for name in node.output}
        """Tensor → the operator that gives it."""

    def constant(self, name: str) -> Array | None:
        """Return the values of a constant; None if it is none."""
        return numpy_helper.to_array(self._places[name]) if name in self._places else None

    def own(self, name: str) -> bool:
        """True if a constant is read once, so that changing it changes one operator."""
        return name in self._places and len(self.users.get(name, [])) == 1

    def change(self, name: str, values: Array) -> None:
        """Give a constant other values of the same shape."""
        self._places[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))

    def within(self, modules: Collection[str]) -> set[str]:
        """Return the tensors that are computed in these modules of PyTorch's, or below them."""
        inside = (node for node in self.graph.node if module_of(node).partition(".")[0] in modules)
        return {name for node in inside for name in node.output}

    def leaving(self, modules: Collection[str]) -> list[str]:
        """Return the tensors that these modules make something of; without any, the outputs."""
        inside = self.within(modules)
        read = [name for node in self.graph.node if inside.issuperset(node.output) for name in node.input]
        names = [name for name in dict.fromkeys(read) if name in self.makers and name not in inside]
        return names or [item.name for item in self.graph.output]

    @cached_property
    def layers(self) -> list[Layer]:
        """Return the layers with weights of float32 in the graph's order."""
        return [layer for node in self.graph.node if (layer := self._layer(node))]

    def _layer(self, node: Any) -> Layer | None:
        if node.op_type not in WEIGHTED or not self.own(node.input[1]):
            return None
        weight, attributes = self._places[node.input[1]], attributes_of(node)
        if weight.data_type != onnx.TensorProto.FLOAT or attributes.get("transA") or len(weight.dims) < 2:
            return None
        if node.op_type == "MatMul" and len(weight.dims) != 2:
            return None
        if len(node.input) > 2 and node.input[2] and not self.own(node.input[2]):
            return None
        if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
            return None
        convolution = node.op_type == "Conv"
        flipped = node.op_type == "MatMul" or (node.op_type == "Gemm" and not attributes.get("transB", 0))
        kernel = tuple(weight.dims[2:]) if convolution else ()
        groups = attributes.get("group", 1) if convolution else 1
        channels, outputs = weight.dims[0 if flipped else 1] * groups, weight.dims[1 if flipped else 0]
        return Layer(node, node.input[1], groups, flipped, kernel, channels, outputs)


def attributes_of(node: Any) -> dict[str, Any]:
    """Return an operator's attributes by name."""
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def observed(model: onnx.ModelProto, names: Sequence[str], samples: Arrays) -> Iterator[tuple[int, Arrays]]:
    """Yield what a model computes in tensors of these names, (n, …) each, and n, for some samples after the others.

    Inputs and outputs are among them; names that ONNX does not know to be of float32 are left out.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    wanted = set(names) - {output.name for output in copy.graph.output}
    known = onnx.shape_inference.infer_shapes(copy).graph.value_info
    floats = [item.name for item in known if item.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in floats if name in wanted)
    opened = session(copy.SerializeToString())
    results = [output.name for output in opened.get_outputs()]
    values = sum(array[0].size for array in samples.values())
    size = 1 if opened.get_inputs()[0].shape[:1] == [1] else max(BATCH, VALUES // values)
    count = len(next(iter(samples.values())))
    for start in range(0, count, size):
        part = {name: values[start : start + size] for name, values in samples.items()}
        arrays = {**part, **dict(zip(results, opened.run(results, part), strict=True))}
        yield min(size, count - start), {name: array for name, array in arrays.items() if array.dtype == np.float32}
