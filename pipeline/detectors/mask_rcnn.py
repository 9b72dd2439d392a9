"""Mask R-CNN: a Faster R-CNN that also says of each box which of its pixels are the thing.

K. He et al., Mask R-CNN, 2017 (https://arxiv.org/abs/1703.06870).
"""

from typing import Any

import torch
from torch import nn
from torchvision.models.detection.mask_rcnn import MaskRCNN

from pipeline.detectors import Detector, faster_rcnn
from pipeline.detectors.faster_rcnn import BACKGROUND, decoding
from pipeline.detectors.paste import Paste
from pipeline.detectors.pooling import Pooling

__all__ = ["BACKGROUND", "KIND", "decoding", "proposals", "takes"]


def takes(model: nn.Module) -> bool:
    """True if a model of torchvision's is a Mask R-CNN."""
    return isinstance(model, MaskRCNN)


class Proposals(faster_rcnn.Proposals):
    """Makes candidates as a Faster R-CNN does, and reads maps for the masks of those that are chosen."""

    def __init__(self, model: Any, size: tuple[int, int]):
        super().__init__(model, size)
        self.for_masks = Pooling(model.roi_heads.mask_roi_pool, self.shapes, size)


class MaskDetector(Detector):
    """A Mask R-CNN of torchvision's: boxes of fixed shapes as a detector gives them, and a mask for each."""

    def __init__(self, model: nn.Module, proposals: nn.Module, *settings: Any):
        super().__init__(model, proposals, *settings)
        assert isinstance(proposals, Proposals)
        self.paste = Paste(proposals.size)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what a detector does, and masks (N, D, H, W) of probabilities, for images (N, 3, H, W)."""
        model: Any = self.model
        made: Any = self.proposals
        features = model.backbone(self.normalised(image))
        boxes, scores, labels, count = self.decode(*made.of_features(model, features))  # (N, D, …)
        heads = model.roi_heads
        logits = heads.mask_predictor(heads.mask_head(made.for_masks(features, boxes)))  # (N · D, classes, M, M)
        side = logits.shape[-1]
        label = (labels.to(torch.int64) + 1).reshape(-1, 1, 1, 1).expand(-1, 1, side, side)
        masks = logits.sigmoid().gather(1, label)[:, 0] * (scores > 0).to(scores.dtype).reshape(-1, 1, 1)
        height, width = made.size
        pasted = self.paste(masks, boxes.reshape(-1, 4)).reshape(-1, boxes.shape[1], height, width)
        return boxes, scores, labels, count, pasted


KIND = MaskDetector
"""What it is exported as."""


def proposals(model: Any, size: tuple[int, int]) -> nn.Module:
    """Return what makes candidates of a normalised image."""
    return Proposals(model, size)
