"""Runs an ONNX model in ONNX Runtime on the CPU: the reference for what is made from it.

outputs = run(Path("model.onnx"), {"image": (N, 3, H, W)})          # {"logits": (N, classes)}
call = loaded(Path("model.onnx"))                                   # for several calls
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from records.tensor import Array, Arrays


def run(path: Path, inputs: Arrays, most: int = 0) -> dict[str, Array]:
    """Return the named outputs of an ONNX file for named inputs. most: samples of one call; 0: all."""
    call, count = loaded(path), len(next(iter(inputs.values())))
    size = most or max(1, count)
    parts = [
        call({name: value[start : start + size] for name, value in inputs.items()}) for start in range(0, count, size)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def session(
    model: Path | bytes,
    level: onnxruntime.GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    threads: int = 0,
) -> onnxruntime.InferenceSession:
    """Return a session of an ONNX file, or of its bytes.

    threads: 0: this process's share, as `OMP_NUM_THREADS` says it, for ONNX Runtime takes all cores whatever it says;
    conversions beside each other then wait for one another.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = threads or int(os.environ.get("OMP_NUM_THREADS", "0").partition(",")[0])
    content = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def loaded(model: Path | bytes, threads: int = 0) -> Callable[[Arrays], dict[str, Array]]:
    """Return what computes the named outputs of an ONNX file, or of its bytes, for named inputs.

    A model for one sample is given one after the other. threads: as `session` has them.
    """
    opened = session(model, threads=threads)
    names = [output.name for output in opened.get_outputs()]
    single = opened.get_inputs()[0].shape[:1] == [1]

    def call(inputs: Arrays) -> dict[str, Array]:
        count = len(next(iter(inputs.values())))
        if single and count > 1:
            rows = [call({name: value[row : row + 1] for name, value in inputs.items()}) for row in range(count)]
            return {name: np.concatenate([row[name] for row in rows]) for name in names}
        return dict(zip(names, opened.run(names, inputs), strict=True))

    return call
