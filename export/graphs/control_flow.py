"""Finds branches that Python takes by the values of an image: where they are in the user's code, and what to do.

    lines = decided_by_values(model, example)      # ["net.py:12: `if x.mean() > 0.5:`"]
    raise branch("ONNX", lines[0])

A trace keeps the branch that its example took, and is wrong on every image that takes another. What Python decides by
the sizes of an image is no such branch: they are the same for all images of an artifact, but for the batch.
"""

import traceback
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from export.graphs.operators import Inexpressible

REFUSALS = ("data-dependent expression", "data dependent expression", "Dynamic control flow", "torch.cond")
"""Words of PyTorch's errors where it will not export such a branch."""
READ = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)
"""Operators that give Python a value of a tensor: `if`, `int()`, `.item()`."""
NOT_THEIRS = (Path(torch.__file__).parent, Path(__file__).parents[1], Path(warnings.__file__))
"""Folders and files that hold no code of the user's: PyTorch, this room, and the warnings module."""


def branch(format_name: str, line: str, more: str = "") -> Inexpressible:
    """Return the error for a branch, in two lines: where it is and what to do.

    more: words behind the advice, such as why another way is not possible.
    """
    where = f": {line}" if line else ""
    return Inexpressible(
        f"{format_name} cannot hold a branch that Python takes by the values of an image{where}.\n"
        f"Choose between tensors there, with torch.where or torch.cond{more}."
    )


def refusal(format_name: str, error: BaseException) -> Inexpressible | None:
    """Return the error for a branch if that is why PyTorch refused to export; None: it was for another reason."""
    causes = [error]
    while following := causes[-1].__cause__:
        causes.append(following)
    if not any(words in str(cause) for cause in causes for words in REFUSALS):
        return None
    lines = [user_line(traceback.extract_tb(cause.__traceback__)) for cause in causes]
    return branch(format_name, next((line for line in reversed(lines) if line), ""))


def user_line(frames: Iterable[traceback.FrameSummary]) -> str:
    """Return the innermost line of a stack that is the user's, as `net.py:12: `code``; empty: there is none."""
    for frame in reversed(list(frames)):
        file = Path(frame.filename)
        if frame.line and not any(file.is_relative_to(folder) for folder in NOT_THEIRS):
            return f"{file.name}:{frame.lineno}: `{frame.line}`"
    return ""


def decided_by_values(model: nn.Module, example: Sequence[torch.Tensor]) -> list[str]:
    """Return the user's lines in which Python reads a value that depends on the example's values, or on chance.

    Sizes do not count: outside of a trace they are Python's own numbers and no tensor is asked.
    """
    with torch.no_grad(), _Watch(example) as watch:
        model(*example)
    return list(dict.fromkeys(watch.lines))


class _Watch(TorchDispatchMode):
    """A dispatch mode that follows what is computed from some tensors, by memory address, and notes who reads it."""

    def __init__(self, tensors: Iterable[torch.Tensor]):
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: list[str] = []
        self._alive: list[torch.Tensor] = []  # so that no memory is used twice
        self._followed: set[int] = set()
        self._follow(tensors)

    def _follow(self, values: Iterable[Any]) -> None:
        tensors = [value for value in values if isinstance(value, torch.Tensor)]
        self._alive += tensors
        self._followed |= {tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.numel()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and follow its result if anything it takes is followed."""
        result = func(*args, **(kwargs or {}))
        arguments = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        followed = any(tensor.untyped_storage().data_ptr() in self._followed for tensor in arguments)
        if func in READ and followed:
            self.lines.append(user_line(traceback.extract_stack()))
        if followed or torch.Tag.nondeterministic_seeded in func.tags:
            self._follow(tree_leaves(result))
        return result
