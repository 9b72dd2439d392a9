"""Runs images through a model file whoever wrote it: names, layout and batch are read from the file.

Runs in toolchains: for models with one input, an image, and one output. `images` and `out` are .npy files, (N, 3, H, W)
float32 and (N, K) float32. Each function returns the batch the file takes: "any" or a number.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from records.tensor import Array


def onnx(path: str, images: str, out: str) -> str:
    """Run images in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return _collect(lambda batch: session.run(None, {given.name: batch})[0], given.shape, images, out)


def saved_model(path: str, images: str, out: str) -> str:
    """Run images in TensorFlow, by the signature that TensorFlow Serving would call."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    if "serving_default" not in loaded.signatures:
        raise ValueError("it has no signature serving_default")
    signature = loaded.signatures["serving_default"]
    ((name, spec),) = signature.structured_input_signature[1].items()

    def infer(batch: Array) -> Any:
        (result,) = signature(**{name: tf.constant(batch)}).values()
        return result.numpy()

    return _collect(infer, spec.shape.as_list(), images, out)


def tflite(path: str, images: str, out: str) -> str:
    """Run images in LiteRT on the CPU."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path)
    (given,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()

    def infer(batch: Array) -> Any:
        interpreter.resize_tensor_input(given["index"], batch.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], _to_integers(batch, given))
        interpreter.invoke()
        return _from_integers(interpreter.get_tensor(gives["index"]), gives)

    return _collect(infer, list(given["shape_signature"]), images, out)


def _to_integers(values: Array, details: Any) -> Any:
    if details["dtype"] == np.float32:
        return values
    scale, zero = details["quantization"]
    limits = np.iinfo(details["dtype"])
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(details["dtype"])


def _from_integers(values: Array, details: Any) -> Any:
    if details["dtype"] == np.float32:
        return values
    scale, zero = details["quantization"]
    return (values.astype(np.float32) - zero) * scale


def _collect(infer: Callable[[Array], Any], shape: Sequence[Any], images: str, out: str) -> str:
    """Run all images in batches that the file takes, in its layout; return the outputs as (N, K) float32."""
    values = np.load(images)
    if shape[1] != values.shape[1]:
        values = np.ascontiguousarray(np.moveaxis(values, 1, 3))
    fixed = isinstance(shape[0], int | np.integer) and shape[0] > 0
    step = int(shape[0]) if fixed else len(values)
    parts = [np.asarray(infer(values[start : start + step])) for start in range(0, len(values), step)]
    np.save(out, np.concatenate(parts).astype(np.float32))
    return str(step) if fixed else "any"
