"""TFLite, for Android, iOS and microcontrollers: one image at a time, NHWC, in six precisions.

Whole integers are made from ONNX, whose weights and channels are prepared for them, by LiteRT Quantizer in ranges of
ours; TensorFlow's quantizer is tried where that takes other decisions.
The int8 model takes and gives uint8; its input has scale 1/255, so an app passes camera bytes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from ai_edge_litert.tools import flatbuffer_utils

from export import self_check
from export.graphs import layers
from export.graphs.onnx_runtime import loaded
from export.graphs.tensorflow import fixed, narrow, nhwc
from export.graphs.tflite_converter import exact, from_saved_model, run
from export.graphs.tflite_halves import with_floats
from export.graphs.tflite_interface import (
    content_of,
    described,
    min_runtime_version,
    named,
    set_interface,
    too_small,
    with_labels,
)
from export.graphs.tflite_lint import lint, record
from export.quantize.calibration import calibration, provenance, spanning
from export.quantize.prepared_saved_model import of_checkpoint, saved
from export.quantize.tflite import OPTIMIZED, WHOLE_INTEGER, best, partly, places, weights_only
from measures import tasks
from pipeline.checkpoint import Checkpoint
from records.tensor import Arrays, Tensor, tensors_to

TOOLCHAIN = "tensorflow"
SOURCES = {
    "float32": "saved_model/float32",
    "float16": "saved_model/float32",
    "int8_dynamic": "saved_model/float32",
    "int8_weights": "onnx/float32",
    "int8": "onnx/float32",
    "int8_int16": "onnx/float32",
}
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""That of the target saved_model, whose worker it shares."""
KEEPS_FLOAT = ["int8", "int8_int16"]
KEEPS_16 = ["int8"]
INSTEAD = {"int8_dynamic": "int8_weights"}

ENTRY = "model.tflite"
BATCH = 1
"""Apps give one image, and delegates want every size to be known."""
PLAIN: dict[str, dict[str, Any]] = {
    "float32": {},
    "float16": OPTIMIZED | {"target_spec": tf.lite.TargetSpec(supported_types=[tf.float16])},
    # One scale per dense layer, not per row: the latter is FULLY_CONNECTED version 12, which tflite-runtime 2.14
    # refuses, and costs no accuracy (37.2 instead of 36.4 dB on efficientnet_b0, 44.9 of 44.8 on resnet18). LiteRT
    # Quantizer's is no choice here: 2.14 loads it and returns garbage.
    "int8_dynamic": OPTIMIZED | {"_experimental_disable_per_channel_quantization_for_dense_layers": True},
}
"""Precisions whose activations are floats → the converter's settings."""
WEIGHTS_ONLY = "int8_weights"
"""Weights of 8 bits that are made floats again before anything is computed: where `int8_dynamic`, which makes integers
of every layer's input as it comes, loses too much."""


def convert(
    source: Path,
    checkpoint: Path,
    precision: str,
    out: Path,
    keep_float: Sequence[str] = (),
    keep_16: Sequence[str] = (),
) -> dict[str, Any]:
    """Write `model.tflite`, with labels and the pixels' scale as TFLite Metadata.

    source: saved_model/float32's folder, or onnx/float32's file, which is prepared first: see `SOURCES`.
    """
    opened, source, place = Checkpoint.open(Path(checkpoint)), Path(source), Path(out) / ENTRY
    golden, task = opened.golden(), tasks.load(opened.task)
    inputs, outputs = (
        tuple(narrow(nhwc(fixed(tensor, arrays[tensor.name].shape), BATCH)) for tensor in tensors)
        for tensors, arrays in ((opened.inputs, golden.inputs), (opened.outputs, golden.outputs))
    )
    self_check.fits(opened, "TFLite's flatbuffer")
    details: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    findings = one_size(opened, inputs)
    if precision in PLAIN:
        content = from_saved_model(source, PLAIN[precision]) if PLAIN[precision] else exact(source)
        if precision == "float16" and task.FLOAT_MODULES:
            modules = places(flatbuffer_utils.read_model_from_bytearray(bytearray(content)), source)
            floats = {name for name, one in modules.items() if one.partition(".")[0] in task.FLOAT_MODULES}
            content = with_floats(content, exact(source), floats)
    else:
        details = provenance(calibration(opened))
        samples = spanning(calibration(opened), inputs)
        prepared = of_checkpoint(source, Path(checkpoint))
        path, ready = prepared.corrected if precision == "int8" else prepared.rounded
        source = saved(path, Path(checkpoint))
        reference = referring(prepared.exact, opened.inputs, (*inputs, *outputs))
        if precision == WEIGHTS_ONLY:
            content = weights_only(source)
        elif keep_float or keep_16:
            content, chosen, repaired = partly(
                source,
                samples,
                precision,
                (keep_float, keep_16),
                task,
                reference,
                lambda: saved(prepared.exact, Path(checkpoint)),
            )
            findings += repaired
        else:
            content, chosen = best(source, samples, precision, task, reference)
        details |= ready | chosen
    if precision in {"int8_dynamic", WEIGHTS_ONLY, *WHOLE_INTEGER}:
        details |= self_check.built(golden, lambda arrays: computed(content, arrays, (*inputs, *outputs)), task)
    model = named(content, inputs, outputs)
    details["min_runtime_version"] = min_runtime_version(model)
    if precision == "int8_dynamic" and (why := too_small(model)):
        details["unquantized"] = why
        findings.append(why)
    if precision in WHOLE_INTEGER:
        set_interface(model, WHOLE_INTEGER[precision].outside)
    inputs, outputs = described(model, inputs, outputs)
    place.write_bytes(with_labels(content_of(model), opened, inputs, outputs))
    report = lint(model, place, layers.beside(source))
    return {
        "entry": ENTRY,
        "findings": findings + report.findings,
        "details": details | {"lint": record(report)},
        "inputs": tensors_to(inputs),
        "outputs": tensors_to(outputs),
    }


def computed(content: bytes, arrays: Arrays, tensors: Sequence[Tensor]) -> Arrays:
    """Return what LiteRT computes of a file for inputs (N, …); both are laid out as the checkpoint's."""
    named_tensors = {tensor.name: tensor for tensor in tensors}
    outputs = run(content, {name: named_tensors[name].stored(values) for name, values in arrays.items()})
    return {name: named_tensors[name].restored(values) for name, values in outputs.items()}


def referring(path: Path, given: Sequence[Tensor], tensors: Sequence[Tensor]) -> Callable[[Arrays], Arrays]:
    """Return what computes a float32 ONNX file as a TFLite file would: its inputs and outputs (N, …), laid out alike.

    given: the checkpoint's inputs. tensors: the TFLite file's.
    """
    call, named_tensors = loaded(path), {tensor.name: tensor for tensor in tensors}

    def computed(arrays: Arrays) -> Arrays:
        inputs = {one.name: named_tensors[one.name].restored(arrays[one.name]).astype(one.dtype) for one in given}
        return {name: named_tensors[name].stored(values) for name, values in call(inputs).items()}

    return computed


def one_size(opened: Checkpoint, inputs: Sequence[Tensor]) -> list[str]:
    """Return a finding where the model takes any height and width, and this format the one of golden alone."""
    fixed_inputs = [one for one, tensor in zip(inputs, opened.inputs, strict=True) if tensor.any_size]
    return [
        f"{one.name}: takes {'×'.join(map(str, one.shape[1:]))} alone, for TFLite plans its memory for one size; the "
        "model takes any height and width"
        for one in fixed_inputs
    ]
