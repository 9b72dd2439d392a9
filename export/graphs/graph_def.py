"""Adds nodes to a TensorFlow GraphDef by hand, and reads what an input names.

add_constant(graph, "conv/axis", np.array(3, np.int32))
add_transpose(graph, "dense/transposed", "dense/kernel", "dense/axes")
"""

from typing import Any

import tensorflow as tf

from records.tensor import Array


def node_name(tensor: str) -> str:
    """Return the name of the node that an input names: `conv` of `conv:0` and of `^conv`."""
    return tensor.removeprefix("^").partition(":")[0]


def add_constant(graph: Any, name: str, value: Array) -> None:
    """Add a constant."""
    node = graph.node.add(name=name, op="Const")
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))


def add_transpose(graph: Any, name: str, tensor: str, axes: str) -> None:
    """Add a transposition of a float32 tensor. axes: name of a constant."""
    node = graph.node.add(name=name, op="Transpose", input=[tensor, axes])
    node.attr["T"].type = tf.float32.as_datatype_enum
    node.attr["Tperm"].type = tf.int32.as_datatype_enum


def constant_value(node: Any) -> Array:
    """Return the value of a constant's node."""
    value: Array = tf.make_ndarray(node.attr["value"].tensor)
    return value
