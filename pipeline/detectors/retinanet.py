"""RetinaNet: boxes relative to anchors of a pyramid, a sigmoid for each class.

T.-Y. Lin et al., Focal Loss for Dense Object Detection, 2017 (https://arxiv.org/abs/1708.02002).
"""

from typing import Any

import torch
from torch import nn
from torchvision.models.detection.retinanet import RetinaNet

from pipeline.detectors.anchors import Coded, features
from pipeline.detectors.anchors import of_one_stage as decoding

__all__ = ["BACKGROUND", "decoding", "proposals", "takes"]
BACKGROUND = False


def takes(model: nn.Module) -> bool:
    """True if a model of torchvision's is a RetinaNet."""
    return isinstance(model, RetinaNet)


class Proposals(Coded):
    """Makes candidates of what a RetinaNet gives."""

    def head(self, model: Any, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return changes (N, A, 4) and scores (N, A, C) of a normalised image (N, 3, H, W)."""
        head = model.head(features(model, image))
        return head["bbox_regression"], head["cls_logits"].sigmoid()


def proposals(model: Any, size: tuple[int, int]) -> nn.Module:
    """Return what makes candidates of a normalised image."""
    return Proposals(model, size)
