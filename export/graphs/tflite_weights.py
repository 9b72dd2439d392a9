"""Reads which operators of a .tflite have weights, and whether they compute in integers.

    Counter(operator.kind for operator in weighted(content) if operator.dtype == "float32")

Needs flatbuffers only. The slots are those of TensorFlow's schema.fbs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from flatbuffers.table import Table

from export.graphs.flatbuffer import length, number, numbers, root_of, tables, text

TYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
}
KINDS = {
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    9: "FULLY_CONNECTED",
    67: "TRANSPOSE_CONV",
    126: "BATCH_MATMUL",
    132: "CONV_3D",
    141: "CONV_3D_TRANSPOSE",
}
"""BuiltinOperator → its name, of those that multiply by weights, which are their second input."""
EITHER = {"BATCH_MATMUL"}
"""Kinds of which the first input may be the weight as well."""


@dataclass(frozen=True)
class Weighted:
    """An operator that multiplies what flows through it by constants."""

    kind: str
    """CONV_2D."""
    result: str
    """The name of the tensor that it gives."""
    dtype: str
    """The type of that tensor: float32, unless it computes in integers."""


def weighted(content: bytes) -> Iterator[Weighted]:
    """Yield the operators with weights of a file's main graph. Raises ValueError for a file that is malformed."""
    root = root_of(content)
    graph, buffers = tables(root, 2)[0], tables(root, 4)
    codes = [_code(code) for code in tables(root, 1)]
    tensors = tables(graph, 0)
    constants = {place for place, tensor in enumerate(tensors) if length(buffers[number(tensor, 2)], 0)}
    for operator in tables(graph, 3):
        kind = KINDS.get(codes[number(operator, 0)], "")
        inputs, outputs = numbers(operator, 1), numbers(operator, 2)
        present = {place for place in inputs if place >= 0}  # -1: an optional one that is not there
        if present and present <= constants:  # such as weights of 8 bits that are made floats again
            constants.update(outputs)
        elif kind and outputs and not constants.isdisjoint(inputs[:2] if kind in EITHER else inputs[1:2]):
            result = tensors[outputs[0]]
            yield Weighted(kind, text(result, 3), type_of(result))


def _code(code: Table) -> int:
    """Return an operator code's BuiltinOperator: in slot 3, or in slot 0 of files that are older."""
    return max(number(code, 3, "<i"), number(code, 0, "<b"))


def type_of(tensor: Table) -> str:
    """Return a tensor's type as numpy calls it, `int8`."""
    code = number(tensor, 1, "<b")
    return TYPES.get(code, f"type {code}")
