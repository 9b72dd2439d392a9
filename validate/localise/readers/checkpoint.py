"""Reads the reference: what every module of the checkpoint's model returns, in PyTorch, float32, on the CPU."""

from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import save_file
from torch import nn

from export.graphs.layers import NORMALISATION, ROOT
from pipeline.checkpoint import Checkpoint

TOOLCHAIN = "torch"


def collect(path: str, samples: int, out: str) -> list[dict[str, Any]]:
    """Return the calls of modules in the order in which they ended: module, call, kind and whether it is a leaf.

    path: the checkpoint's folder. Writes the values of the i-th call, (N, …) float32, to `out` as `i`.
    """
    opened = Checkpoint.open(Path(path))
    golden = opened.golden()
    inputs = [torch.from_numpy(golden.inputs[tensor.name][:samples]) for tensor in opened.inputs]
    network = opened.model()
    (inner,) = network.children()
    records: list[dict[str, Any]] = []
    values: dict[str, Any] = {}
    calls: dict[str, int] = {}

    def keep(name: str, kind: str, leaf: bool, value: Any) -> None:
        calls[name] = calls.get(name, -1) + 1
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            values[str(len(records))] = value.detach().contiguous().clone().numpy()
            records.append({"module": name, "call": calls[name], "kind": kind, "leaf": leaf})

    def watch(name: str, module: nn.Module) -> None:
        leaf = next(module.children(), None) is None
        module.register_forward_hook(lambda _, arguments, value: keep(name, type(module).__name__, leaf, value))

    inner.register_forward_pre_hook(lambda _, arguments: keep(NORMALISATION, "", True, arguments[0]))
    for name, module in inner.named_modules():
        watch(name or ROOT, module)
    with torch.no_grad():
        network(*inputs)
    save_file(values, out)
    return records
