"""Elements by their places: one gather over flat rows, for a gather with batch dimensions is wrong in TF.js' wasm."""

from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, narrow, since
from export.graphs.importer.value import (
    Dim,
    Value,
    channels_last,
    number,
    product,
    reshaped,
    without,
)


def counted(indices: Any, size: Dim) -> Any:
    """Return places without negative numbers, which count from the end of an axis."""
    if isinstance(indices, np.ndarray):
        if isinstance(size, int):
            return np.where(indices < 0, indices + size, indices).astype(np.int32)
        if (indices >= 0).all():
            return narrow(indices)
    return tf.where(tf.less(indices, 0), indices + tf.cast(number(size), indices.dtype), indices)


def single(tensor: Any, axis: int, place: int) -> Any:
    """Return one slice along a physical axis, which is removed.

    It is cut and reshaped, because no delegate takes a slice that removes an axis.
    """
    cut = tensor[(*[slice(None)] * axis, slice(place, place + 1))]
    if isinstance(cut, np.ndarray):
        return np.squeeze(cut, axis)
    sizes = Value(cut).sizes
    return reshaped(cut, [*sizes[:axis], *sizes[axis + 1 :]])


@since(1)
def Gather(node: Node, value: Value, indices: Value) -> Value:
    """Build slices at places along an axis."""
    axis = node.integer("axis") % value.rank
    places = counted(indices.array if indices.constant else indices.logical, value.size(axis))
    physical = value.stored[axis]
    if indices.rank == 0:
        if isinstance(places, np.ndarray):
            return Value(single(value.tensor, physical, int(places)), without(value.stored, [axis]))
        return Value(tf.gather(value.tensor, places, axis=physical), without(value.stored, [axis]))
    if indices.rank == 1:
        if isinstance(places, np.ndarray) and len(places) and (np.diff(places) == 1).all():
            cuts = (*[slice(None)] * physical, slice(int(places[0]), int(places[-1]) + 1))
            return Value(value.tensor[cuts], value.stored)
        return Value(tf.gather(value.tensor, places, axis=physical), value.stored)
    return Value(tf.gather(value.logical, places, axis=axis))


def strides(sizes: list[Dim]) -> list[Dim]:
    """Return how far apart neighbours along each axis lie in the flat tensor."""
    return [product(sizes[axis + 1 :]) for axis in range(len(sizes))]


def ladder(size: Dim, axis: int, rank: int, kind: Any = tf.int32) -> Any:
    """Return 0, 1, 2 … along an axis, in a shape that is broadcast along the others."""
    shape = [-1 if place == axis else 1 for place in range(rank)]
    if isinstance(size, int):
        return np.arange(size, dtype=tf.as_dtype(kind).as_numpy_dtype).reshape(shape)
    return tf.reshape(tf.range(tf.cast(size.tensor, kind)), shape)


@since(11)
def GatherElements(node: Node, value: Value, indices: Value) -> Value:
    """Build, for each place of `indices`, the element that lies there along an axis."""
    axis, rank = node.integer("axis") % value.rank, value.rank
    places = counted(indices.array if indices.constant else indices.logical, value.size(axis))
    steps, flat = strides(value.sizes), 0
    for dim in range(rank):
        step = number(steps[dim])
        flat = flat + (places * step if dim == axis else ladder(indices.size(dim), dim, rank) * step)
    elements = tf.gather(reshaped(value.logical, [product(value.sizes)]), tf.cast(flat, tf.int32))
    return Value(elements)


@since(11)
def GatherND(node: Node, value: Value, indices: Value) -> Value:
    """Build slices at places along the first axes."""
    batch, depth = node.integer("batch_dims"), node.static(indices, -1)
    steps, flat = strides(value.sizes[: batch + depth]), 0
    places = indices.array if indices.constant else indices.logical
    lead = indices.rank - 1
    for axis in range(batch):
        flat = flat + ladder(value.size(axis), axis, lead) * number(steps[axis])
    for part in range(depth):
        flat = flat + counted(places[..., part], value.size(batch + part)) * number(steps[batch + part])
    rows = reshaped(value.logical, [product(value.sizes[: batch + depth]), *value.sizes[batch + depth :]])
    return Value(tf.gather(rows, tf.cast(flat, tf.int32)))


@since(1)
def OneHot(node: Node, indices: Value, depth: Value, values: Value) -> Value:
    """Build `values[1]` at each place, `values[0]` elsewhere; places beyond the depth are nowhere."""
    size = int(node.known(depth, "depth").item())
    places = tf.cast(indices.logical, tf.int32)
    inside = tf.logical_and(tf.greater_equal(places, -size), tf.less(places, size))
    places = tf.where(inside, tf.math.floormod(places, size), tf.fill(tf.shape(places), -1))
    axis = node.integer("axis", -1)
    hot = tf.one_hot(places, size, True, False, axis=axis % (indices.rank + 1), dtype=tf.bool)
    off, on = values.logical[0], values.logical[1]
    return Value(tf.where(hot, tf.cast(on, values.dtype), tf.cast(off, values.dtype)))


@since(1)
def TopK(node: Node, value: Value, count: Value | None = None) -> tuple[Value, Value]:
    """Build the greatest or least along an axis, in order, and their places; of equals the first."""
    axis = node.integer("axis", -1) % value.rank
    most = int(node.known(count, "count").item()) if count is not None else node.integer("k")
    last = (*(dim if dim < axis else dim - 1 for dim in range(value.rank)),)
    stored = tuple(value.rank - 1 if dim == axis else last[dim] for dim in range(value.rank))
    tensor = value.to(stored)
    if not value.dtype.is_floating:
        tensor = tf.cast(tensor, tf.int32)
    least = not node.flag("largest", True)
    extremes, places = tf.math.top_k(-tensor if least else tensor, most)
    return Value(tf.cast(-extremes if least else extremes, value.dtype), stored), Value(places, stored)


@since(9)
def Compress(node: Node, value: Value, condition: Value) -> Value:
    """Build the slices along an axis, or the elements, that a constant condition chooses."""
    places = np.flatnonzero(node.known(condition, "condition")).astype(np.int32)
    if "axis" not in node.attributes:
        return Value(tf.gather(reshaped(value.logical, [product(value.sizes)]), places))
    return Value(tf.gather(value.tensor, places, axis=value.stored[node.integer("axis") % value.rank]), value.stored)


def rows(value: Value) -> tuple[Any, list[Dim]]:
    """Return an image (N, C, …) as a table (N · …, C) with a row for each pixel, and the sizes N, …."""
    tensor = value.to(channels_last(value.rank))
    sizes = [value.size(0), *(value.size(axis) for axis in range(2, value.rank))]
    return reshaped(tensor, [product(sizes), value.size(1)]), sizes
