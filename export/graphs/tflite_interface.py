"""Sets what an app sees of a TFLite model: names, types and quantization of inputs and outputs, and its labels.

model = named(content, inputs, outputs)          # an object: what flatbuffer_utils reads
set_interface(model, schema.TensorType.UINT8)
inputs, outputs = described(model, inputs, outputs)
content = with_labels(content_of(model), opened, inputs, outputs)
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from export.graphs.tflite_metadata import (
    METADATA_NAME,
    BoxesMetadata,
    Description,
    ImageMetadata,
    TensorMetadata,
    with_metadata,
)
from export.graphs.tflite_tasks import detector, segmenter
from pipeline.checkpoint import Checkpoint
from records.head import Head
from records.tensor import Tensor

VERSIONS = {"QUANTIZE": 2, "DEQUANTIZE": 3, "CAST": 1, "DIV": 1}
"""The first of each operator that takes int16, or what there is."""
LEAST_WEIGHT = 1024
"""Values of a weight that TensorFlow's converter quantizes by itself, at least."""
OF_BOXES = ("detection", "instances")
"""Tasks whose labels name the values of an output, not places along its last axis."""
TYPES = {
    schema.TensorType.FLOAT32: "float32",
    schema.TensorType.UINT8: "uint8",
    schema.TensorType.INT8: "int8",
    schema.TensorType.INT16: "int16",
    schema.TensorType.INT32: "int32",
    schema.TensorType.INT64: "int64",
    schema.TensorType.BOOL: "bool",
}
"""Type of a tensor in the file → its name."""


def named(content: bytes, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Any:
    """Return a file's content as an object, whose inputs and outputs have the checkpoint's names and order.

    Those are the names of its signature, too.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    (signature,), graph = model.signatureDefs, model.subgraphs[0]
    for tensors, maps, field in ((inputs, signature.inputs, "inputs"), (outputs, signature.outputs, "outputs")):
        places = {mapped.name.decode(): mapped.tensorIndex for mapped in maps}
        for tensor in tensors:
            graph.tensors[places[tensor.name]].name = tensor.name.encode()
        setattr(graph, field, [places[tensor.name] for tensor in tensors])
    return model


def too_small(model: Any) -> str:
    """Return why the converter left all weights of an object in float32; empty: it did not, or need not have."""
    weights = [
        (tensor.type, int(np.prod(tensor.shape, dtype=np.int64)))
        for tensor in model.subgraphs[0].tensors
        if model.buffers[tensor.buffer].data is not None and tensor.shape is not None
    ]
    if any(kind == schema.TensorType.INT8 or size >= LEAST_WEIGHT for kind, size in weights):
        return ""
    return (
        f"nothing is quantized: no weight has {LEAST_WEIGHT:,} values, and TFLite leaves smaller ones in float32. "
        "The file computes what float32 does"
    )


def content_of(model: Any) -> bytes:
    """Return the content of the file for an object."""
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def min_runtime_version(model: Any) -> str:
    """Return the oldest TFLite runtime whose operators the converter says it needs, `1.14.0`; empty: it says none."""
    for item in model.metadata or []:
        if item.name == b"min_runtime_version":
            return bytes(model.buffers[item.buffer].data).rstrip(b"\0").decode()
    return ""


def set_interface(model: Any, kind: int) -> None:
    """Give integer inputs and outputs another type, in place: uint8, which lies 128 beside int8, or float32.

    An operator at each input and output does it, where there is need: the quantizers leave what they compute in.
    """
    graph, (signature,) = model.subgraphs[0], model.signatureDefs
    for maps, places, incoming in ((signature.inputs, graph.inputs, True), (signature.outputs, graph.outputs, False)):
        for position, inner in enumerate(list(places)):
            tensor = copy.deepcopy(graph.tensors[inner])
            if tensor.type in {kind, schema.TensorType.FLOAT32}:  # the latter: a layer that was kept in float
                continue
            if not quantized(tensor):  # it stands for itself: an index, a class
                continue
            graph.tensors[inner].name += b"_inner"
            tensor.type, tensor.buffer = kind, 0
            if kind == schema.TensorType.UINT8:
                tensor.quantization.zeroPoint = [int(tensor.quantization.zeroPoint[0]) + 128]
            else:
                tensor.quantization = None
            outer = places[position] = len(graph.tensors)
            graph.tensors.append(tensor)
            operator = schema.OperatorT()
            operator.inputs, operator.outputs = ([outer], [inner]) if incoming else ([inner], [outer])
            to_float = kind == schema.TensorType.FLOAT32 and not incoming
            operator.opcodeIndex = operator_code(model, "DEQUANTIZE" if to_float else "QUANTIZE")
            graph.operators.insert(0 if incoming else len(graph.operators), operator)
            for mapped in maps:
                mapped.tensorIndex = outer if mapped.tensorIndex == inner else mapped.tensorIndex


def quantized(tensor: Any) -> bool:
    """True if a tensor's integers stand for other numbers."""
    return (
        tensor.quantization is not None and tensor.quantization.scale is not None and len(tensor.quantization.scale) > 0
    )


def operator_code(model: Any, name: str) -> int:
    """Return the index of an operator's kind among the model's, which it is added to if it is not there."""
    number = getattr(schema.BuiltinOperator, name)
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == number and code.version >= VERSIONS[name]:
            return index
    added = schema.OperatorCodeT()
    added.builtinCode = added.deprecatedBuiltinCode = number
    added.version = VERSIONS[name]
    model.operatorCodes.append(added)
    return len(model.operatorCodes) - 1


def described(
    model: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return inputs and outputs with the types and the quantization that they have in the file."""
    graph = model.subgraphs[0]

    def in_file(tensor: Tensor, index: int) -> Tensor:
        actual = graph.tensors[index]
        dtype = TYPES[actual.type]
        if not quantized(actual):
            return replace(tensor, dtype=dtype)
        scale, zero = float(actual.quantization.scale[0]), int(actual.quantization.zeroPoint[0])
        limits = np.iinfo(dtype)
        span = None if tensor.range is None else (float(limits.min), float(limits.max))
        return replace(tensor, dtype=dtype, scale=scale, zero_point=zero, range=span)

    return tuple(map(in_file, inputs, graph.inputs)), tuple(map(in_file, outputs, graph.outputs))


def with_labels(content: bytes, opened: Checkpoint, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> bytes:
    """Return a file's content with TFLite Metadata: labels, names, and the scale of the pixels.

    An app divides bytes by 255, whatever the model's normalisation, which is inside.
    """
    if head := opened.head():
        return _raw(content, opened, inputs, head)
    boxes = opened.task in OF_BOXES
    said = f"{', '.join(tensor.name for tensor in outputs)} are not normalised (no softmax)."
    found = "boxes are x and y of two corners in pixels of the input; what is behind count is none."
    description = Description(opened.task, found if boxes else said, opened.sha256[:12])
    labelled = "labels" if boxes else outputs[0].name
    described_outputs = [
        TensorMetadata(tensor.name, labelled=("values" if boxes else "axis") if tensor.name == labelled else "")
        for tensor in outputs
    ]
    custom = segmenter() if opened.task == "segmentation" else {}
    return with_metadata(content, description, images(inputs), described_outputs, opened.labels, custom)


def _raw(content: bytes, opened: Checkpoint, inputs: Sequence[Tensor], head: Head) -> bytes:
    """Return the content of a detector's raw head with what MediaPipe's ObjectDetector makes boxes by."""
    said = "location is y, x, height and width, relative to an anchor; decoding.json has the anchors."
    outputs = [BoxesMetadata("location"), TensorMetadata("score", labelled="axis")]
    description = Description("detection", said, opened.sha256[:12])
    return with_metadata(content, description, images(inputs), outputs, head.labels, detector(head))


def with_boxes(content: bytes, opened: Checkpoint, inputs: Sequence[Tensor]) -> bytes:
    """Return a detector's content with the metadata that MediaPipe's ObjectDetector finds its four outputs by."""
    found = "boxes are left, top, right and bottom as shares of the picture's sides."
    outputs = [
        BoxesMetadata("location"),
        TensorMetadata("score"),
        TensorMetadata("category", labelled="values"),
        TensorMetadata("number of detections"),
    ]
    description = Description(opened.task, found, opened.sha256[:12])
    return with_metadata(content, description, images(inputs), outputs, opened.labels)


def without_metadata(model: Any) -> Any:
    """Return an object without the TFLite Metadata that its file has, and without the buffer that holds it."""
    for item in [item for item in model.metadata or [] if item.name == METADATA_NAME.encode()]:
        model.buffers[item.buffer].data = None
        model.metadata.remove(item)
    return model


def images(inputs: Sequence[Tensor]) -> list[TensorMetadata]:
    """Return what an app is told of inputs: that it divides the bytes of pictures by 255."""
    return [
        ImageMetadata(tensor.name) if tensor.channels == "RGB" else TensorMetadata(tensor.name) for tensor in inputs
    ]
