"""Anchors as constants, and boxes that are relative to them, as torchvision computes both."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList

from pipeline.detectors import Decoding


def of_one_stage(model: Any) -> Decoding:
    """Return what torchvision chooses the boxes of a detector without regions by.

    Its `topk_candidates` are of each class or of each map, here of all together.
    """
    return Decoding(model.score_thresh, model.nms_thresh, model.detections_per_img, model.topk_candidates)


class Anchored(nn.Module):
    """What makes candidates of a detector that has anchors, for images of one height and width."""

    anchors: torch.Tensor

    def __init__(self, model: Any, size: tuple[int, int]):
        super().__init__()
        self.size = size
        self.register_buffer("anchors", anchors_of(model, size), persistent=False)


class Coded(Anchored, ABC):
    """Such a detector, whose boxes are torchvision's BoxCoder's changes to the anchors."""

    def __init__(self, model: Any, size: tuple[int, int]):
        super().__init__(model, size)
        self.coder = model.box_coder

    @abstractmethod
    def head(self, model: Any, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return changes (N, A, 4) and scores (N, A, C) of a normalised image (N, 3, H, W)."""

    def forward(self, model: Any, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes (N, A, 4) in pixels and scores (N, A, C) of a normalised image (N, 3, H, W)."""
        change, scores = self.head(model, image)
        return decoded(change, self.anchors, self.coder, self.size), scores

    def raw(self, model: Any, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return changes (N, A, 4) of y, x, height and width, and scores (N, A, C), of a normalised image."""
        change, scores = self.head(model, image)
        x, y, wide, high = change.unbind(-1)
        _, _, by_width, by_height = self.coder.weights
        most = self.coder.bbox_xform_clip  # of a logarithm, and whoever decodes need not know it
        return torch.stack([y, x, high.clamp(max=most * by_height), wide.clamp(max=most * by_width)], dim=-1), scores

    def coding(self) -> tuple[tuple[float, float, float, float], bool]:
        """Return what y, x, height and width of a change are divided by, and that the latter two are logarithms."""
        x, y, width, height = self.coder.weights
        return (y, x, height, width), True


def features(model: Any, image: torch.Tensor) -> list[torch.Tensor]:
    """Return the maps of a detector's backbone for images (N, 3, H, W)."""
    maps = model.backbone(image)
    return [maps] if isinstance(maps, torch.Tensor) else list(maps.values())


def anchors_of(model: Any, size: tuple[int, int]) -> torch.Tensor:
    """Return a detector's anchors for images of one height and width: (A, 4), x and y of two corners in pixels."""
    mode = model.training
    with torch.no_grad():
        image = torch.zeros(1, 3, *size)
        maps = features(model.eval(), image)
        anchors: torch.Tensor = model.anchor_generator(ImageList(image, [size]), maps)[0]
    model.train(mode)
    return anchors


def decoded(change: torch.Tensor, anchors: torch.Tensor, coder: Any, size: tuple[int, int]) -> torch.Tensor:
    """Return boxes (N, …, 4) in pixels, within the image, of changes (N, …, 4) to anchors (…, 4).

    coder: torchvision's BoxCoder, whose formula this is: S. Ren et al., Faster R-CNN, 2015
    (https://arxiv.org/abs/1506.01497).
    """
    width, height = anchors[..., 2] - anchors[..., 0], anchors[..., 3] - anchors[..., 1]
    x, y = anchors[..., 0] + 0.5 * width, anchors[..., 1] + 0.5 * height
    wx, wy, ww, wh = coder.weights
    centre_x, centre_y = change[..., 0] / wx * width + x, change[..., 1] / wy * height + y
    wide = torch.exp((change[..., 2] / ww).clamp(max=coder.bbox_xform_clip)) * width
    high = torch.exp((change[..., 3] / wh).clamp(max=coder.bbox_xform_clip)) * height
    corners = [centre_x - 0.5 * wide, centre_y - 0.5 * high, centre_x + 0.5 * wide, centre_y + 0.5 * high]
    return within(torch.stack(corners, dim=-1), size)


def within(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return boxes (…, 4) cut off at the borders of an image of that height and width."""
    # A limit that is an int beside one that is a float stops torch.onnx's exporter.
    x, y = (boxes[..., place::2].clamp(min=0.0).clamp(max=float(side)) for place, side in ((0, size[1]), (1, size[0])))
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)
