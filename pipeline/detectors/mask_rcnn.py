"""Mask R-CNN: a Faster R-CNN that also says of each box which of its pixels are the thing.

K. He et al., Mask R-CNN, 2017 (https://arxiv.org/abs/1703.06870).
"""

from typing import Any

import torch
from torch import nn
from torchvision.models.detection.mask_rcnn import MaskRCNN

from pipeline.detectors import Detector, faster_rcnn
from pipeline.detectors.faster_rcnn import BACKGROUND, decoding
from pipeline.detectors.pooling import Pooling

__all__ = ["BACKGROUND", "KIND", "decoding", "proposals", "takes"]
PADDING = 1
"""Cells of nothing around a mask, as torchvision's: it fades out beyond the box."""


def takes(model: nn.Module) -> bool:
    """True if a model of torchvision's is a Mask R-CNN."""
    return isinstance(model, MaskRCNN)


class Proposals(faster_rcnn.Proposals):
    """Makes candidates as a Faster R-CNN does, and reads maps for the masks of those that are chosen."""

    def __init__(self, model: Any, size: tuple[int, int]):
        super().__init__(model, size)
        self.for_masks = Pooling(model.roi_heads.mask_roi_pool, self.shapes, size)


class Paste(nn.Module):
    """Puts masks of boxes into pictures of one height and width."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size

    def forward(self, masks: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Return masks (K, M, M) of boxes (K, 4) as pictures (K, H, W), 0 outside of their box.

        It is torchvision's `paste_masks_in_image`, whose boxes end with whole pixels; its bilinear interpolation is a
        matrix along each axis.
        """
        cells = masks.shape[-1]
        # In torchvision's order: another one rounds some boxes to other pixels.
        half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * (float(cells + 2 * PADDING) / cells)
        centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
        first, last = ((centre + side).to(torch.int32).to(boxes.dtype) for side in (-half, half))
        columns, lines = (_weights(first[:, axis], last[:, axis], self.size[1 - axis], cells) for axis in (0, 1))
        return torch.bmm(torch.bmm(lines, masks), columns.transpose(1, 2))


def _weights(first: torch.Tensor, last: torch.Tensor, pixels: int, cells: int) -> torch.Tensor:
    """Return by how much each pixel of an axis is each cell of a mask that goes from a first to a last pixel.

    first, last: (K,) whole numbers. Returns (K, pixels, cells).
    """
    first, last = first[:, None, None], last[:, None, None]
    pixel = torch.arange(pixels, dtype=first.dtype, device=first.device)[None, :, None]
    cell = torch.arange(cells, dtype=first.dtype, device=first.device)[None, None] + float(PADDING)
    padded = float(cells + 2 * PADDING)
    place = (pixel - first + 0.5) * (padded / (last - first + 1.0).clamp(min=1.0)) - 0.5
    place = place.clamp(min=0.0).clamp(max=padded - 1.0)
    inside = ((pixel >= first) & (pixel <= last)).to(first.dtype)
    return (1.0 - (place - cell).abs()).clamp(min=0.0) * inside


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
