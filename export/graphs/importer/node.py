"""A node of an ONNX graph as operators see it, and how they say what they cannot do.

@since(11)
def Clip(node: Node, value: Value, …) -> Value:
    axis = node.integer("axis", 0)
    raise node.refused("mode wrap is not there")
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import onnx
import tensorflow as tf
from onnx import helper, numpy_helper

from export.graphs.importer.value import Value
from export.graphs.operators import Inexpressible, module_of
from records.tensor import Array

Function = TypeVar("Function", bound=Callable[..., Any])


class Refused(Inexpressible):
    """A network that the importer does not take; the message says which operator, where and why."""


def since(opset: int) -> Callable[[Function], Function]:
    """Declare the first opset in which the operator means what the function builds.

    Attributes that became inputs are read as either.
    """

    def mark(function: Function) -> Function:
        function.since = opset  # type: ignore[attr-defined]
        return function

    return mark


@dataclass(frozen=True)
class Expected:
    """What ONNX's own inference knows of a tensor."""

    dtype: Any
    """TensorFlow's type; None: unknown."""
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Node:
    """One use of an operator."""

    operator: str
    name: str
    opset: int
    module: str
    """The PyTorch module it comes from; empty: the exporter did not say."""
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    """Names of the tensors it takes."""
    outputs: tuple[Expected, ...]
    wanted: tuple[bool, ...]
    """Of each output whether anything reads it."""
    never_negative: bool
    """Whether the first input has no value below zero, whatever the model is given."""
    inside: Callable[[Any], list[Value]] = field(repr=False)
    """Computes a graph that is an attribute."""

    def integer(self, name: str, default: int = 0) -> int:
        """Return an attribute that is a whole number."""
        return int(self.attributes.get(name, default))

    def real(self, name: str, default: float = 0.0) -> float:
        """Return an attribute that is a real number."""
        return float(self.attributes.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """Return an attribute that is text."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def numbers(self, name: str, default: Sequence[int] = ()) -> list[int]:
        """Return an attribute that is a list of whole numbers."""
        return [int(number) for number in self.attributes.get(name, default)]

    def flag(self, name: str, default: bool = False) -> bool:
        """Return an attribute that is true or false."""
        return bool(self.attributes.get(name, default))

    def refused(self, why: str) -> Refused:
        """Return the error to raise for a use of the operator that the importer has not, with the reason."""
        where = f" (in module {self.module})" if self.module else ""
        return Refused(f"{self.operator} of opset {self.opset}{where}: {why}")

    def known(self, value: Value | None, what: str) -> Array:
        """Return a constant's numbers. Raises Refused if only the running model knows them."""
        if value is None or not value.constant:
            raise self.refused(f"its {what} depend on the input")
        return value.array

    def static(self, value: Value, axis: int, what: str = "") -> int:
        """Return the size of a logical axis. Raises Refused if only the running model knows it."""
        size = value.shape[axis]
        if size is None:
            where = what or f"axis {axis % value.rank} of {', '.join(name for name in self.inputs if name)}"
            raise self.refused(f"{where} is dynamic. Export the model with one size there: it is built in")
        return size

    def axes(self, value: Value | None, name: str = "axes") -> list[int] | None:
        """Return axes that were an attribute and became an input; None: there is neither."""
        if value is not None:
            return [int(axis) for axis in self.known(value, name).ravel()]
        return self.numbers(name) if name in self.attributes else None


def read(node: onnx.NodeProto, opset: int, kinds: Mapping[str, Expected], **rest: Any) -> Node:
    """Return ONNX's node as a Node."""
    unknown = Expected(None, None)
    return Node(
        operator=node.op_type,
        name=node.name,
        opset=opset,
        module=module_of(node),
        inputs=tuple(node.input),
        attributes={attribute.name: _attribute(attribute) for attribute in node.attribute},
        outputs=tuple(kinds.get(name, unknown) for name in node.output),
        **rest,
    )


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def running(dtype: Any) -> Any:
    """Return the type in which a graph computes: int32 for int64, because delegates and browsers have no more.

    While constants are folded they keep their 64 bits.
    """
    dtype = tf.as_dtype(dtype)
    return tf.int32 if dtype == tf.int64 and not tf.executing_eagerly() else dtype


def narrow(array: Array) -> Array:
    """Return a constant of 64 bits in 32, as the graph takes it, if its numbers fit."""
    if array.dtype != np.int64 or tf.executing_eagerly():
        return array
    fits = not array.size or (array.min() >= -(2**31) and array.max() < 2**31)
    return array.astype(np.int32) if fits else array
