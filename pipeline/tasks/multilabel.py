"""Any number of labels per image: binary cross-entropy of each class to train, of all but those that are unknown."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from measures.tasks.multilabel import UNKNOWN
from pipeline.augmentation import of_scenes
from pipeline.config import TrainConfig
from pipeline.models import named
from pipeline.tasks import Batch, Tensors, classification

OUTPUTS = {"logits": "NK"}
INTEGERS = ()
DEFAULTS = {
    "data.dataset": "scenes",
    "data.image_size": 128,
    "train.epochs": 15,
    "train.batch_size": 16,
    "train.learning_rate": 1e-3,
}

build, check, reduce = classification.build, classification.check, classification.reduce
"""A logit for each label, as where an image has one."""


def transforms(augmentation: str, size: tuple[int, int]) -> list[Any]:
    """Return the random transforms of that name, which give pictures of `size` and lose nothing that is on them.

    Raises BadInput.
    """
    return of_scenes(augmentation, size, crop=False)


def collate(truths: Sequence[torch.Tensor]) -> Tensors:
    """Return which classes are there as (N, K) uint8: 1, 0, or `UNKNOWN`."""
    return {"present": torch.stack(list(truths)).to(torch.uint8)}


def step(model: Callable[..., Any], batch: Batch, config: TrainConfig) -> tuple[torch.Tensor, Tensors]:
    """Return the binary cross-entropy of logits (N, K), the mean over all that is known, and the logits."""
    outputs = named(model(*batch.inputs.values()), OUTPUTS)
    logits, present = outputs["logits"].float(), batch.truth["present"]
    known, smoothing = (present != UNKNOWN).float(), config.label_smoothing
    target = (present == 1).float() * (1 - smoothing) + smoothing / 2
    each = functional.binary_cross_entropy_with_logits(logits, target, weight=known, reduction="sum")
    return each / known.sum().clamp(min=1), outputs
