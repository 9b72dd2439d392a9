"""Elements written at places: by a scatter into zeros and a choice, which every format has."""

from typing import Any

import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.operators.indexing import counted, ladder
from export.graphs.importer.value import Value, number, reshaped


@since(11)
def ScatterND(node: Node, value: Value, indices: Value, updates: Value) -> Value:
    """Build a value in which slices are written at places along the first axes."""
    depth = node.static(indices, -1)
    places = indices.array if indices.constant else indices.logical
    parts = [counted(places[..., axis], value.size(axis)) for axis in range(depth)]
    where = tf.cast(tf.stack(parts, -1), tf.int32)
    return Value(_written(node, value, where, updates.logical))


@since(11)
def ScatterElements(node: Node, value: Value, indices: Value, updates: Value) -> Value:
    """Build a value in which each element of `updates` is written at its place along an axis."""
    axis, rank = node.integer("axis") % value.rank, value.rank
    places = counted(indices.array if indices.constant else indices.logical, value.size(axis))
    zeros = tf.zeros_like(tf.cast(places, tf.int32))
    parts = [
        tf.cast(places, tf.int32) if dim == axis else zeros + ladder(indices.size(dim), dim, rank)
        for dim in range(rank)
    ]
    return Value(_written(node, value, tf.stack(parts, -1), updates.logical))


@since(9)
def Scatter(node: Node, value: Value, indices: Value, updates: Value) -> Value:
    """Build ScatterElements by its first name."""
    return ScatterElements(node, value, indices, updates)


def _written(node: Node, value: Value, where: Any, updates: Any) -> Any:
    """Return a value with updates written. where: (…, depth) places; updates: (…, the other axes)."""
    how, tensor = node.text("reduction", "none"), value.logical
    if how in {"min", "max"}:
        write = tf.tensor_scatter_nd_max if how == "max" else tf.tensor_scatter_nd_min
        return write(tensor, where, updates)
    if how == "mul":
        raise node.refused("reduction mul")
    depth = int(where.shape[-1])
    shape = tf.stack([number(size) for size in value.sizes])
    numeric = tf.as_dtype(tensor.dtype) != tf.bool
    numbers = updates if numeric else tf.cast(updates, tf.int32)
    written = tf.scatter_nd(where, numbers, shape)
    if how == "add":
        return tensor + written
    lead = value.sizes[:depth]
    ones = tf.ones(tf.shape(where)[:-1], tf.float32)
    touched = tf.scatter_nd(where, ones, tf.stack([number(size) for size in lead])) > 0
    touched = reshaped(touched, [*lead, *[1] * (value.rank - depth)])
    return tf.where(touched, written if numeric else tf.cast(written, tf.bool), tensor)
