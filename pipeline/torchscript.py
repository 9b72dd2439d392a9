"""Makes TorchScript of a model that `torch.export` refuses: by trace, or by script where a trace would lose a branch.

    module = faithful(model, example, evidence)

It is made where the model's module can be imported, and lies in the checkpoint in the program's place. A trace keeps
one way of every branch. Where PyTorch warns of one, the model is looked into: what the sizes of an input decide may be
kept; of what its values decide, only `torch.jit.script` keeps both ways.
"""

import copy
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.jit._trace import TracerWarning
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from measures.distance import sqnr_db
from measures.tolerance import SAME_DB
from pipeline.program import BRANCH, CHOOSE, FOR_ONE_SIZE, USE_SIZES, Refusal, Refused, user_line
from records.tensor import Array

READ_WHOLE = ("Python list", "NumPy array")
"""Words of PyTorch's warning of values that leave their tensor all at once, which no operator sees."""
READ = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)
"""Operators that give Python a value of a tensor: `if`, `int()`, `.item()`."""
FLOORS = 64
"""Noise floors that an output on a pattern may be off: measures/tolerance.py has the reason."""

Evidence = Sequence[tuple[tuple[torch.Tensor, ...], Sequence[float]]]
"""Inputs of a call, in order, and the noise floor of each output; none: outputs are compared by SQNR."""


def faithful(model: nn.Module, example: tuple[torch.Tensor, ...], evidence: Evidence) -> Any:
    """Return a frozen module that computes what the model does. Raises Refused."""
    traced, warned, lines = trace(model, example)
    if not warned:
        return traced
    lines += decided_by_values(model, example)
    if not lines and agrees(traced, model, evidence):
        return traced
    try:
        scripted = torch.jit.freeze(script(model, example))
    except Exception as error:  # whatever the compiler does not understand
        reason = str(error).strip().partition("\n")[0].rstrip(":.")
        raise neither(lines, warned, f"; torch.jit.script refuses it: {reason}") from error
    if agrees(scripted, model, evidence):
        return scripted
    raise neither(lines, warned, "; torch.jit.script makes another function of it")


def script(model: nn.Module, example: tuple[torch.Tensor, ...]) -> Any:
    """Return a model as `torch.jit.script` compiles it: our own module around the user's is traced around theirs."""
    if not isinstance(inner := getattr(model, "model", None), nn.Module):
        return torch.jit.script(model)
    around = copy.copy(model)
    around._modules = {**model._modules, "model": torch.jit.script(inner)}
    return torch.jit.trace(around, example, check_trace=False)


def neither(by_values: Sequence[str], warned: Sequence[str], why: str) -> Refused:
    """Return the error for a model that no way keeps, by the line to change. why: what is wrong with scripting."""
    if by_values:
        return Refused(Refusal(BRANCH, by_values[0], f"{CHOOSE}{why}"))
    return Refused(Refusal(FOR_ONE_SIZE, warned[0], f"{USE_SIZES}{why}"))


def trace(model: nn.Module, example: tuple[torch.Tensor, ...]) -> tuple[Any, list[str], list[str]]:
    """Return a frozen trace and the user's lines that PyTorch warns of.

    The last list is those of the lines by which whole tensors get to Python.
    """
    warned: list[str] = []
    read_whole: list[str] = []

    def note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, TracerWarning):
            warned.append(user_line(traceback.extract_stack()))
            read_whole.extend(warned[-1:] if any(words in str(message) for words in READ_WHOLE) else [])

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=TracerWarning)
        warnings.showwarning = note  # called on the user's stack: a warning alone names the innermost line
        traced = torch.jit.trace(model, example, check_trace=False)  # what it would check, `agrees` does
    return torch.jit.freeze(traced), warned, read_whole


def agrees(module: Callable[..., Any], model: nn.Module, evidence: Evidence) -> bool:
    """True if a module gives the model's outputs for every call of the evidence."""
    try:
        return all(near(_arrays(module(*inputs)), _arrays(model(*inputs)), floors) for inputs, floors in evidence)
    except RuntimeError as error:  # a size that it keeps fits no other batch
        print(f"TorchScript: {error}")
        return False


def near(actual: Sequence[Array], expected: Sequence[Array], floors: Sequence[float]) -> bool:
    """True if outputs are equal but for rounding: within noise floors where there are some, else by SQNR."""
    for index, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
        if ours.shape != theirs.shape:
            return False
        if theirs.dtype == bool:
            ours, theirs = ours.astype(np.float32), theirs.astype(np.float32)
        floor = max(floors[index], float(np.abs(theirs).max() * np.finfo(np.float32).eps)) if floors else 0.0
        within = np.abs(ours - theirs).max() <= FLOORS * floor if floors else sqnr_db(ours, theirs) >= SAME_DB
        if not within:
            return False
    return True


def _arrays(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> list[Array]:
    return [tensor.numpy() for tensor in ((outputs,) if isinstance(outputs, torch.Tensor) else outputs)]


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
