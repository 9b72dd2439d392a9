"""Captures the model of a finished checkpoint, in the process where its module lives: as a program, or without one.

    kept = keep(model, checkpoint.inputs, inputs, patterns)
    kept.write(folder)                         # program.pt2, or torchscript.pt, or neither

What PyTorch captured is run beside the model itself, on golden inputs and on patterns, before anybody believes it.
"""

import io
import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from pipeline import checkpoint, program, torchscript
from pipeline.program import BATCH, FOR_ONE_SIZE, Refusal, Refused
from pipeline.tasks import Tensors
from pipeline.torchscript import Evidence
from records.errors import some
from records.golden import PATTERNS, Patterns
from records.tensor import Tensor

EXAMPLE = 2
"""Samples of the example: torch.export takes an axis of length one for a constant."""
COUNTS = (8, 3)
"""Samples of the calls that a capture is checked on."""
ONE_BY_ONE = (1,) * 8
"""Likewise, where it takes one sample at a time."""
DEPRECATED = "`torch.jit.*deprecated"
"""PyTorch's warning of TorchScript, which what is deployed still reads."""


@dataclass(frozen=True)
class Kept:
    """What was captured of a model."""

    program: ExportedProgram | None = None
    script: Any = None
    """The TorchScript module, where there is no program."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """What was refused, by what it would have been: `program`, `torchscript`."""
    findings: tuple[str, ...] = ()
    single: bool = False
    """True if it takes one sample at a time, because the model keeps its example's batch size."""

    def write(self, folder: Path) -> None:
        """Write what there is into the folder of a checkpoint."""
        if self.program is not None:
            program.save(self.program, folder / checkpoint.PROGRAM)
        if self.script is not None:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", DEPRECATED, FutureWarning)
                content = io.BytesIO()
                torch.jit.save(self.script, content)
            (folder / checkpoint.TORCHSCRIPT).write_bytes(content.getvalue())


def keep(
    model: nn.Module, tensors: Sequence[Tensor], inputs: Tensors, patterns: Patterns, sizes: Sequence[Tensors] = ()
) -> Kept:
    """Return what can be captured of a model in eval mode on the CPU.

    tensors: the inputs, with the axes that are of any length. inputs: golden ones (N, …), in order. patterns: with the
    noise floors of the model's outputs on them. sizes: inputs of other heights and widths.
    """
    single = tensors[0].shape[0] == 1
    axes = [{axis: size for axis, size in enumerate(tensor.shape) if isinstance(size, str)} for tensor in tensors]
    refusals: dict[str, Refusal] = {}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", DEPRECATED, FutureWarning)
        if not single:
            example = tuple(value[:EXAMPLE] for value in inputs.values())
            evidence = _evidence(inputs, patterns, COUNTS, sizes)
            try:
                captured = _program(model, example, axes, evidence)
                return Kept(captured, findings=_unused(captured))
            except Refused as error:
                refusals["program"] = error.refusal
        one = tuple(value[:1] for value in inputs.values())
        alone = _evidence(inputs, patterns, ONE_BY_ONE, sizes)
        if single or refusals["program"].reason == FOR_ONE_SIZE:
            try:
                captured = _program(model, one, [_without_batch(each) for each in axes], alone)
                why = ONE_ALONE if single else _kept_size(refusals["program"])
                return Kept(
                    captured, findings=(f"it takes one sample at a time, {why}", *_unused(captured)), single=True
                )
            except Refused as error:
                refusals.setdefault("program", error.refusal)
        try:
            script = (
                torchscript.faithful(model, one, alone) if single else torchscript.faithful(model, example, evidence)
            )
            return Kept(script=script, refusals=refusals, single=single)
        except Refused as error:
            return Kept(refusals=refusals | {"torchscript": error.refusal}, single=single)


def _program(
    model: nn.Module, example: tuple[torch.Tensor, ...], axes: Sequence[Mapping[int, str]], evidence: Evidence
) -> ExportedProgram:
    """Return the program of a model that gives its outputs. Raises Refused."""
    captured = program.capture(model, example, axes)
    if not torchscript.agrees(captured.module(check_guards=False), model, evidence):
        raise Refused(ANOTHER)
    return captured


def _without_batch(axes: Mapping[int, str]) -> dict[int, str]:
    return {axis: name for axis, name in axes.items() if name != BATCH}


ONE_ALONE = "for it takes no two"
"""Why a model is exported for one sample that raises for two."""


def _kept_size(refusal: Refusal) -> str:
    """Return why a model is exported for one sample that takes several."""
    line = f"; a size is read in {refusal.line}" if refusal.line else ""
    return f"for PyTorch exports it with its example's number of samples alone{line}"


ANOTHER = Refusal(
    "would hold another function than this network", "", "Keep nothing in Python that changes from call to call"
)
"""Why a program is not believed that gives other outputs than the model it was captured from."""


def _evidence(inputs: Tensors, patterns: Patterns, counts: Sequence[int], sizes: Sequence[Tensors]) -> Evidence:
    """Return golden inputs in calls of several sizes, and each pattern by itself but for those that give no numbers.

    counts: samples of each call, one after the other.
    """
    starts = [0, *itertools.accumulate(counts[:-1])]
    calls: list[tuple[tuple[torch.Tensor, ...], list[float]]] = [
        (tuple(value[start : start + count] for value in inputs.values()), [])
        for start, count in zip(starts, counts, strict=True)
    ]
    calls += [(tuple(value[: counts[-1]] for value in other.values()), []) for other in sizes]
    for index in range(len(PATTERNS)):
        floors = [float(values[index]) for values in patterns.floors.values()]
        if np.isfinite(floors).all():
            one = tuple(torch.from_numpy(patterns.inputs[name][index : index + 1]) for name in inputs)
            calls.append((one, floors))
    return calls


def _unused(captured: ExportedProgram) -> tuple[str, ...]:
    """Return a finding for parameters that no output depends on."""
    parameters = captured.graph_signature.inputs_to_parameters
    names = [
        parameters[node.name].removeprefix("model.")  # ours, around the user's
        for node in captured.graph.nodes
        if node.name in parameters and not node.users
    ]
    if not names:
        return ()
    return (f"{len(names)} of {len(parameters)} parameters are never used: {some(names)}",)
