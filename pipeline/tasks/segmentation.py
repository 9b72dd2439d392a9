"""A class for every pixel: cross-entropy and Dice to train, of all pixels but those that are void.

Dice is twice what prediction and truth share, by what both have: F. Milletari et al., V-Net, 2016
(https://arxiv.org/abs/1606.04797).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from measures.tasks.segmentation import VOID
from pipeline import models
from pipeline.augmentation import of_scenes
from pipeline.config import Config, TrainConfig
from pipeline.models import named
from pipeline.tasks import Batch, Tensors, reduced

OUTPUTS = {"logits": "NCHW"}
INTEGERS = ()
DEFAULTS = {
    "data.dataset": "scenes",
    "data.image_size": 160,
    "data.golden": 32,
    "data.calibration": 128,
    "model.name": "lraspp_mobilenet_v3_large",
    "train.epochs": 12,
    "train.small": 0.35,
    "train.batch_size": 8,
    "train.learning_rate": 3e-3,
}


def transforms(augmentation: str, size: tuple[int, int]) -> list[Any]:
    """Return the random transforms of that name, which give pictures and their classes of `size`. Raises BadInput."""
    return of_scenes(augmentation, size)


def collate(truths: Sequence[torch.Tensor]) -> Tensors:
    """Return the classes of pixels as (N, H, W) uint8."""
    return {"classes": torch.stack([truth.as_subclass(torch.Tensor) for truth in truths]).to(torch.uint8)}


def build(config: Config, labels: Sequence[str], weights: bool) -> nn.Module:
    """Return a model that gives a logit for each label and pixel. Raises BadInput."""
    return models.build(config, len(labels), weights)


def check(outputs: Tensors, labels: Sequence[str], size: tuple[int, int]) -> str:
    """Return what is wrong with the logits, which shall be (N, K, H, W) of the pictures' size; empty: nothing is."""
    logits = outputs["logits"]
    wanted = (len(logits), len(labels), *size)
    if tuple(logits.shape) != wanted:
        return (
            f"logits has shape {tuple(logits.shape)}; a value for each class and pixel is needed, {wanted}. Build it "
            "with num_classes as it is given, and resize what it gives to the picture's size."
        )
    return ""


def reduce(batch: Batch, share: float) -> Batch:
    """Return images at a share of their height and width; each pixel of the classes is one of theirs."""
    inputs, size = reduced(batch.inputs, share)
    return Batch(
        inputs, {"classes": functional.interpolate(batch.truth["classes"][:, None], size, mode="nearest")[:, 0]}
    )


def step(model: Callable[..., Any], batch: Batch, config: TrainConfig) -> tuple[torch.Tensor, Tensors]:
    """Return cross-entropy and 1 − Dice of logits (N, K, H, W) against classes (N, H, W), and the logits."""
    outputs = named(model(*batch.inputs.values()), OUTPUTS)
    logits, classes = outputs["logits"].float(), batch.truth["classes"].long()
    entropy = functional.cross_entropy(logits, classes, label_smoothing=config.label_smoothing, ignore_index=VOID)
    return entropy + 1 - dice(logits, classes), outputs


def dice(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the Dice of logits (N, K, H, W) and classes (N, H, W), over all samples: its mean of the classes there."""
    known = (classes != VOID)[:, None]
    shares = logits.softmax(1) * known
    truth = functional.one_hot(classes.where(known[:, 0], 0), logits.shape[1]).movedim(-1, 1) * known
    both, all_of_it = (shares * truth).sum((0, 2, 3)), (shares + truth).sum((0, 2, 3))
    there = truth.sum((0, 2, 3)) > 0
    return ((2 * both + 1) / (all_of_it + 1))[there].mean()
