"""TorchScript files taken apart: the constants of a frozen graph."""

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from safetensors.torch import load_file, save_file

TOOLCHAIN = "torch"

EXTRA = ("labels.txt", "checkpoint_sha256")


def _load(path: str) -> tuple[Any, dict[str, Any]]:
    extra = dict.fromkeys(EXTRA, "")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", FutureWarning)
        return torch.jit.load(path, _extra_files=extra), extra


def _constants(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for node in model.graph.nodes():
        if node.kind() == "prim::Constant" and isinstance(value := node.output().toIValue(), torch.Tensor):
            yield node.output().debugName(), value


def read(path: str, out: str) -> None:
    """Every constant by its name in the graph."""
    save_file({name: value.contiguous().clone() for name, value in _constants(_load(path)[0])}, out)


def write(path: str, changed: str) -> None:
    """Constants by the names of `read`."""
    model, extra = _load(path)
    values = load_file(changed)
    for name, own in _constants(model):
        if name in values:
            own.copy_(values[name])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", FutureWarning)
        torch.jit.save(model, path, _extra_files=extra)
