"""TFLite for MediaPipe's ObjectDetector on Android, iOS and the web: the TFLite file of a detector, its outputs in the
form that this task reads.

Boxes are shares of the picture's sides, and all outputs are floats. For other tasks of MediaPipe's the TFLite file is
right as it is.
"""

from pathlib import Path
from typing import Any

from ai_edge_litert.tools import flatbuffer_utils

from export.graphs.tensorflow import fixed, narrow, nhwc
from export.graphs.tflite_boxes import shared
from export.graphs.tflite_interface import content_of, described, min_runtime_version, with_boxes, without_metadata
from pipeline.checkpoint import Checkpoint
from records.tensor import tensors_to

TOOLCHAIN = "tensorflow"
SOURCES = {
    "float32": "tflite/float32",
    "float16": "tflite/float16",
    "int8_dynamic": "tflite/int8_dynamic",
    "int8": "tflite/int8",
}
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""That of the target tflite, whose worker it shares."""
TASKS = ["detection"]

ENTRY = "model.tflite"
BATCH = 1


def convert(source: Path, checkpoint: Path, precision: str, out: Path) -> dict[str, Any]:
    """Write `model.tflite` of tflite's, with the metadata of MediaPipe's ObjectDetector. Raises ValueError.

    source: the file of the target tflite of that precision.
    """
    opened, place = Checkpoint.open(Path(checkpoint)), Path(out) / ENTRY
    golden = opened.golden()
    inputs, outputs = (
        tuple(narrow(nhwc(fixed(tensor, arrays[tensor.name].shape), BATCH)) for tensor in tensors)
        for tensors, arrays in ((opened.inputs, golden.inputs), (opened.outputs, golden.outputs))
    )
    if len(inputs) != 1 or inputs[0].channels != "RGB":
        raise ValueError("MediaPipe gives a detector one picture and nothing else. Leave this target out.")
    _, height, width, _ = inputs[0].shape
    model = without_metadata(flatbuffer_utils.read_model_from_bytearray(bytearray(Path(source).read_bytes())))
    shared(model, (int(height), int(width)))
    inputs, outputs = described(model, inputs, outputs)
    place.write_bytes(with_boxes(content_of(model), opened, inputs))
    return {
        "entry": ENTRY,
        "details": {"min_runtime_version": min_runtime_version(model)},
        "inputs": tensors_to(inputs),
        "outputs": tensors_to(outputs),
    }
