"""What a network finds when it is rounded otherwise: answers as right as golden's, where rounding decides.

    answers = otherwise(model, inputs, names, 32, oracle)
    answers["other.boxes"]                     # (N, R, D, 4)

A network that looks at what it has chosen itself, as one with regions does, or whose choosing nobody here knows,
decides where no output shows it. So it is asked again with other roundings, some times as wide as those of float32:
what it finds in one of them alone is nothing that a conversion is to be blamed for.
"""

import copy
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from measures.boxes import OTHER
from pipeline.detectors import Tensors
from pipeline.detectors.suppression import unsettled
from pipeline.models import predict

TIMES = 4
"""Times that it is asked: of two that score alike to rounding, each time one or the other comes first."""
FOUND = ("boxes", "scores", "labels", "count")
"""Outputs that say what was found; how a mask looks is compared with golden's."""
WIDER = 8.0
"""Times float32's last bit: other summations, of which an artifact has one, lead farther than that bit."""


def decides_inside(model: nn.Module, inputs: Tensors) -> bool:
    """True if a detector chooses anything but its last boxes, or chooses those as nobody knows. inputs: (N, …)."""
    with unsettled() as calls, torch.no_grad():
        model(*(value[:1] for value in inputs.values()))
    return len(calls) != 1


def answers(model: nn.Module, inputs: Tensors, names: Iterable[str], batch: int) -> Iterator[Tensors]:
    """Yield the outputs (N, …) by name of a float32 model in eval mode, rounded otherwise, `TIMES` times. Always the
    same.
    """
    generator = torch.Generator().manual_seed(1)

    def off(exact: torch.Tensor) -> torch.Tensor:
        uniform = torch.rand(exact.shape, generator=generator, dtype=exact.dtype)
        return uniform.sub_(0.5).mul_(WIDER * torch.finfo(torch.float32).eps)

    for _ in range(TIMES):
        rounded = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in rounded.parameters():
                parameter.mul_(off(parameter).add_(1))
        given = {
            name: value + off(value) * value.abs() if value.is_floating_point() else value
            for name, value in inputs.items()
        }
        yield predict(rounded, given, names, batch)
        del rounded  # before the next one is made


def otherwise(
    model: nn.Module, inputs: Tensors, names: Iterable[str], batch: int, oracle: Tensors, count: int | None = None
) -> Tensors:
    """Return what is found in those answers, and in the oracle's: (N, R, …) by name, behind `OTHER`.

    count: samples that the network is asked for again, the first ones; of others the oracle's answer is all of them.
    """
    exact = {name: oracle[name].float() if oracle[name].is_floating_point() else oracle[name] for name in FOUND}
    every = [exact]
    for answer in answers(model, {name: value[:count] for name, value in inputs.items()}, names, batch):
        every.append({name: torch.cat([answer[name], exact[name][len(answer[name]) :]]) for name in FOUND})
    return {f"{OTHER}.{name}": torch.stack([answer[name] for answer in every], 1) for name in FOUND}
