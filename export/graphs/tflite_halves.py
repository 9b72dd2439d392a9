"""Gives a TFLite model in float16 back what some of its operators read in float32.

    content = with_floats(half, exact, {"decode.1"})

TensorFlow's converter rounds every constant: anchors of 320 pixels to a quarter of one, and in its file of a detector
nothing is suppressed any more.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from records.tensor import Array


def with_floats(half: bytes, exact: bytes, chosen: Collection[str]) -> bytes:
    """Return a model in float16 in which these operators, by the name of their output, read constants of float32.

    exact: the same model in float32, where their values are. Raises ValueError where it has none of such.
    """
    model, known = read(half), constants(read(exact))
    graph = model.subgraphs[0]
    reading = {
        index
        for operator in graph.operators
        if any(name_of(graph.tensors[place]) in chosen for place in operator.outputs)
        for index in operator.inputs
    }
    left = []
    for operator in graph.operators:
        data = model.buffers[graph.tensors[operator.inputs[0]].buffer].data
        tensor = graph.tensors[operator.outputs[0]]
        of_half = graph.tensors[operator.inputs[0]].type == schema.TensorType.FLOAT16 and data is not None
        if not (of_half and len(data) and operator.outputs[0] in reading):
            left.append(operator)
            continue
        stored = np.frombuffer(bytes(data), np.float16).reshape(graph.tensors[operator.inputs[0]].shape)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(unrounded(name_of(tensor), stored, known).tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    graph.operators = left
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def unrounded(name: str, stored: Array, known: dict[str, Array]) -> Array:
    """Return the float32 constant that was rounded to a stored one of float16. Raises ValueError if there is none."""
    first = [known[name]] if name in known else []
    for value in (*first, *known.values()):
        if value.shape == stored.shape and np.array_equal(value.astype(np.float16), stored):
            return value
    raise ValueError(f"{name}: a constant of float16 {stored.shape} that the model in float32 does not have")


def constants(model: Any) -> dict[str, Array]:
    """Return the constants of float32 by name."""
    found = {}
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if tensor.type == schema.TensorType.FLOAT32 and data is not None and len(data):
            shape = [] if tensor.shape is None else tensor.shape
            found[name_of(tensor)] = np.frombuffer(bytes(data), np.float32).reshape(shape)
    return found


def read(content: bytes) -> Any:
    """Return a file as objects."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def name_of(tensor: Any) -> str:
    """Return a tensor's name."""
    return str(tensor.name.decode())
