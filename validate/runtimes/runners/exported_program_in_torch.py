"""A torch.export program (.pt2), loaded and called in PyTorch: without the Python code the model came from."""

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
    model = torch.export.load(path).module()

    def infer(inputs: Arrays) -> Arrays:
        with torch.no_grad():  # not inference_mode: the program's guards look at version counters
            values = model(*(torch.from_numpy(inputs[tensor["name"]]) for tensor in manifest["inputs"]))
        values = values if isinstance(values, tuple) else (values,)
        return {tensor["name"]: value.numpy() for tensor, value in zip(manifest["outputs"], values, strict=True)}

    return infer
