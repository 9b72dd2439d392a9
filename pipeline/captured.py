"""Captures the model of a finished checkpoint, in the process where its module lives: as a program, or without one.

    kept = keep(model, inputs, patterns)
    kept.write(folder)                         # program.pt2, or torchscript.pt, or neither

What PyTorch captured is run beside the model itself, on golden inputs and on patterns, before anybody believes it.
"""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from pipeline import checkpoint, program, torchscript
from pipeline.program import Refusal, Refused
from pipeline.tasks import Tensors
from pipeline.torchscript import Evidence
from records.errors import some
from records.golden import PATTERNS, Patterns

EXAMPLE = 2
"""Samples of the example: torch.export takes an axis of length one for a constant."""
COUNTS = (8, 3)
"""Samples of the calls that a capture is checked on."""
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


def keep(model: nn.Module, inputs: Tensors, patterns: Patterns) -> Kept:
    """Return what can be captured of a model in eval mode on the CPU.

    inputs: golden ones (N, …), in order. patterns: with the noise floors of the model's outputs on them.
    """
    example = tuple(value[:EXAMPLE] for value in inputs.values())
    evidence = _evidence(inputs, patterns)
    refusals: dict[str, Refusal] = {}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", DEPRECATED, FutureWarning)
        try:
            captured = program.capture(model, example, [{0: "batch"} for _ in example])
            if not torchscript.agrees(captured.module(check_guards=False), model, evidence):
                raise Refused(ANOTHER)
            return Kept(captured, findings=_unused(captured))
        except Refused as error:
            refusals["program"] = error.refusal
        try:
            return Kept(script=torchscript.faithful(model, example, evidence), refusals=refusals)
        except Refused as error:
            return Kept(refusals=refusals | {"torchscript": error.refusal})


ANOTHER = Refusal(
    "would hold another function than this network", "", "Keep nothing in Python that changes from call to call"
)
"""Why a program is not believed that gives other outputs than the model it was captured from."""


def _evidence(inputs: Tensors, patterns: Patterns) -> Evidence:
    """Return golden inputs in calls of several sizes, and each pattern by itself but for those that give no numbers."""
    calls: list[tuple[tuple[torch.Tensor, ...], list[float]]] = [
        (tuple(value[:count] for value in inputs.values()), []) for count in COUNTS
    ]
    for index in range(len(PATTERNS)):
        floors = [float(values[index]) for values in patterns.floors.values()]
        if np.isfinite(floors).all():
            one = tuple(torch.from_numpy(patterns.inputs[name][index : index + 1]) for name in inputs)
            calls.append((one, floors))
    return calls


def _unused(captured: ExportedProgram) -> tuple[str, ...]:
    """Return a finding for parameters that no output depends on."""
    parameters = captured.graph_signature.inputs_to_parameters
    names = [parameters[node.name] for node in captured.graph.nodes if node.name in parameters and not node.users]
    if not names:
        return ()
    return (f"{len(names)} of {len(parameters)} parameters are never used: {some(names)}",)
