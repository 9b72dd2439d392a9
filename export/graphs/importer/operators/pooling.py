"""Pooling: windows are counted as PyTorch counts them, and no padding of a maximum is a value of its own.

TensorFlow would pad a maximum with minus infinity, which as part of an integer range leaves one step of 10³⁶. So zeros
stand around what is never negative, and else the image's own edge, which every window that reaches over it holds, too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.operators.convolution import Pads, padding, windows
from export.graphs.importer.operators.shape import taken
from export.graphs.importer.value import Value, channels_last, product, reshaped
from records.tensor import Array


def _counted(node: Node, value: Value, kernel: Sequence[int]) -> tuple[list[int], list[int], Pads, Pads]:
    """Return strides, dilations, padding as given, and padding for the last windows if they are rounded up."""
    strides, dilations, pads = windows(node, value, kernel)
    if not node.flag("ceil_mode"):
        return strides, dilations, pads, pads
    needed = []
    for axis, (low, high) in enumerate(pads):
        far = (kernel[axis] - 1) * dilations[axis] + 1
        if value.shape[2 + axis] is None and high + strides[axis] <= far:  # no window begins in the padding behind
            needed.append((low, high + strides[axis] - 1))
            continue
        size = node.static(value, 2 + axis, f"axis {2 + axis} of {node.inputs[0]}, whose windows are rounded up,")
        count = -(-(size + low + high - far) // strides[axis]) + 1
        if (count - 1) * strides[axis] >= size + low:  # a window that would begin in the padding behind is none
            count -= 1
        needed.append((low, max(high, (count - 1) * strides[axis] + far - size - low)))
    return strides, dilations, pads, needed


def separable(
    tensor: Any,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    word: str,
    pool: Callable[..., Any],
) -> Any:
    """Return the pooling over one, two or three axes, channels last, in two-dimensional operators."""
    if len(kernel) == 1:
        pooled = _flat(tf.expand_dims(tensor, 1), [1, *kernel], [1, *strides], [1, *dilations], word, pool)
        return tf.squeeze(pooled, 1)
    if len(kernel) == 2:
        return _flat(tensor, kernel, strides, dilations, word, pool)
    whole = Value(tensor)
    batch, depth, height, width, channels = whole.sizes
    planes = reshaped(tensor, [product([batch, depth]), height, width, channels])
    planes = _flat(planes, kernel[1:], strides[1:], dilations[1:], word, pool)
    _, rows, columns, _ = planes.shape
    tall = reshaped(planes, [batch, depth, rows * columns, channels])
    tall = _flat(tall, [kernel[0], 1], [strides[0], 1], [dilations[0], 1], word, pool)
    return reshaped(tall, [batch, tall.shape[1], rows, columns, channels])


def _flat(
    tensor: Any,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    word: str,
    pool: Callable[..., Any],
) -> Any:
    if max(kernel) == 1:
        return tensor[:, :: strides[0], :: strides[1]] if max(strides) > 1 else tf.identity(tensor)
    if max(dilations) == 1:
        return pool(tensor, list(kernel), list(strides), word)
    kind = "MAX" if pool is tf.nn.max_pool2d else "AVG"
    every = tf.nn.pool(tensor, list(kernel), kind, [1, 1], word, dilations=list(dilations))
    return every[:, :: strides[0], :: strides[1]]


@since(1)
def MaxPool(node: Node, value: Value) -> Value:
    """Build the greatest value of each window."""
    if len(node.wanted) > 1 and node.wanted[1]:
        raise node.refused("the places of the greatest values")
    kernel = node.numbers("kernel_shape")
    kind = value.dtype
    tensor = value.last if kind.is_floating else tf.cast(value.last, tf.float32)
    strides, dilations, _, pads = _counted(node, value, kernel)
    word = padding(tensor, kernel, strides, dilations, pads)
    if any(low or high for low, high in pads):
        tensor, word = _surrounded(node, tensor, kernel, dilations, pads), "VALID"
    pooled = separable(tensor, kernel, strides, dilations, word or "VALID", tf.nn.max_pool2d)
    return Value(pooled if kind.is_floating else tf.cast(pooled, kind), channels_last(value.rank))


def _surrounded(node: Node, tensor: Any, kernel: Sequence[int], dilations: Sequence[int], pads: Pads) -> Any:
    """Return an image padded with values that are the greatest of no window."""
    around = [(0, 0), *pads, (0, 0)]
    if node.never_negative:
        return tf.pad(tensor, around)
    inside = all(2 * pad <= size for pair, size in zip(pads, kernel, strict=True) for pad in pair)
    sizes = list(tensor.shape[1:-1])
    fits = all(size is not None and max(pair) <= size for pair, size in zip(pads, sizes, strict=True))
    if max(dilations) == 1 and inside and fits:
        return tf.pad(tensor, around, "SYMMETRIC")
    if any(size is None or size < step for size, step in zip(sizes, dilations, strict=True)):
        return tf.pad(tensor, around, constant_values=tensor.dtype.min)
    for axis, (size, step, (low, high)) in enumerate(zip(sizes, dilations, pads, strict=True)):
        tensor = taken(tensor, 1 + axis, _nearest(size, step, low, high)) if low or high else tensor
    return tensor


def _nearest(size: int, step: int, low: int, high: int) -> Array:
    """Return for each place (low + size + high,) the nearest inside, `step` by `step`, that the same windows hold."""
    places = np.arange(-low, size + high)
    last = size - 1
    return np.where(places < 0, places % step, np.where(places > last, last - (last - places) % step, places))


@since(1)
def AveragePool(node: Node, value: Value) -> Value:
    """Build the mean of each window: of what lies inside the image, or with the padding."""
    kernel = node.numbers("kernel_shape")
    strides, dilations, pads, needed = _counted(node, value, kernel)
    tensor = value.last
    include = node.flag("count_include_pad")
    word = padding(tensor, kernel, strides, dilations, needed)
    if word == "SAME" and not include and max(dilations) == 1 and len(kernel) < 3:
        return Value(separable(tensor, kernel, strides, dilations, word, tf.nn.avg_pool2d), channels_last(value.rank))
    if any(low or high for low, high in needed):
        tensor = tf.pad(tensor, [(0, 0), *needed, (0, 0)])
    pooled = separable(tensor, kernel, strides, dilations, "VALID", tf.nn.avg_pool2d)
    if not any(low or high for low, high in needed):
        return Value(pooled, channels_last(value.rank))
    share = _shares(node, value, kernel, strides, dilations, pads, needed, include)
    pooled = pooled if (share == 1).all() else pooled * share.astype(value.dtype.as_numpy_dtype)
    return Value(pooled, channels_last(value.rank))


def _shares(
    node: Node,
    value: Value,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Pads,
    needed: Pads,
    include: bool,
) -> Array:
    """Return (1, …, 1): size of a window by how many of its places count."""
    share = np.ones((), np.float64)
    for axis, (size, step, dilation) in enumerate(zip(kernel, strides, dilations, strict=True)):
        extent = node.static(value, 2 + axis, f"axis {2 + axis} of {node.inputs[0]}, whose padding counts for nothing,")
        low, high = needed[axis]
        counts = np.zeros(low + extent + high)
        first, last = (low - pads[axis][0], low + extent + pads[axis][1]) if include else (low, low + extent)
        counts[first:last] = 1
        begins = range(0, len(counts) - (size - 1) * dilation, step)
        valid = np.array([counts[begin : begin + (size - 1) * dilation + 1 : dilation].sum() for begin in begins])
        share = share[..., None] * (size / valid)
    return np.asarray(share[None, ..., None])


@since(1)
def LpPool(node: Node, value: Value) -> Value:
    """Build the p-norm of each window."""
    kernel, power = node.numbers("kernel_shape"), node.integer("p", 2)
    strides, dilations, _, needed = _counted(node, value, kernel)
    tensor = tf.pow(tf.abs(value.last), float(power)) if power != 2 else value.last * value.last
    if any(low or high for low, high in needed):
        tensor = tf.pad(tensor, [(0, 0), *needed, (0, 0)])
    total = separable(tensor, kernel, strides, dilations, "VALID", tf.nn.avg_pool2d) * float(np.prod(kernel))
    return Value(tf.sqrt(total) if power == 2 else tf.pow(total, 1 / power), channels_last(value.rank))


def everywhere(reduce: Callable[[Node, Any, list[int]], Any]) -> Callable[[Node, Value], Value]:
    """Return the operator that pools over all spatial axes, however they are stored."""

    @since(1)
    def operator(node: Node, value: Value) -> Value:
        axes = [value.stored[axis] for axis in range(2, value.rank)]
        return Value(reduce(node, value.tensor, axes), value.stored)

    return operator


def _norm(node: Node, tensor: Any, axes: list[int]) -> Any:
    power = node.integer("p", 2)
    return tf.pow(tf.reduce_sum(tf.pow(tf.abs(tensor), power), axes, keepdims=True), 1 / power)


GlobalAveragePool = everywhere(lambda _, tensor, axes: tf.reduce_mean(tensor, axes, keepdims=True))
GlobalMaxPool = everywhere(lambda _, tensor, axes: tf.reduce_max(tensor, axes, keepdims=True))
GlobalLpPool = everywhere(_norm)
