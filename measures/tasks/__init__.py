"""What a task's outputs decide and how that is scored, on arrays: one task, one file, named as in the checkpoint."""

import importlib
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from records.errors import unknown
from records.tensor import Arrays


class Task(Protocol):
    """The interface of a task file."""

    METRIC: str

    def decide(self, outputs: Arrays) -> np.ndarray[Any, Any]:
        """Outputs (N, …) by name → a decision per sample (N,)."""

    def margin(self, outputs: Arrays) -> np.ndarray[Any, Any]:
        """Outputs (N, …) by name → by how much each decision was made (N,), in the outputs' unit."""

    def score(self, decisions: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
        """The metric, in [0, 1], higher is better."""


def load(name: str) -> Task:
    """The task of that name. Raises BadInput."""
    names = [path.stem for path in Path(__file__).parent.glob("[a-z]*.py")]
    if name not in names:
        raise unknown("task", name, names)
    return cast(Task, importlib.import_module(f"measures.tasks.{name}"))
