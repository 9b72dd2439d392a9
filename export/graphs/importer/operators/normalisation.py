"""Normalisations, in two passes: the mean of squares less the square of the mean costs 20 dB."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.value import Value, broadcast, channels_last, product, reshaped
from records.tensor import Array

LONG = 256
"""Numbers that are added one after the other, at most."""


def normalised(tensor: Any, axes: Sequence[int], epsilon: float) -> tuple[Any, Any, Any]:
    """Return (tensor − mean) / deviation over physical axes, the mean, and 1 / deviation."""
    mean = averaged(tensor, axes)
    rest = tensor - mean
    scale = tf.math.rsqrt(averaged(rest * rest, axes) + epsilon)
    return rest * scale, mean, scale


def averaged(tensor: Any, axes: Sequence[int]) -> Any:
    """Return the mean over axes, in parts: TF.js adds thousands of numbers in one float32, and loses by it."""
    for axis in axes:
        size = tensor.shape[axis] or 1
        part = next((divisor for divisor in range(int(size**0.5), 1, -1) if size % divisor == 0), 1)
        if size > LONG and part > 1:
            sizes = Value(tensor).sizes
            split = reshaped(tensor, [*sizes[:axis], size // part, part, *sizes[axis + 1 :]])
            tensor = tf.squeeze(tf.reduce_mean(split, axis + 1, keepdims=True), axis + 1)
        tensor = tf.reduce_mean(tensor, axis, keepdims=True)
    return tensor


def _scaled(value: Value, scale: Value | None, shift: Value | None) -> Value:
    """Return value · scale + shift, with broadcasting."""
    result = value
    for other, combine in ((scale, tf.multiply), (shift, tf.add)):
        if other is not None:
            (left, right), stored = broadcast([result, other])
            result = Value(combine(left, right), stored)
    return result


def _per_channel(value: Value, rank: int) -> Value:
    """Return (C,) as (C, 1, …), which is broadcast to (N, C, …)."""
    if value.constant:
        return Value(value.array.reshape(-1, *[1] * (rank - 2)))
    return Value(reshaped(value.logical, [value.size(0), *[1] * (rank - 2)]))


@since(1)
def BatchNormalization(node: Node, value: Value, *rest: Value) -> Value:
    """Build a normalisation with the statistics of training, as one product and one sum."""
    if node.flag("training_mode"):
        raise node.refused("the model is in training mode. Export it after model.eval()")
    scale, shift, mean, variance = rest[:4]
    epsilon = node.real("epsilon", 1e-5)
    if all(part.constant for part in (scale, shift, mean, variance)):
        wide = [part.array.astype(np.float64) for part in (scale, shift, mean, variance)]
        factor = wide[0] / np.sqrt(wide[3] + epsilon)
        kind = value.dtype.as_numpy_dtype
        parts = [Value(array.astype(kind)) for array in (factor, wide[1] - wide[2] * factor)]
    else:
        running = scale.logical * tf.math.rsqrt(variance.logical + epsilon)
        parts = [Value(running), Value(shift.logical - mean.logical * running)]
    rank = max(value.rank, 2)
    return _scaled(value, _per_channel(parts[0], rank), _per_channel(parts[1], rank))


@since(6)
def InstanceNormalization(node: Node, value: Value, scale: Value, shift: Value) -> Value:
    """Build a normalisation of each channel of each sample by itself."""
    axes = [value.stored[axis] for axis in range(2, value.rank)]
    result = value.over(lambda tensor: normalised(tensor, axes, node.real("epsilon", 1e-5))[0])
    return _scaled(result, *(_per_channel(part, value.rank) for part in (scale, shift)))


@since(17)
def LayerNormalization(
    node: Node, value: Value, scale: Value, shift: Value | None = None
) -> tuple[Value, Value, Value]:
    """Build a normalisation over the last axes, from `axis` on."""
    first = node.integer("axis", -1) % value.rank
    axes = [value.stored[axis] for axis in range(first, value.rank)]
    kind = value.dtype
    tensor = tf.cast(value.tensor, tf.float32) if kind == tf.float16 else value.tensor
    tensor_out, mean, inverse = normalised(tensor, axes, node.real("epsilon", 1e-5))
    result = _scaled(Value(tf.cast(tensor_out, kind), value.stored), scale, shift)
    return result, Value(mean, value.stored), Value(inverse, value.stored)


@since(23)
def RMSNormalization(node: Node, value: Value, scale: Value) -> Value:
    """Build a division by the root of the mean of squares, over the last axes."""
    first = node.integer("axis", -1) % value.rank
    axes = [value.stored[axis] for axis in range(first, value.rank)]
    kind, epsilon = value.dtype, node.real("epsilon", 1e-5)

    def scaled(tensor: Any) -> Any:
        wide = tf.cast(tensor, tf.float32) if kind == tf.float16 else tensor
        return tf.cast(wide * tf.math.rsqrt(tf.reduce_mean(wide * wide, axes, keepdims=True) + epsilon), kind)

    return _scaled(value.over(scaled), scale, None)


@since(18)
def GroupNormalization(node: Node, value: Value, scale: Value | None = None, shift: Value | None = None) -> Value:
    """Build a normalisation of groups of channels of each sample; opset 21 has scale and shift by channel.

    Before it they are by group.
    """
    groups, epsilon = node.integer("num_groups"), node.real("epsilon", 1e-5)
    channels = node.static(value, 1)
    result = group_normalised(value, groups, channels, epsilon)
    parts = [None if part is None else _per_channel(_repeated(part, channels), value.rank) for part in (scale, shift)]
    return _scaled(result, *parts)


def _repeated(value: Value, channels: int) -> Value:
    count = value.shape[0]
    if count in {channels, None}:
        return value
    return (
        Value(tf.repeat(value.logical, channels // int(count or 1)))
        if not value.constant
        else Value(np.repeat(value.array, channels // int(count or 1)))
    )


def group_normalised(value: Value, groups: int, channels: int, epsilon: float) -> Value:
    """Return (N, C, …) normalised in groups of channels, channels last, without scale and shift."""
    tensor = value.last
    last = Value(tensor)
    split = reshaped(tensor, [last.size(0), product(last.sizes[1:-1]), groups, channels // groups])
    result = normalised(split, [1, 3], epsilon)[0]
    return Value(reshaped(result, last.sizes), channels_last(value.rank))


@since(1)
def LpNormalization(node: Node, value: Value) -> Value:
    """Build a division by the 1- or 2-norm along an axis."""
    axis = value.stored[node.integer("axis", -1) % value.rank]
    absolute = node.integer("p", 2) == 1

    def scaled(tensor: Any) -> Any:
        if absolute:
            norm = tf.reduce_sum(tf.abs(tensor), axis, keepdims=True)
        else:
            norm = tf.sqrt(tf.reduce_sum(tensor * tensor, axis, keepdims=True))
        return tensor / norm

    return value.over(scaled)


@since(9)
def MeanVarianceNormalization(node: Node, value: Value) -> Value:
    """Build (value − mean) / deviation."""
    axes = [value.stored[axis % value.rank] for axis in node.numbers("axes", [0, 2, 3])]

    def scaled(tensor: Any) -> Any:
        rest = tensor - tf.reduce_mean(tensor, axes, keepdims=True)
        return rest / (tf.sqrt(tf.reduce_mean(rest * rest, axes, keepdims=True)) + 1e-9)

    return value.over(scaled)


@since(1)
def LRN(node: Node, value: Value) -> Value:
    """Build a division by the squares of the channels around each: a product with a band of ones."""
    channels, size = node.static(value, 1), node.integer("size")
    band = _band(channels, size)
    tensor = value.last
    squares = reshaped(tensor * tensor, [*Value(tensor).sizes])
    total = Value(tf.tensordot(squares, band.astype(value.dtype.as_numpy_dtype), 1)).tensor
    alpha, beta, bias = node.real("alpha", 1e-4), node.real("beta", 0.75), node.real("bias", 1.0)
    return Value(tensor / tf.pow(bias + alpha / size * total, beta), channels_last(value.rank))


def _band(channels: int, size: int) -> Array:
    """Return (C, C): 1 where the second is among the channels around the first."""
    first, last = (size - 1) // 2, size - 1 - (size - 1) // 2
    apart = np.arange(channels)[:, None] - np.arange(channels)[None]  # [in, out]
    return np.asarray((apart >= -first) & (apart <= last))
