"""A SavedModel to a TFLite model by TensorFlow's converter, and the outputs of such a model.

model = from_saved_model(Path("…/saved_model/float32"), {})
run(model, {"image": (N, H, W, 3)})          # {"logits": (N, classes)}
"""

import json
import re
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from export.graphs.operators import inexpressible, modules
from export.graphs.tensorflow import save_single
from records.tensor import Arrays
from workers import memory

SIGNATURE = "serving_default"
SHAPES = "shapes"
"""Name of golden's shapes in a SavedModel's manifest."""


@lru_cache(maxsize=1)
def _converter_folder(source: Path) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    save_single(source, Path(folder.name), shapes_beside(source))
    memory.release()
    return folder


def shapes_beside(artifact: Path) -> dict[str, tuple[int, ...]]:
    """Return golden's shape of one sample by input, as TensorFlow has it, from the manifest beside a SavedModel."""
    manifest = json.loads((artifact.parent / "manifest.json").read_text(encoding="utf-8"))
    return {name: tuple(shape) for name, shape in manifest["details"].get(SHAPES, {}).items()}


def from_saved_model(source: Path, settings: dict[str, Any], calibration: Arrays | None = None) -> bytes:
    """Return the model that TFLiteConverter makes of a SavedModel with a batch of one. Raises Inexpressible."""
    converter = tf.lite.TFLiteConverter.from_saved_model(_converter_folder(source).name)
    for name, value in settings.items():
        setattr(converter, name, value)
    if calibration is not None:
        converter.representative_dataset = lambda: rows(calibration)
    try:
        model: bytes = converter.convert()
        memory.release()  # as much as the model twenty times over
    except Exception as error:
        missing = re.search(r"(?:TF Select|Custom) ops: ([\w, ]+)", str(error))
        if missing:
            operators = [name.strip() for name in missing[1].split(",")]
            raise inexpressible("TFLite", modules(operators, source)) from error
        raise
    return model


@lru_cache(maxsize=1)
def exact(source: Path) -> bytes:
    """Return the float32 model."""
    return from_saved_model(source, {})


def rows(arrays: Arrays) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    """Yield one sample after the other, each with a batch axis of one."""
    for index in range(len(next(iter(arrays.values())))):
        yield {name: values[index : index + 1] for name, values in arrays.items()}


def run(model: bytes, arrays: Arrays) -> Arrays:
    """Return the outputs for each sample in turn, by the plain kernels; integers become the numbers they stand for."""
    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    runner = interpreter.get_signature_runner(SIGNATURE)
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    parts = []
    for row in rows(arrays):
        results = runner(**{name: quantized(value, inputs[name]) for name, value in row.items()})
        parts.append({name: dequantized(value, outputs[name]) for name, value in results.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in outputs}


def quantized(value: np.ndarray[Any, Any], detail: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return float32 values in the tensor's own type."""
    scale, zero = detail["quantization"]
    if not scale or detail["dtype"] == np.float32:
        return value
    limits = np.iinfo(detail["dtype"])
    steps: np.ndarray[Any, Any] = np.clip(np.round(value / scale) + zero, limits.min, limits.max)
    return steps.astype(detail["dtype"])


def dequantized(value: np.ndarray[Any, Any], detail: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return values of the tensor's own type in float32."""
    scale, zero = detail["quantization"]
    if not scale or detail["dtype"] == np.float32:
        return value
    numbers: np.ndarray[Any, Any] = (value.astype(np.float32) - zero) * scale
    return numbers.astype(np.float32)
