"""Gives the outputs of a detector in TFLite the form that MediaPipe's ObjectDetector reads.

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    shared(model, (320, 320))

It takes four outputs of float32: boxes as shares of the picture's width and height, scores, classes, and how many there
are. MediaPipe 0.10.21 refuses any other type.
"""

import copy
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.graphs.tflite_interface import operator_code, quantized
from records.tensor import Array

OUTPUTS = ("boxes", "scores", "labels", "count")


def shared(model: Any, size: tuple[int, int]) -> None:
    """Change the outputs of an object that `flatbuffer_utils` read, in place. Raises ValueError for other outputs.

    size: height and width of the input. The signature has the names it had.
    """
    graph, (signature,) = model.subgraphs[0], model.signatureDefs
    places = {mapped.name.decode(): mapped.tensorIndex for mapped in signature.outputs}
    if set(places) != set(OUTPUTS):
        raise ValueError(f"the file gives {', '.join(places)}; {', '.join(OUTPUTS)} are needed")
    height, width = size
    sides = np.array([width, height, width, height], np.float32)
    new = {name: floats(model, places[name]) for name in OUTPUTS}
    new["boxes"] = divided(model, new["boxes"], sides)
    for mapped in signature.outputs:
        mapped.tensorIndex = new[mapped.name.decode()]
    for name, place in new.items():
        if place != places[name]:
            graph.tensors[places[name]].name += b"_inner"
            graph.tensors[place].name = name.encode()
    graph.outputs = [new[name] for name in OUTPUTS]


def floats(model: Any, place: int) -> int:
    """Return the place of a tensor's values as float32: its own, where it has them already."""
    tensor = model.subgraphs[0].tensors[place]
    if tensor.type == schema.TensorType.FLOAT32:
        return place
    if quantized(tensor):
        return added(model, "DEQUANTIZE", [place])
    options = schema.CastOptionsT()
    options.inDataType, options.outDataType = tensor.type, schema.TensorType.FLOAT32
    return added(model, "CAST", [place], schema.BuiltinOptions.CastOptions, options)


def divided(model: Any, place: int, values: Array) -> int:
    """Return the place of a tensor divided by values that its last axis has."""
    return added(model, "DIV", [place, constant(model, values)], schema.BuiltinOptions.DivOptions, schema.DivOptionsT())


def added(model: Any, kind: str, inputs: list[int], of: int = 0, options: Any = None) -> int:
    """Add an operator behind all others and return the place of its result: float32 in the shape of its first input.

    of: the kind of its options, as the schema numbers it.
    """
    graph = model.subgraphs[0]
    tensor = copy.deepcopy(graph.tensors[inputs[0]])
    tensor.type, tensor.buffer, tensor.quantization = schema.TensorType.FLOAT32, 0, None
    graph.tensors.append(tensor)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = inputs, [len(graph.tensors) - 1]
    operator.opcodeIndex = operator_code(model, kind)
    operator.builtinOptionsType, operator.builtinOptions = of, options
    graph.operators.append(operator)
    return len(graph.tensors) - 1


def constant(model: Any, values: Array) -> int:
    """Add a constant of float32 and return its place."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.shape = b"constant", schema.TensorType.FLOAT32, list(values.shape)
    tensor.buffer = len(model.buffers) - 1
    graph = model.subgraphs[0]
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
