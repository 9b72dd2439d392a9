"""TorchScript in libtorch, through torch.jit.load: without the Python code the model came from."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from records.tensor import Arrays

TOOLCHAIN = "torch"


def version() -> str:
    """Return the version of the runtime."""
    return str(torch.__version__)


def activate(path: Path, manifest: dict[str, Any], threads: int, backend: str) -> Callable[[Arrays], Arrays]:
    """Load once; inputs go in by position, outputs come out by position."""
    torch.set_num_threads(threads)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", FutureWarning)
        model = torch.jit.load(str(path), map_location="cpu")

    def infer(inputs: Arrays) -> Arrays:
        with torch.inference_mode():
            values = model(*(torch.from_numpy(inputs[tensor["name"]]) for tensor in manifest["inputs"]))
        values = values if isinstance(values, tuple) else (values,)
        return {tensor["name"]: value.numpy() for tensor, value in zip(manifest["outputs"], values, strict=True)}

    return infer
