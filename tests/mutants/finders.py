"""A detector and a segmentation model, as small as they can be and still have all that converters get wrong.

Weights are random and the same everywhere; scores and classes spread, so that something is found on every picture.
"""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD

SIDE = 96
LABELS = ("circle", "square", "cross", "star")
BEFORE = ("background", *LABELS)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""That go into the model."""
SPREAD = 0.08
"""Deviation of the weights of a head."""


class Maps(nn.Module):
    """Two maps of a picture, every 8th and every 16th pixel."""

    out_channels = (24, 32)

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Sequential(_halved(3, 12), _halved(12, 16), _halved(16, 24))
        self.far = _halved(24, 32)

    def forward(self, image: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        """(N, 3, H, W) → (N, 24, H/8, W/8), (N, 32, H/16, W/16)."""
        near = self.near(image)
        return OrderedDict(near=near, far=self.far(near))


class Segmenter(nn.Module):
    """A class for each pixel, decided at every fourth and resized."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(_halved(3, 12), _halved(12, 16))
        self.head = nn.Conv2d(16, len(BEFORE), 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) normalised → logits (N, K, H, W)."""
        return self.resized(self.head(self.maps(image)))

    def resized(self, coarse: torch.Tensor) -> torch.Tensor:
        """(N, K, H/4, W/4) → (N, K, H, W)."""
        return functional.interpolate(coarse, scale_factor=4.0, mode="bilinear", align_corners=False)


def _halved(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def detector() -> SSD:
    """One of torchvision's, by an overlap of 0.55."""
    torch.manual_seed(0)
    anchors = DefaultBoxGenerator([[2], [2]], scales=[0.2, 0.4, 0.7])
    model = SSD(
        Maps(), anchors, (SIDE, SIDE), len(BEFORE),
        score_thresh=0.7, nms_thresh=0.55, detections_per_img=24, topk_candidates=60,
    )  # fmt: skip
    _spread(model, model.backbone, model.head)
    return model


def segmenter() -> Segmenter:
    """By five classes."""
    torch.manual_seed(0)
    model = Segmenter()
    _spread(model, model.maps, model.head)
    return model


def _spread(model: nn.Module, body: nn.Module, head: nn.Module) -> None:
    """Into eval mode: statistics are those of noise, and scores lie far apart."""
    coarse = torch.rand(32, 3, 8, 8)
    noise = functional.interpolate(coarse, (SIDE, SIDE), mode="nearest") * 4 - 2
    for module in body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        body.train()(noise)
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=SPREAD)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # it has one
    model.eval()


MADE = {"detection": detector, "segmentation": segmenter}
NAMES = {"detection": LABELS, "segmentation": BEFORE}
