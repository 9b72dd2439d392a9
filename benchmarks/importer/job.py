"""Both ways from one ONNX file to a SavedModel and on to TFLite, timed. Runs where the target saved_model does.

compare("…/onnx/float32/model.onnx", "…/checkpoint", "importer", "/tmp/ours")
latencies("/tmp/ours/model.tflite", "/tmp/theirs/model.tflite")
"""

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from export import self_check
from export.graphs import by_onnx2tf
from export.graphs.saved_model_case import Case, measured
from export.graphs.saved_model_file import transposes
from export.graphs.saved_model_ways import by_importer, by_other
from export.graphs.tflite_converter import from_saved_model
from pipeline.checkpoint import Checkpoint

PAIRS = 60
WARM_UP = 10


def compare(source: str, checkpoint: str, way: str, out: str) -> dict[str, Any]:
    """One way; → seconds to a SavedModel that is right, its SQNR against ONNX Runtime, transposes and batch.

    way: importer, or onnx2tf, of whose ways the first counts that is right; the seconds are those of all it tries.
    """
    case = Case.of(Path(source), Checkpoint.open(Path(checkpoint)))
    others = [by_other(other) for other in by_onnx2tf.WAYS]
    ways: list[Any] = [by_importer] if way == "importer" else [*others]
    start, reason = time.perf_counter(), ""
    for number, make in enumerate(ways):
        place = Path(out) / str(number)
        try:
            single, _ = make(case, place)
            seconds = time.perf_counter() - start
            ratios = measured(case, place)
        except Exception as error:  # noqa: BLE001  # onnx2tf raises whatever its rules run into
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            continue
        if max(ratios.values()) < case.allowed_db:
            reason = f"{max(ratios.values()):.0f} dB"
            continue
        model = from_saved_model(place, {})
        (Path(out) / "model.tflite").write_bytes(model)
        return {
            "seconds": seconds,
            "sqnr_db": self_check.rounded(ratios["onnx"]),
            "transposes": transposes(place),
            "batch": "one by one" if single else "any",
            "bytes": len(model),
        }
    return {"seconds": time.perf_counter() - start, "reason": reason[:120]}


def latencies(first: str, second: str) -> list[float]:
    """Median milliseconds of one image in each file, in LiteRT with XNNPACK on one thread, call by call in turn."""
    calls = [_call(path) for path in (first, second)]
    taken: list[list[float]] = [[], []]
    for turn in range(WARM_UP + PAIRS):
        for call, times in zip(calls, taken, strict=True):
            start = time.perf_counter()
            call()
            if turn >= WARM_UP:
                times.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(times) for times in taken]


def _call(path: str) -> Any:
    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    (tensor,) = interpreter.get_input_details()
    image = np.random.default_rng(0).random(tuple(tensor["shape"]), np.float32)
    interpreter.set_tensor(tensor["index"], image)
    return interpreter.invoke
