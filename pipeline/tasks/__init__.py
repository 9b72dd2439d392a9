"""What a model is trained for: one task, one file. The folder is the registry.

    task = load("classification")
    loss, outputs = task.step(model, batch, config.train)

A file may also say what a configuration has by default (`DEFAULTS`, by dotted key), read by config.py without torch,
how many samples a model is called with outside of training (`BATCH`), and by how many an epoch is measured (`TESTED`).

This half needs torch: how samples are augmented, which model is built, what a step computes. The other half, of the
same name in `measures/tasks/`, is about arrays: what outputs decide and what that is worth.
"""

import importlib
import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.nn import functional

from pipeline import models
from pipeline.config import Config, TrainConfig
from records.errors import unknown

Tensors = dict[str, torch.Tensor]
"""By name."""


@dataclass(frozen=True)
class Batch:
    """Samples as a model is given them, and what is right for them."""

    inputs: Tensors
    """(N, …) float32 by the names of the model's inputs."""
    truth: Tensors
    """(N, …) by names of the task's own, as golden keeps them."""

    def to(self, device: torch.device, channels_last: bool = False) -> "Batch":
        """Return the batch on a device. channels_last: images (N, C, H, W) are stored there as NHWC."""

        def moved(tensors: Tensors) -> Tensors:
            return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}

        inputs = moved(self.inputs)
        return Batch(models.channels_last(inputs) if channels_last else inputs, moved(self.truth))

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, which a GPU copies from while the CPU goes on."""

        def pinned(tensors: Tensors) -> Tensors:
            return {name: tensor.pin_memory() for name, tensor in tensors.items()}

        return Batch(pinned(self.inputs), pinned(self.truth))


class Task(Protocol):
    """The interface of a task file."""

    OUTPUTS: Mapping[str, str]
    """Name of each output → a letter for each of its axes: N for samples, C for channels, K for classes."""
    INTEGERS: Collection[str]
    """Names of the outputs that are integers."""

    def transforms(self, augmentation: str, size: tuple[int, int]) -> list[Any]:
        """Return the random transforms (torchvision v2) that give a (picture, truth) of `size`. Raises BadInput."""

    def collate(self, truths: Sequence[Any]) -> Tensors:
        """Return the truths of N samples as tensors (N, …) by name."""

    def build(self, config: Config, labels: Sequence[str], weights: bool) -> nn.Module:
        """Return the model of a settled config; without `weights`, a structure to load them into. Raises BadInput."""

    def check(self, outputs: Tensors, labels: Sequence[str], size: tuple[int, int]) -> str:
        """Return what of a new model's outputs (N, …) does not fit the labels, and what to do; empty: they fit.

        size: height and width of the pictures.
        """

    def reduce(self, batch: Batch, share: float) -> Batch:
        """Return samples at a share of their height and width, their truth likewise."""

    def step(self, model: Callable[..., Any], batch: Batch, config: TrainConfig) -> tuple[torch.Tensor, Tensors]:
        """Return the loss of a batch (a scalar) and the model's outputs (N, …) by name; empty: training has none."""


def reduced(inputs: Tensors, share: float) -> tuple[Tensors, tuple[int, int]]:
    """Return images (N, 3, H, W) at a share of their height and width, and that size."""
    height, width = next(iter(inputs.values())).shape[2:]
    size = round(height * share), round(width * share)
    return {
        name: functional.interpolate(image, size, mode="bilinear", antialias=True) for name, image in inputs.items()
    }, size


def names() -> list[str]:
    """Return the names of all tasks."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Task:
    """Return the task of that name. Raises BadInput."""
    if name not in names():
        raise unknown("task", name, names())
    return cast(Task, importlib.import_module(f"pipeline.tasks.{name}"))
