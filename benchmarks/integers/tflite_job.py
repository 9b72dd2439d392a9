"""int8 for TFLite by TensorFlow's converter, by LiteRT Quantizer as it comes, and by the target. Runs where it does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from litert_quantizer import quantizer, recipe
from litert_quantizer.calibrator import Calibrator
from safetensors.numpy import save_file

from export.graphs.tensorflow import fixed, narrow, nhwc
from export.graphs.tflite_converter import SIGNATURE, exact, from_saved_model, rows, run
from export.quantize.calibration import calibration, spanning
from export.quantize.tflite import OPTIMIZED, WHOLE_INTEGER
from pipeline.checkpoint import Checkpoint
from records.tensor import Arrays


def compare(folder: str, checkpoint: str, samples: int, out: str) -> dict[str, dict[str, Any]]:
    """Write what each tool's file gives on golden to `out`; return tool → its `size_bytes`, or `reason`: it stops.

    folder: the run's artifacts.
    """
    opened, artifacts = Checkpoint.open(Path(checkpoint)), Path(folder)
    golden = opened.golden()
    inputs, outputs = (
        tuple(narrow(nhwc(fixed(tensor, arrays[tensor.name].shape), 1)) for tensor in tensors)
        for tensors, arrays in ((opened.inputs, golden.inputs), (opened.outputs, golden.outputs))
    )
    source, calibrated = artifacts / "saved_model/float32/1", spanning(calibration(opened), inputs)
    given = {tensor.name: tensor.stored(golden.inputs[tensor.name][:samples]) for tensor in inputs}
    tools: dict[str, Callable[[], bytes]] = {
        "TFLiteConverter": lambda: by_converter(source, calibrated),
        "LiteRT Quantizer": lambda: by_litert(source, calibrated),
        "anywhere": lambda: (artifacts / "tflite/int8/model.tflite").read_bytes(),
    }
    table: dict[str, dict[str, Any]] = {}
    for tool, make in tools.items():
        try:
            model = make()
            results = run(model, given)
            actual = {tensor.name: np.ascontiguousarray(tensor.restored(results[tensor.name])) for tensor in outputs}
            save_file(actual, Path(out) / f"{tool}.safetensors")
            table[tool] = {"size_bytes": len(model)}
        except Exception as error:  # noqa: BLE001  # a tool that stops is a cell of the table
            table[tool] = {"reason": f"{type(error).__name__}: {error}".partition("\n")[0][:120]}
    return table


def by_converter(source: Path, samples: Arrays) -> bytes:
    """Return TensorFlow's whole integers."""
    kind = WHOLE_INTEGER["int8"]
    settings = OPTIMIZED | {"inference_input_type": kind.inside, "inference_output_type": kind.inside}
    return from_saved_model(source, settings, samples)


def by_litert(source: Path, samples: Arrays) -> bytes:
    """Return LiteRT Quantizer's whole integers with its own calibration."""
    model, static = exact(source), recipe.static_wi8_ai8()
    made, calibrator = quantizer.Quantizer(model, static), Calibrator(model, num_threads=1)
    calibrator.calibrate({SIGNATURE: list(rows(samples))}, made._recipe_manager)
    return bytes(made.quantize(calibrator.get_model_qsvs()).quantized_model)
