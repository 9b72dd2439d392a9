"""A detector without what follows its network: numbers for each anchor, which an app decodes and suppresses itself.

    head = RawHead(detector)
    deltas, scores = head.eval()(image)        # (N, A, 4): y, x, height, width; (N, A, C) in [0, 1]
    head.record(("cat", "dog"))                # anchors, and what the numbers mean beside them

The order of a delta is that of TensorFlow's SSD, which MediaPipe decodes.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from pipeline.detectors import Detector
from records.errors import BadInput
from records.head import Head

HEADS = ("raw",)
"""What of a detector can be exported instead of its boxes."""


class RawHead(nn.Module):
    """The head of a one-stage detector as it is exported: [0, 1] RGB in, deltas and scores out."""

    def __init__(self, detector: nn.Module):
        """Take a detector's network and weights. Raises BadInput for what is none, or makes its boxes in two stages."""
        super().__init__()
        if not isinstance(detector, Detector):
            raise BadInput("--head raw: is of a detector, and this model is none. Leave --head out.")
        if not hasattr(detector.proposals, "raw"):
            raise BadInput(
                f"--head raw: {type(detector.model).__name__} finds regions first and looks into each, so no head has "
                "its boxes. Leave --head out, or take an SSD, a RetinaNet or an FCOS."
            )
        self.detector = detector

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return deltas (N, A, 4) and scores (N, A, C) in [0, 1] of images (N, 3, H, W)."""
        detector = self.detector
        raw: tuple[torch.Tensor, torch.Tensor] = cast(Any, detector.proposals).raw(
            detector.model, detector.normalised(image)
        )
        return raw

    def record(self, labels: Sequence[str]) -> Head:
        """Return the anchors, and what the numbers mean beside them."""
        proposals: Any = self.detector.proposals
        height, width = proposals.size
        anchors = proposals.anchors.cpu().double()
        sides = anchors[:, 2:] - anchors[:, :2]
        centred = torch.cat([anchors[:, :2] + sides / 2, sides], dim=1)  # x, y, width, height
        shares = centred[:, [1, 0, 3, 2]] / torch.tensor([height, width, height, width])
        scales, exponential = proposals.coding()
        return Head(
            (height, width),
            tuple(map(tuple, shares.tolist())),
            scales,
            exponential,
            self.detector.decoding.record(),
            tuple(labels),
        )
