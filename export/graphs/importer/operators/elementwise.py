"""Operators on each element by itself, with broadcasting; their storage is the largest input's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, running, since
from export.graphs.importer.value import Value, broadcast


def unary(opset: int, change: Callable[[Any], Any]) -> Callable[[Node, Value], Value]:
    """Return the operator that changes one tensor element by element."""

    @since(opset)
    def operator(node: Node, value: Value) -> Value:
        return value.over(change)

    return operator


def pairwise(opset: int, combine: Callable[[Any, Any], Any]) -> Callable[[Node, Value, Value], Value]:
    """Return the operator that combines two tensors."""

    @since(opset)
    def operator(node: Node, first: Value, second: Value) -> Value:
        (left, right), stored = broadcast([first, second])
        return Value(combine(left, right), stored)

    return operator


def several(opset: int, combine: Callable[[Any, Any], Any]) -> Callable[..., Value]:
    """Return the operator that combines any number of tensors."""

    @since(opset)
    def operator(node: Node, *values: Value) -> Value:
        tensors, stored = broadcast(values)
        result = tensors[0]
        for tensor in tensors[1:]:
            result = combine(result, tensor)
        return Value(tf.identity(result) if len(tensors) == 1 else result, stored)

    return operator


def _slope(tensor: Any) -> Any:
    """Return √(1 − x²) without the loss near ±1."""
    return tf.sqrt((1 - tensor) * (1 + tensor))


# TFLite has no inverse functions but the one of two arguments.
Acos = unary(7, lambda tensor: tf.atan2(_slope(tensor), tensor))
Asin = unary(7, lambda tensor: tf.atan2(tensor, _slope(tensor)))
Atan = unary(7, lambda tensor: tf.atan2(tensor, tf.ones_like(tensor)))
Acosh = unary(9, tf.acosh)
Asinh = unary(9, tf.asinh)
Atanh = unary(9, tf.atanh)
Sinh = unary(9, tf.sinh)
Cosh = unary(9, lambda tensor: (tf.exp(tensor) + tf.exp(-tensor)) * 0.5)
Tan = unary(7, lambda tensor: tf.sin(tensor) / tf.cos(tensor))
Abs = unary(6, tf.abs)
Ceil = unary(6, tf.math.ceil)
Cos = unary(7, tf.cos)
Exp = unary(6, tf.exp)
Floor = unary(6, tf.floor)
Log = unary(6, tf.math.log)
Neg = unary(6, tf.negative)
Reciprocal = unary(6, lambda tensor: 1 / tensor)
Round = unary(11, tf.round)
Sign = unary(9, tf.sign)
Sin = unary(7, tf.sin)
Sqrt = unary(6, tf.sqrt)
Identity = unary(1, lambda tensor: tensor)
Not = unary(1, tf.logical_not)


def _quotient(left: Any, right: Any) -> Any:
    """Return left / right; whole numbers are divided towards zero."""
    kind = tf.as_dtype(left.dtype)
    if not kind.is_integer:
        return tf.divide(left, right)
    if kind.is_unsigned:
        return tf.math.floordiv(left, right)
    return tf.sign(left) * tf.sign(right) * tf.math.floordiv(tf.abs(left), tf.abs(right))


Add = pairwise(7, tf.add)
Sub = pairwise(7, tf.subtract)
Mul = pairwise(7, tf.multiply)
Div = pairwise(7, _quotient)
Max = several(8, tf.maximum)
Min = several(8, tf.minimum)
Sum = several(8, tf.add)


@since(8)
def Mean(node: Node, *values: Value) -> Value:
    """Build the mean of any number of tensors."""
    total = Sum(node, *values)
    return total.over(lambda tensor: tensor / len(values))


@since(10)
def Mod(node: Node, first: Value, second: Value) -> Value:
    """Build the remainder with the divisor's sign, or with the dividend's if `fmod`."""
    (left, right), stored = broadcast([first, second])
    if not node.flag("fmod"):
        return Value(tf.math.floormod(left, right), stored)
    rest = tf.math.floormod(tf.abs(left), tf.abs(right))
    return Value(tf.where(tf.less(left, tf.zeros_like(left)), -rest, rest), stored)


POWERS: dict[float, Callable[[Any], Any]] = {
    2.0: lambda tensor: tensor * tensor,
    3.0: lambda tensor: tensor * tensor * tensor,
    0.5: tf.sqrt,
    -0.5: lambda tensor: 1 / tf.sqrt(tensor),
    -1.0: lambda tensor: 1 / tensor,
    1.0: lambda tensor: tensor,
}
"""What needs no logarithm: browsers' `pow` of a negative number is none."""


@since(7)
def Pow(node: Node, base: Value, exponent: Value) -> Value:
    """Build a power, in the base's type whatever the exponent's."""
    floating = base.dtype.is_floating
    if exponent.constant and exponent.array.size == 1 and floating and float(exponent.array.item()) in POWERS:
        result = base.over(POWERS[float(exponent.array.item())])
        return Value(*_as_wide(result, exponent.rank))
    (left, right), stored = broadcast([base, exponent])
    if not floating and tf.as_dtype(right.dtype).is_floating:
        power = tf.pow(tf.cast(left, right.dtype), right)
        return Value(tf.cast(power, running(base.dtype)), stored)
    return Value(tf.pow(left, tf.cast(right, left.dtype)), stored)


def _as_wide(value: Value, rank: int) -> tuple[Any, tuple[int, ...]]:
    """Return a tensor with the axes that an exponent of more axes gives it, and how it is stored."""
    if rank <= value.rank:
        return value.tensor, value.stored
    (tensor, _), stored = broadcast([value, Value(np.zeros((1,) * rank))])
    return tensor, stored


@since(1)
def Cast(node: Node, value: Value) -> Value:
    """Build a value in another type; floats lose what is behind the point."""
    return _cast(node, value, node.outputs[0].dtype)


@since(15)
def CastLike(node: Node, value: Value, other: Value) -> Value:
    """Build a value in another tensor's type."""
    return _cast(node, value, other.dtype)


def _cast(node: Node, value: Value, kind: Any) -> Value:
    if kind is None or kind == tf.string or value.dtype == tf.string:
        raise node.refused("it casts to or from a type that TensorFlow does not compute with")
    dtype = running(kind)
    return value if value.dtype == dtype else value.over(lambda tensor: tf.cast(tensor, dtype))


@since(1)
def Dropout(node: Node, value: Value, *rest: Value | None) -> tuple[Value, Value | None]:
    """Build nothing: a trained model passes its input on."""
    training = rest[1] if len(rest) > 1 else None
    if training is not None and bool(node.known(training, "training_mode").item()):
        raise node.refused("the model is in training mode. Export it after model.eval()")
    mask = Value(tf.ones_like(value.tensor, tf.bool), value.stored) if len(node.outputs) > 1 else None
    return value, mask


@since(9)
def Erf(node: Node, value: Value) -> Value:
    """Build the error function: TensorFlow's operator in what is folded, else a quotient of polynomials.

    TFLite has none. W. J. Cody's form on [-4, 4], where float32 reaches ±1: numerator and denominator in x², as Eigen
    has it; largest error 2e-7.
    """
    if value.constant or value.dtype != tf.float32:
        return value.over(tf.math.erf)
    return value.over(error_function)


NUMERATOR = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04,
    -2.95459980854025e-03, -1.60960333262415e-02,
)  # fmt: skip
DENOMINATOR = (
    -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02,
)  # fmt: skip


def error_function(tensor: Any) -> Any:
    """Return the error function of a float32 tensor."""
    inside = tf.maximum(tf.minimum(tensor, 4.0), -4.0)
    square = inside * inside
    above, below = NUMERATOR[0], DENOMINATOR[0]
    for factor in NUMERATOR[1:]:
        above = above * square + factor
    for factor in DENOMINATOR[1:]:
        below = below * square + factor
    return inside * above / below


@since(11)
def BitShift(node: Node, first: Value, second: Value) -> Value:
    """Build whole numbers shifted by as many bits as the second input says."""
    (left, right), stored = broadcast([first, second])
    shift = tf.bitwise.left_shift if node.text("direction") == "LEFT" else tf.bitwise.right_shift
    return Value(shift(left, right), stored)


BitwiseAnd = pairwise(18, tf.bitwise.bitwise_and)
BitwiseOr = pairwise(18, tf.bitwise.bitwise_or)
BitwiseXor = pairwise(18, tf.bitwise.bitwise_xor)
BitwiseNot = unary(18, tf.bitwise.invert)
