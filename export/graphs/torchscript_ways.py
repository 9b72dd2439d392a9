"""Makes TorchScript of a model by trace, or by script where a trace would lose a branch, and proves that it agrees.

    module, way = faithful(Checkpoint.open(folder))

A trace keeps one way of every branch. Where PyTorch warns of one, the model is looked into: what the sizes of an image
decide may be kept; of what its values decide, only `torch.jit.script` keeps both ways.
"""

import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.jit._trace import TracerWarning

from export import self_check
from export.graphs.control_flow import branch, decided_by_values, user_line
from export.graphs.operators import Inexpressible
from measures.distance import sqnr_db
from measures.tolerance import SAME_DB
from pipeline.checkpoint import Checkpoint
from records.tensor import Array

READ_WHOLE = ("Python list", "NumPy array")
"""Words of PyTorch's warning of values that leave their tensor all at once, which no operator sees."""
OTHER_BATCH = 3
"""Samples of a call that no example has."""
FLOORS = 64
"""Noise floors that an output on a pattern may be off: measures/tolerance.py has the reason."""


def faithful(opened: Checkpoint) -> tuple[Any, str]:
    """Return a frozen module that computes what the model does, and the way: trace or script. Raises Inexpressible."""
    model, example = opened.model(), opened.example()
    traced, warned, lines = trace(model, example)
    if not warned:
        return traced, "trace"
    lines += decided_by_values(model, example)
    if not lines and agrees(traced, model, opened):
        return traced, "trace"
    try:
        scripted = torch.jit.freeze(torch.jit.script(model))
    except Exception as error:  # whatever the compiler does not understand
        print(f"torch.jit.script: {error}")
        reason = str(error).strip().partition("\n")[0].rstrip(":.")
        raise neither(lines, warned, f"; torch.jit.script refuses it: {reason}") from error
    if agrees(scripted, model, opened):
        return scripted, "script"
    raise neither(lines, warned, "; torch.jit.script makes another function of it")


def neither(by_values: list[str], warned: list[str], why: str) -> Inexpressible:
    """Return the error for a model that no way keeps, by the line to change. why: what is wrong with scripting."""
    if by_values:
        return branch("TorchScript", by_values[0], why)
    return Inexpressible(
        f"TorchScript keeps sizes of its example, and so is another function for other batches: {warned[0]}.\n"
        f"Use the sizes there as they are, without int(), len(), a comparison or a loop{why}."
    )


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


def agrees(module: Callable[..., Any], model: nn.Module, opened: Checkpoint) -> bool:
    """True if a module gives the model's outputs: on golden inputs, another batch, and each pattern by itself."""
    try:
        return all(
            near(_arrays(module(*inputs)), _arrays(model(*inputs)), floors) for inputs, floors in evidence(opened)
        )
    except RuntimeError as error:  # a size that it keeps fits no other batch
        print(f"TorchScript: {error}")
        return False


def evidence(opened: Checkpoint) -> Iterator[tuple[tuple[torch.Tensor, ...], list[float]]]:
    """Yield inputs, and the noise floors of their outputs; no floors for golden inputs.

    Patterns on which the model gives NaN are left out.
    """
    golden, patterns = opened.golden(), opened.patterns()
    inputs, outputs = ([tensor.name for tensor in side] for side in (opened.inputs, opened.outputs))
    for count in (self_check.SAMPLES, OTHER_BATCH):
        yield tuple(torch.from_numpy(golden.inputs[name][:count]) for name in inputs), []
    if patterns is None:
        return
    for index in range(len(patterns.inputs[inputs[0]])):
        pattern = tuple(torch.from_numpy(patterns.inputs[name][index : index + 1]) for name in inputs)
        floors = [float(patterns.floors[name][index]) for name in outputs]
        if np.isfinite(floors).all():
            yield pattern, floors


def near(actual: list[Array], expected: list[Array], floors: list[float]) -> bool:
    """True if outputs are equal but for rounding: within noise floors where there are some, else by SQNR."""
    for index, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
        if ours.shape != theirs.shape:
            return False
        floor = max(floors[index], float(np.abs(theirs).max() * np.finfo(np.float32).eps)) if floors else 0.0
        within = np.abs(ours - theirs).max() <= FLOORS * floor if floors else sqnr_db(ours, theirs) >= SAME_DB
        if not within:
            return False
    return True


def _arrays(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> list[Array]:
    return [tensor.numpy() for tensor in ((outputs,) if isinstance(outputs, torch.Tensor) else outputs)]
