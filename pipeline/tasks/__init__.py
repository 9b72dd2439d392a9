"""What a model is trained for: one task, one file. The folder is the registry.

A task file has: `INPUTS` and `OUTPUTS` (names), `METRIC` (name), and the functions
`loss(outputs, labels, smoothing)`, `decode(outputs)` and `score(outputs, labels)`.
Outputs are always a mapping from name to tensor, however many there are.
"""

import importlib
from pathlib import Path
from typing import Protocol, cast

import torch

from records.errors import unknown

Tensors = dict[str, torch.Tensor]


class Task(Protocol):
    """The interface of a task file."""

    INPUTS: tuple[str, ...]
    OUTPUTS: tuple[str, ...]
    METRIC: str

    def loss(self, outputs: Tensors, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
        """Scalar."""

    def decode(self, outputs: Tensors) -> torch.Tensor:
        """The model's decision per sample."""

    def score(self, outputs: Tensors, labels: torch.Tensor) -> float:
        """The metric over all samples, in [0, 1], higher is better."""


def load(name: str) -> Task:
    """The task of that name. Raises BadInput."""
    names = [path.stem for path in Path(__file__).parent.glob("[a-z]*.py")]
    if name not in names:
        raise unknown("task", name, names)
    return cast(Task, importlib.import_module(f"pipeline.tasks.{name}"))
