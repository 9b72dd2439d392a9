"""One label per image: cross-entropy to train."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torchvision.transforms import v2

from pipeline import models
from pipeline.config import Config, TrainConfig
from pipeline.models import named
from pipeline.tasks import Batch, Tensors, reduced
from records.errors import unknown

OUTPUTS = {"logits": "NK"}
INTEGERS = ()


def _affine(height: int, width: int) -> list[Any]:
    turned = v2.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=v2.InterpolationMode.BILINEAR)
    return [v2.Resize([height, width], antialias=True), turned]


def _crop_flip(height: int, width: int) -> list[Any]:
    crop = v2.RandomCrop((height, width), padding=(width // 8, height // 8))
    return [v2.Resize([height, width], antialias=True), crop, v2.RandomHorizontalFlip()]


def _resized_crop(height: int, width: int) -> list[Any]:
    return [v2.RandomResizedCrop((height, width), scale=(0.35, 1.0), antialias=True), v2.RandomHorizontalFlip()]


AUGMENTATIONS: dict[str, Callable[[int, int], list[Any]]] = {
    "affine": _affine,
    "crop_flip": _crop_flip,
    "resized_crop": _resized_crop,
    "none": lambda height, width: [],
}


def transforms(augmentation: str, size: tuple[int, int]) -> list[Any]:
    """Return the random transforms of that name, which give pictures of `size`. Raises BadInput."""
    if augmentation not in AUGMENTATIONS:
        raise unknown("augmentation", augmentation, AUGMENTATIONS)
    return AUGMENTATIONS[augmentation](*size)


def collate(truths: Sequence[int]) -> Tensors:
    """Return classes as labels (N,) int64."""
    return {"labels": torch.tensor([int(truth) for truth in truths])}


def build(config: Config, labels: Sequence[str], weights: bool) -> nn.Module:
    """Return a model that gives a logit for each label. Raises BadInput."""
    return models.build(config, len(labels), weights)


def check(outputs: Tensors, labels: Sequence[str], size: tuple[int, int]) -> str:
    """Return what is wrong with the logits, which shall be (N, K) with one for each label; empty: nothing is."""
    logits = outputs["logits"]
    if logits.ndim != 2:
        return (
            f"logits has shape {tuple(logits.shape)} for {len(logits)} images; a row for each image is needed, "
            f"({len(logits)}, {len(labels)})."
        )
    if logits.shape[1] != len(labels):
        return (
            f"logits has {logits.shape[1]} values for each image, and the data has {len(labels)} classes. Build it "
            "with num_classes as it is given."
        )
    return ""


def reduce(batch: Batch, share: float) -> Batch:
    """Return images at a share of their height and width; their labels are the same."""
    inputs, _ = reduced(batch.inputs, share)
    return Batch(inputs, batch.truth)


def step(model: Callable[..., Any], batch: Batch, config: TrainConfig) -> tuple[torch.Tensor, Tensors]:
    """Return the cross-entropy of logits (N, K) with labels (N,), and the logits."""
    outputs = named(model(*batch.inputs.values()), OUTPUTS)
    logits, labels = outputs["logits"].float(), batch.truth["labels"]
    return functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing), outputs
