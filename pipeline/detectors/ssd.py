"""SSD and SSDLite: boxes relative to anchors of several maps, softmax over the classes and nothing.

W. Liu et al., SSD: Single Shot MultiBox Detector, 2016 (https://arxiv.org/abs/1512.02325).
"""

from typing import Any

import torch
from torch import nn
from torchvision.models.detection.ssd import SSD

from pipeline.detectors.anchors import Coded
from pipeline.detectors.anchors import of_one_stage as decoding

__all__ = ["BACKGROUND", "decoding", "proposals", "takes"]
BACKGROUND = True


def takes(model: nn.Module) -> bool:
    """True if a model of torchvision's is an SSD."""
    return isinstance(model, SSD)


class Proposals(Coded):
    """Makes candidates of what an SSD gives."""

    def head(self, model: Any, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return changes (N, A, 4) and scores (N, A, C) of a normalised image (N, 3, H, W)."""
        head = model.head(list(model.backbone(image).values()))
        return head["bbox_regression"], head["cls_logits"].softmax(-1)[..., 1:]


def proposals(model: Any, size: tuple[int, int]) -> nn.Module:
    """Return what makes candidates of a normalised image."""
    return Proposals(model, size)
