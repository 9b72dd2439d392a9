"""Numbers of 8 bits and what they stand for."""

from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.value import Value

LIMITS = {tf.uint8: (0, 255), tf.int8: (-128, 127), tf.uint16: (0, 65535), tf.int16: (-32768, 32767)}


def _along(node: Node, value: Value, part: Value) -> Any:
    """Return a scale or zero point, one for a tensor or one for each place along an axis, as it is broadcast."""
    if node.integer("block_size"):
        raise node.refused("scales of blocks")
    if part.rank == 0 or part.shape == (1,):
        return tf.reshape(part.logical, [])
    if part.rank > 1:
        raise node.refused("scales of blocks")
    place = value.stored[node.integer("axis", 1) % value.rank]
    return tf.reshape(part.logical, [-1 if axis == place else 1 for axis in range(value.rank)])


@since(10)
def DequantizeLinear(node: Node, value: Value, scale: Value, zero: Value | None = None) -> Value:
    """Build (steps − zero point) · scale."""
    if value.dtype not in LIMITS and value.dtype != tf.int32:
        raise node.refused("steps of this type")
    factor = _along(node, value, scale)
    steps = tf.cast(value.tensor, tf.int32)
    if zero is not None:
        steps = steps - tf.cast(_along(node, value, zero), tf.int32)
    return Value(tf.cast(steps, factor.dtype) * factor, value.stored)


@since(10)
def QuantizeLinear(node: Node, value: Value, scale: Value, zero: Value | None = None) -> Value:
    """Build round(value / scale) + zero point, rounded to even, held within the type."""
    kind = node.outputs[0].dtype or (zero.dtype if zero is not None else tf.uint8)
    if kind not in LIMITS:
        raise node.refused("steps of this type")
    steps = tf.round(value.tensor / tf.cast(_along(node, value, scale), value.dtype))
    if zero is not None:
        steps = steps + tf.cast(_along(node, value, zero), steps.dtype)
    low, high = (np.array(limit, tf.as_dtype(steps.dtype).as_numpy_dtype) for limit in LIMITS[kind])
    return Value(tf.cast(tf.minimum(tf.maximum(steps, low), high), kind), value.stored)
