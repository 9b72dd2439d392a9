"""Reads the operators of a .tflite file as delegates look at them: kind, types, shapes, which tensors are constant.

    for operator in read(flatbuffer_utils.read_model(path)).main: print(operator.kind, operator.what)

A constant is a tensor whose values the file holds, and whatever is computed from such tensors alone: a runtime does
that once, when it loads the file (weights of float16 → float32), so it is no operator here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


TYPES = _names(schema.TensorType)
KINDS = _names(schema.BuiltinOperator)
CHANGES_AXES = "that drops or adds an axis"


@dataclass(frozen=True)
class Operand:
    """A tensor that an operator takes or returns."""

    name: str
    dtype: str
    """As numpy calls it: float32, int8."""
    shape: tuple[int, ...]
    constant: bool


@dataclass(frozen=True)
class Operator:
    """One operator of a graph."""

    index: int
    """Its index among all operators of its graph, in the order of the file."""
    kind: str
    """TRANSPOSE; of a custom operator its own name, such as FlexMatrixDeterminant."""
    custom: bool
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    at_end: bool
    """True if it converts an app's input to what the model computes in, or back."""
    options: Any
    """The schema's object: StridedSliceOptionsT and the like."""

    @property
    def result(self) -> Operand:
        """Return the tensor that identifies it: its first output, or its first input without one (ASSIGN_VARIABLE)."""
        return next(iter((*self.outputs, *self.inputs)), Operand("", "", (), False))

    @property
    def flows(self) -> tuple[Operand, ...]:
        """Return its inputs and outputs without constants."""
        return tuple(tensor for tensor in (*self.inputs, *self.outputs) if not tensor.constant)

    @property
    def axes(self) -> int:
        """Return the most axes of a tensor that flows through it."""
        return max((len(tensor.shape) for tensor in self.flows), default=0)

    @property
    def changes_axes(self) -> bool:
        """True for a slice that drops or adds an axis besides, as `image[:, 0]` does."""
        options = self.options
        return self.kind == "STRIDED_SLICE" and bool(
            options.shrinkAxisMask or options.newAxisMask or options.ellipsisMask
        )

    @property
    def what(self) -> str:
        """Return what is unlike a float32 operator on images: `of int64`, `of 5 axes`, `with int8 weights`; else ""."""
        types = [tensor.dtype for tensor in self.flows if tensor.dtype != "float32"]
        weights = [tensor.dtype for tensor in self.inputs[1:2] if tensor.constant]
        if self.axes > 4:
            return of_axes(self.axes)
        if types:
            return f"of {max(types, key=_strange)}"
        if self.changes_axes:
            return CHANGES_AXES
        return f"with {weights[0]} weights" if weights in (["int8"], ["float16"]) else ""


def of_axes(count: int) -> str:
    """Return a number of axes in words: `of 5 axes`."""
    return f"of {count} ax{'is' if count == 1 else 'es'}"


_ORDINARY = ("int8", "uint8", "int32", "bool", "int16", "int64")


def _strange(dtype: str) -> int:
    """Return how rare a type is: a type that few kernels have comes last."""
    return _ORDINARY.index(dtype) if dtype in _ORDINARY else len(_ORDINARY)


@dataclass(frozen=True)
class Graphs:
    """The operators of a file."""

    main: tuple[Operator, ...]
    inside: tuple[Operator, ...]
    """Operators in the bodies of WHILE, IF and the like."""

    @property
    def every(self) -> tuple[Operator, ...]:
        """Return all operators."""
        return self.main + self.inside


def read(model: Any) -> Graphs:
    """Return the operators of a model that `flatbuffer_utils.read_model` has read."""
    main, *bodies = (tuple(_of_graph(model, graph)) for graph in model.subgraphs)
    return Graphs(main, tuple(operator for graph in bodies for operator in graph))


def _of_graph(model: Any, graph: Any) -> Iterable[Operator]:
    constants = {
        index
        for index, tensor in enumerate(graph.tensors)
        if model.buffers[tensor.buffer].data is not None or model.buffers[tensor.buffer].offset
    }
    ends = {*graph.inputs, *graph.outputs}
    for index, operator in enumerate(graph.operators):
        inputs = [place for place in operator.inputs if place >= 0]  # -1: an optional one that is not there
        code = model.operatorCodes[operator.opcodeIndex]
        custom = code.builtinCode == schema.BuiltinOperator.CUSTOM
        if inputs and not custom and constants.issuperset(inputs):
            constants.update(operator.outputs)
            continue
        kind = code.customCode.decode() if custom else KINDS[code.builtinCode]
        yield Operator(
            index,
            kind,
            custom,
            tuple(_tensor(graph, place, constants) for place in inputs),
            tuple(_tensor(graph, place, constants) for place in operator.outputs),
            kind in {"QUANTIZE", "DEQUANTIZE"} and not ends.isdisjoint([*inputs, *operator.outputs]),
            operator.builtinOptions,
        )


def _tensor(graph: Any, place: int, constants: set[int]) -> Operand:
    tensor = graph.tensors[place]
    shape = () if tensor.shape is None else tuple(map(int, tensor.shape))
    return Operand(tensor.name.decode(), TYPES[tensor.type].lower(), shape, place in constants)
