"""TFLite, for Android, iOS and microcontrollers: one image at a time, NHWC, in five precisions.

Whole integers come from the quantizer that does this model the least harm: TensorFlow's converter or AI Edge Quantizer.
The int8 model takes and gives uint8; its input has scale 1/255, so an app passes camera bytes.
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from export import self_check
from export.graphs import layers
from export.graphs.tensorflow import nhwc
from export.graphs.tflite_converter import exact, from_saved_model
from export.graphs.tflite_lint import lint, record
from export.graphs.tflite_metadata import Description, ImageMetadata, TensorMetadata, with_metadata
from export.quantize.calibration import calibration, provenance
from export.quantize.tflite import OPTIMIZED, WHOLE_INTEGER, best, partly
from measures import tasks
from pipeline.checkpoint import Checkpoint
from records.tensor import Arrays, Tensor

TOOLCHAIN = "tensorflow"
SOURCES = {
    "float32": "saved_model/float32",
    "float16": "saved_model/float32",
    "int8_dynamic": "saved_model/float32",
    "int8": "saved_model/float32",
    "int8_int16": "saved_model/float32",
}
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""That of the target saved_model, whose worker it shares."""
KEEPS_FLOAT = ["int8", "int8_int16"]
ENTRY = "model.tflite"


def convert(
    source: Path, checkpoint: Path, precision: str, out: Path, keep_float: Sequence[str] = ()
) -> dict[str, Any]:
    """saved_model/float32's folder → `model.tflite`, with labels and the pixels' scale as TFLite Metadata."""
    opened = Checkpoint.open(Path(checkpoint))
    inputs = tuple(one_sample(nhwc(tensor)) for tensor in opened.inputs)
    outputs = tuple(one_sample(nhwc(tensor)) for tensor in opened.outputs)
    self_check.fits(opened, "TFLite's flatbuffer")
    details: dict[str, Any] = {}
    said: dict[str, Any] = {}
    findings: list[str] = []
    if precision in WHOLE_INTEGER:
        details = provenance(calibration(opened))
    if precision in WHOLE_INTEGER and keep_float:
        model, said, findings = partly(Path(source), samples(opened), precision, keep_float, tasks.load(opened.task))
    elif precision in WHOLE_INTEGER:
        model, said = best(Path(source), samples(opened), precision)
    else:
        model = from_saved_model(Path(source), PLAIN[precision]) if PLAIN[precision] else exact(Path(source))
    found = named(model, inputs, outputs)
    details |= said
    details["min_runtime_version"] = min_runtime_version(found)
    if precision in WHOLE_INTEGER:
        set_interface(found, WHOLE_INTEGER[precision].outside)
    inputs, outputs = described(found, inputs, outputs)
    content = bytes(flatbuffer_utils.convert_object_to_bytearray(found))
    place = Path(out) / ENTRY
    place.write_bytes(with_labels(content, opened, inputs, outputs))
    seen = lint(found, place, layers.beside(Path(source)))
    return {
        "entry": ENTRY,
        "findings": findings + seen.findings,
        "details": details | {"lint": record(seen)},
        "inputs": [asdict(tensor) for tensor in inputs],
        "outputs": [asdict(tensor) for tensor in outputs],
    }


def one_sample(tensor: Tensor) -> Tensor:
    """Apps give one image, and with a fixed batch every shape is known, which delegates want."""
    return replace(tensor, shape=(1, *tensor.shape[1:]))


def samples(opened: Checkpoint) -> Arrays:
    """Calibration as TensorFlow lays it out, (N, H, W, 3). Every input's range reaches what the checkpoint states."""
    found = {}
    for tensor in opened.inputs:
        values = calibration(opened)[tensor.name]
        values = np.ascontiguousarray(np.moveaxis(values, 1, 3)) if tensor.layout == "NCHW" else values.copy()
        if tensor.range is not None:  # two corner values of the first sample: the step is to be 1/255 exactly
            values[0].flat[0], values[0].flat[-1] = tensor.range
        found[tensor.name] = values
    return found


PLAIN: dict[str, dict[str, Any]] = {
    "float32": {},
    "float16": OPTIMIZED | {"target_spec": tf.lite.TargetSpec(supported_types=[tf.float16])},
    # One scale per dense layer, not per row: the latter is FULLY_CONNECTED version 12, which tflite-runtime 2.14
    # refuses, and costs no accuracy (37.2 instead of 36.4 dB on efficientnet_b0, 44.9 of 44.8 on resnet18). AI Edge
    # Quantizer's is no choice here: 2.14 loads it and returns garbage.
    "int8_dynamic": OPTIMIZED | {"_experimental_disable_per_channel_quantization_for_dense_layers": True},
}


def named(model: bytes, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Any:
    """The model as an object, whose input and output tensors have the checkpoint's names, like its signature."""
    found = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    (signature,) = found.signatureDefs
    graph = found.subgraphs[0]
    for tensors, maps, field in ((inputs, signature.inputs, "inputs"), (outputs, signature.outputs, "outputs")):
        places = {mapped.name.decode(): mapped.tensorIndex for mapped in maps}
        for tensor in tensors:
            graph.tensors[places[tensor.name]].name = tensor.name.encode()
        setattr(graph, field, [places[tensor.name] for tensor in tensors])
    return found


def min_runtime_version(model: Any) -> str:
    """The oldest TFLite runtime whose operators the converter says it needs: `1.14.0`."""
    for item in model.metadata or []:
        if item.name == b"min_runtime_version":
            return bytes(model.buffers[item.buffer].data).rstrip(b"\0").decode()
    return ""


def set_interface(model: Any, kind: int) -> None:
    """Integer inputs and outputs → `kind`: uint8, which lies 128 beside int8, or float32.

    An operator at each does it, where there is need: the quantizers leave what they compute in.
    """
    graph, (signature,) = model.subgraphs[0], model.signatureDefs
    for maps, places, incoming in ((signature.inputs, graph.inputs, True), (signature.outputs, graph.outputs, False)):
        for position, inner in enumerate(list(places)):
            tensor = copy.deepcopy(graph.tensors[inner])
            if tensor.type in {kind, schema.TensorType.FLOAT32}:  # the latter: a layer that was kept in float
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
            operator.opcodeIndex = _code(model, "DEQUANTIZE" if to_float else "QUANTIZE")
            graph.operators.insert(0 if incoming else len(graph.operators), operator)
            for mapped in maps:
                mapped.tensorIndex = outer if mapped.tensorIndex == inner else mapped.tensorIndex


VERSIONS = {"QUANTIZE": 2, "DEQUANTIZE": 3}
"""The first of each operator that takes int16."""


def _code(model: Any, name: str) -> int:
    number = getattr(schema.BuiltinOperator, name)
    for index, one in enumerate(model.operatorCodes):
        if one.builtinCode == number and one.version >= VERSIONS[name]:
            return index
    made = schema.OperatorCodeT()
    made.builtinCode = made.deprecatedBuiltinCode = number
    made.version = VERSIONS[name]
    model.operatorCodes.append(made)
    return len(model.operatorCodes) - 1


TYPES = {schema.TensorType.FLOAT32: "float32", schema.TensorType.UINT8: "uint8", schema.TensorType.INT8: "int8"}


def described(
    model: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What the manifest says: types and quantization as they are in the file."""
    graph = model.subgraphs[0]

    def one(tensor: Tensor, index: int) -> Tensor:
        actual = graph.tensors[index]
        dtype = TYPES[actual.type]
        if dtype == "float32":
            return tensor
        scale, zero = float(actual.quantization.scale[0]), int(actual.quantization.zeroPoint[0])
        limits = np.iinfo(dtype)
        spread = None if tensor.range is None else (float(limits.min), float(limits.max))
        return replace(tensor, dtype=dtype, scale=scale, zero_point=zero, range=spread)

    return (
        tuple(map(one, inputs, graph.inputs)),
        tuple(map(one, outputs, graph.outputs)),
    )


def with_labels(model: bytes, opened: Checkpoint, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> bytes:
    """With TFLite Metadata: an app divides bytes by 255, whatever the model's normalisation, which is inside."""
    description = Description(
        opened.task,
        f"{', '.join(tensor.name for tensor in outputs)} are not normalised (no softmax).",
        opened.sha256[:12],
    )
    images = [
        ImageMetadata(tensor.name) if tensor.channels == "RGB" else TensorMetadata(tensor.name) for tensor in inputs
    ]
    return with_metadata(model, description, images, [TensorMetadata(tensor.name) for tensor in outputs], opened.labels)
