"""Boxes around things: torchvision's detectors and their losses to train, with outputs of fixed shapes."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn

from measures.tasks.detection import UNKNOWN
from pipeline import models
from pipeline.augmentation import of_scenes
from pipeline.config import Config, TrainConfig
from pipeline.tasks import Batch, Tensors, reduced

OUTPUTS = {"boxes": "NDX", "scores": "ND", "labels": "ND", "count": "N"}
INTEGERS = ("labels", "count")
DEFAULTS = {
    "data.dataset": "scenes",
    "data.golden": 200,
    "data.calibration": 256,
    "model.name": "ssdlite320_mobilenet_v3_large",
    "train.epochs": 10,
    "train.small": 0.8,
    "train.batch_size": 16,
    "train.learning_rate": 3e-3,
}


def transforms(augmentation: str, size: tuple[int, int]) -> list[Any]:
    """Return the random transforms of that name, which give pictures and their boxes of `size`. Raises BadInput."""
    return of_scenes(augmentation, size)


def collate(truths: Sequence[Any]) -> Tensors:
    """Return boxes (N, M, 4) float32 and labels (N, M) int64, `UNKNOWN` behind the last of a sample."""
    most = max(1, *(len(truth["labels"]) for truth in truths))
    boxes = torch.zeros(len(truths), most, 4)
    labels = torch.full((len(truths), most), UNKNOWN)
    for place, truth in enumerate(truths):
        count = len(truth["labels"])
        boxes[place, :count] = truth["boxes"].as_subclass(torch.Tensor)
        labels[place, :count] = truth["labels"]
    return {"boxes": boxes, "labels": labels}


def build(config: Config, labels: Sequence[str], weights: bool) -> nn.Module:
    """Return a detector of things that have these labels. Raises BadInput."""
    return models.build_detector(config, len(labels), weights)


def check(outputs: Tensors, labels: Sequence[str], size: tuple[int, int]) -> str:
    """Return nothing: a detector is built here, to fit."""
    return ""


def reduce(batch: Batch, share: float) -> Batch:
    """Return images at a share of their height and width; and their boxes."""
    inputs, _ = reduced(batch.inputs, share)
    return Batch(inputs, {**batch.truth, "boxes": batch.truth["boxes"] * share})


def step(model: Callable[..., Any], batch: Batch, config: TrainConfig) -> tuple[torch.Tensor, Tensors]:
    """Return the sum of torchvision's losses; no outputs, for in training nothing is decoded."""
    (image,) = batch.inputs.values()
    losses = cast(Any, model).losses(image, batch.truth)  # of a Detector, compiled or not
    return torch.stack(list(losses.values())).sum(), {}
