"""Comparisons, and what is chosen by them."""

from typing import Any

import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.operators.elementwise import pairwise, unary
from export.graphs.importer.value import Value, broadcast

And = pairwise(7, tf.logical_and)
Or = pairwise(7, tf.logical_or)
Xor = pairwise(7, tf.not_equal)
Equal = pairwise(7, tf.equal)
Greater = pairwise(7, tf.greater)
GreaterOrEqual = pairwise(12, tf.greater_equal)
Less = pairwise(7, tf.less)
LessOrEqual = pairwise(12, tf.less_equal)
IsNaN = unary(9, lambda tensor: tf.not_equal(tensor, tensor))


@since(10)
def IsInf(node: Node, value: Value) -> Value:
    """Build true where a value is infinite, of either sign or of one."""
    signs = [sign for name, sign in (("detect_positive", 1.0), ("detect_negative", -1.0)) if node.flag(name, True)]

    def infinite(tensor: Any) -> Any:
        parts = [tf.equal(tensor, tf.constant(sign * float("inf"), tensor.dtype)) for sign in signs]
        if not parts:
            return tf.zeros_like(tensor, tf.bool)
        return parts[0] if len(parts) == 1 else tf.logical_or(*parts)

    return value.over(infinite)


@since(9)
def Where(node: Node, condition: Value, yes: Value, no: Value) -> Value:
    """Build the one or the other value by a condition."""
    tensors, stored = broadcast([condition, yes, no])
    return Value(tf.where(*tensors), stored)
