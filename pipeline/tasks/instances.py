"""Boxes around things and the mask of each: torchvision's Mask R-CNN and its losses to train."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from pipeline.tasks import Batch, Tensors, detection
from pipeline.tasks.detection import INTEGERS, build, check, step, transforms

__all__ = [
    "BATCH",
    "DEFAULTS",
    "INTEGERS",
    "OUTPUTS",
    "TESTED",
    "build",
    "check",
    "collate",
    "reduce",
    "step",
    "transforms",
]
OUTPUTS = {**detection.OUTPUTS, "masks": "NDHW"}
BATCH = 4
"""Samples in a call without training: of each box four maps of 28×28 points and 256 channels are read."""
TESTED = 64
"""Test samples that an epoch is measured by, the first: the masks of one are as many pictures as there are boxes."""
DEFAULTS = {
    "data.dataset": "scenes",
    "data.image_size": 160,
    "data.golden": 32,
    "data.calibration": 64,
    "detection.detections": 16,
    "model.name": "maskrcnn_resnet50_fpn",
    "model.options": {
        "rpn_pre_nms_top_n_train": 500,
        "rpn_post_nms_top_n_train": 200,
        "rpn_pre_nms_top_n_test": 200,
        "rpn_post_nms_top_n_test": 100,
        "box_batch_size_per_image": 32,
    },
    "train.epochs": 20,
    "train.batch_size": 4,
    "train.learning_rate": 3e-4,
}


def collate(truths: Sequence[Any]) -> Tensors:
    """Return boxes and labels as of detection, and masks (N, M, H, W) uint8, 1 where a thing is seen."""
    found = detection.collate(truths)
    masks = torch.zeros(*found["labels"].shape, *truths[0]["masks"].shape[-2:], dtype=torch.uint8)
    for place, truth in enumerate(truths):
        # What lies outside of a picture that was zoomed out of is no 1 either.
        masks[place, : len(truth["masks"])] = truth["masks"].as_subclass(torch.Tensor) == 1
    return {**found, "masks": masks}


def reduce(batch: Batch, share: float) -> Batch:
    """Return images at a share of their height and width; their boxes and masks likewise."""
    smaller = detection.reduce(batch, share)
    size = next(iter(smaller.inputs.values())).shape[2:]
    return Batch(
        smaller.inputs, {**smaller.truth, "masks": functional.interpolate(batch.truth["masks"], size, mode="nearest")}
    )
