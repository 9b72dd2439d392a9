"""FCOS: distances from points of a pyramid to a box's sides, a sigmoid for each class and for how central a point is.

Z. Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, 2019 (https://arxiv.org/abs/1904.01355).
"""

from typing import Any

import torch
from torch import nn
from torchvision.models.detection.fcos import FCOS

from pipeline.detectors.anchors import Anchored, features, within
from pipeline.detectors.anchors import of_one_stage as decoding

__all__ = ["BACKGROUND", "decoding", "proposals", "takes"]
BACKGROUND = False


def takes(model: nn.Module) -> bool:
    """True if a model of torchvision's is an FCOS."""
    return isinstance(model, FCOS)


class Proposals(Anchored):
    """Makes candidates of what an FCOS gives."""

    def head(self, model: Any, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances (N, A, 4) to left, top, right and bottom, and scores (N, A, C), of a normalised image.

        Distances are in units of an anchor's side.
        """
        head = model.head(features(model, image))
        return head["bbox_regression"], torch.sqrt(head["cls_logits"].sigmoid() * head["bbox_ctrness"].sigmoid())

    def forward(self, model: Any, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes (N, A, 4) in pixels and scores (N, A, C) of a normalised image (N, 3, H, W)."""
        distances, scores = self.head(model, image)
        anchors = self.anchors
        x, y = 0.5 * (anchors[:, 0] + anchors[:, 2]), 0.5 * (anchors[:, 1] + anchors[:, 3])
        wide, high = anchors[:, 2] - anchors[:, 0], anchors[:, 3] - anchors[:, 1]
        left, top, right, bottom = distances.unbind(-1)
        boxes = torch.stack([x - left * wide, y - top * high, x + right * wide, y + bottom * high], dim=-1)
        return within(boxes, self.size), scores

    def raw(self, model: Any, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return where centres lie and how high and wide boxes are, in sides of an anchor: (N, A, 4); and scores."""
        distances, scores = self.head(model, image)
        left, top, right, bottom = distances.unbind(-1)
        return torch.stack([0.5 * (bottom - top), 0.5 * (right - left), top + bottom, left + right], dim=-1), scores

    def coding(self) -> tuple[tuple[float, float, float, float], bool]:
        """Return what y, x, height and width are divided by, and that none of them is a logarithm."""
        return (1.0, 1.0, 1.0, 1.0), False


def proposals(model: Any, size: tuple[int, int]) -> nn.Module:
    """Return what makes candidates of a normalised image."""
    return Proposals(model, size)
