"""Sums, means and extremes along axes, running sums, and where an extreme is."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.value import Value, without


def reduction(reduce: Callable[..., Any]) -> Callable[..., Value]:
    """Return the operator that reduces axes, which were an attribute and became an input."""

    @since(1)
    def operator(node: Node, value: Value, along: Value | None = None) -> Value:
        axes = node.axes(along)
        if not axes:
            if node.flag("noop_with_empty_axes"):
                return value.over(lambda tensor: reduce(tensor[None], [0], False))
            axes = list(range(value.rank))
        axes = [axis % value.rank for axis in axes]
        keep = node.flag("keepdims", True)
        reduced = reduce(value.tensor, [value.stored[axis] for axis in axes], keep)
        return Value(reduced, value.stored if keep else without(value.stored, axes))

    return operator


def _sum_square(tensor: Any, axes: list[int], keep: bool) -> Any:
    return tf.reduce_sum(tensor * tensor, axes, keep)


def _root(tensor: Any) -> Any:
    """Return the root, also of whole numbers."""
    kind = tf.as_dtype(tensor.dtype)
    return tf.sqrt(tensor) if kind.is_floating else tf.cast(tf.sqrt(tf.cast(tensor, tf.float64)), kind)


def _log_sum_exp(tensor: Any, axes: list[int], keep: bool) -> Any:
    """Return the logarithm of a sum of exponentials without overflow; minus infinity for nothing."""
    if 0 in [tensor.shape[axis] for axis in axes]:
        return tf.math.log(tf.reduce_sum(tf.exp(tensor), axes, keep))
    greatest = tf.reduce_max(tensor, axes, keepdims=True)
    total = tf.math.log(tf.reduce_sum(tf.exp(tensor - greatest), axes, keepdims=True)) + greatest
    return total if keep else tf.squeeze(total, axes)


def _mean(tensor: Any, axes: list[int], keep: bool) -> Any:
    return tf.reduce_mean(tensor, axes, keep)


def _extreme(reduce: Callable[..., Any], logical: Callable[..., Any]) -> Callable[..., Any]:
    def extreme(tensor: Any, axes: list[int], keep: bool) -> Any:
        return (logical if tf.as_dtype(tensor.dtype) == tf.bool else reduce)(tensor, axes, keep)

    return extreme


ReduceSum = reduction(tf.reduce_sum)
ReduceMean = reduction(_mean)
ReduceProd = reduction(tf.reduce_prod)
ReduceMax = reduction(_extreme(tf.reduce_max, tf.reduce_any))
ReduceMin = reduction(_extreme(tf.reduce_min, tf.reduce_all))
ReduceL1 = reduction(lambda tensor, axes, keep: tf.reduce_sum(tf.abs(tensor), axes, keep))
ReduceL2 = reduction(lambda tensor, axes, keep: _root(_sum_square(tensor, axes, keep)))
ReduceSumSquare = reduction(_sum_square)
ReduceLogSum = reduction(lambda tensor, axes, keep: tf.math.log(tf.reduce_sum(tensor, axes, keep)))
ReduceLogSumExp = reduction(_log_sum_exp)


def place(find: Callable[..., Any]) -> Callable[[Node, Value], Value]:
    """Return the operator that tells where along an axis an extreme is: the first of equals, or the last."""

    @since(1)
    def operator(node: Node, value: Value) -> Value:
        axis = node.integer("axis") % value.rank
        physical = value.stored[axis]
        if node.flag("select_last_index"):
            flipped = find(tf.reverse(value.tensor, [physical]), physical, output_type=tf.int32)
            places = node.static(value, axis) - 1 - flipped
        else:
            places = find(value.tensor, physical, output_type=tf.int32)
        if node.flag("keepdims", True):
            return Value(tf.expand_dims(places, physical), value.stored)
        return Value(places, without(value.stored, [axis]))

    return operator


ArgMax = place(tf.argmax)
ArgMin = place(tf.argmin)


@since(11)
def CumSum(node: Node, value: Value, axis: Value) -> Value:
    """Build the running sum along an axis."""
    along = int(node.known(axis, "axis").item()) % value.rank
    return value.over(
        lambda tensor: tf.cumsum(tensor, value.stored[along], node.flag("exclusive"), node.flag("reverse"))
    )
