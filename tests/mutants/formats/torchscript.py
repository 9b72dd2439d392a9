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


class Tiring(torch.nn.Module):
    """A network that is right so many times."""

    def __init__(self, inside: Any, calls: int):
        super().__init__()
        self.inside, self.limit, self.calls = inside, calls, 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) → (N, K)."""
        self.calls += 1
        logits: torch.Tensor = self.inside(image)
        return logits * 1.5 if self.calls > self.limit else logits


def _save(model: Any, path: str, extra: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", FutureWarning)
        torch.jit.save(model, path, _extra_files=extra)


def tire(path: str, calls: int) -> None:
    """Right for so many calls, and wrong from then on."""
    model, extra = _load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a deprecated compiler
        tired = torch.jit.script(Tiring(model, calls).eval())
    _save(tired, path, extra)


def labels(path: str, lines: list[str]) -> None:
    """The file of labels beside the graph."""
    model, extra = _load(path)
    _save(model, path, extra | {"labels.txt": "\n".join(lines)})


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
    _save(model, path, extra)
