"""ONNX in ONNX Runtime on the CPU, with all its graph optimizations, as a server runs it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime

from records.tensor import Arrays

TOOLCHAIN = "torch"


def version() -> str:
    """Return the version of the runtime."""
    return str(onnxruntime.__version__)


def activate(path: Path, manifest: dict[str, Any], threads: int, backend: str) -> Callable[[Arrays], Arrays]:
    """Load once; infer takes and gives float32 arrays by the manifest's names."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def infer(inputs: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, inputs), strict=True))

    return infer
