"""Faster R-CNN: regions that may hold something, and for each the class and a box of that class.

S. Ren et al., Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks, 2015
(https://arxiv.org/abs/1506.01497).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNN

from pipeline.detectors import Decoding, rows
from pipeline.detectors.anchors import decoded
from pipeline.detectors.pooling import Pooling
from pipeline.detectors.suppression import ROUNDS, survivors

BACKGROUND = True
CANDIDATES = 300
"""Pairs of region and class that are suppressed, the best; torchvision takes all above the threshold."""
LEAST_REGION, LEAST_BOX = 1e-3, 1e-2
"""Pixels that a side has at least, as torchvision's."""


def takes(model: nn.Module) -> bool:
    """True if a model of torchvision's is a Faster R-CNN."""
    return isinstance(model, FasterRCNN) and not isinstance(model, MaskRCNN)


def decoding(model: Any) -> Decoding:
    """Return what torchvision chooses its boxes by."""
    heads = model.roi_heads
    return Decoding(heads.score_thresh, heads.nms_thresh, heads.detections_per_img, CANDIDATES)


def large_enough(boxes: torch.Tensor, least: float) -> torch.Tensor:
    """Return 1 for each box (…, 4) whose sides are as long at least, and 0 for others, as floats."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return (sides >= least).all(-1).to(boxes.dtype)


class Proposals(nn.Module):
    """Makes candidates of what a Faster R-CNN gives."""

    before: torch.Tensor

    def __init__(self, model: Any, size: tuple[int, int]):
        super().__init__()
        self.size, mode = size, model.training
        with torch.no_grad():
            image = torch.zeros(1, 3, *size)
            maps = list(model.eval().backbone(image).values())
            anchors = model.rpn.anchor_generator(ImageList(image, [size]), maps)[0]
            names = list(model.backbone(image))
        self.before_nms, self.after_nms = model.rpn.pre_nms_top_n(), model.rpn.post_nms_top_n()  # of training: others
        model.train(mode)
        shapes = [(int(each.shape[2]), int(each.shape[3])) for each in maps]
        each = model.rpn.anchor_generator.num_anchors_per_location()
        self.counts = [height * width * number for (height, width), number in zip(shapes, each, strict=True)]
        for level, part in enumerate(anchors.split(self.counts)):
            self.register_buffer(f"anchors_{level}", part.clone(), persistent=False)  # PyTorch saves no views
        place = torch.arange(max(min(count, self.before_nms) for count in self.counts))
        self.register_buffer("before", (place[None] < place[:, None]).float()[None], persistent=False)
        self.shapes = dict(zip(names, shapes, strict=True))
        self.pooling = Pooling(model.roi_heads.box_roi_pool, self.shapes, size)

    def forward(self, model: Any, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes (N, P, C, 4) in pixels and scores (N, P, C) of a normalised image (N, 3, H, W)."""
        return self.of_features(model, model.backbone(image))

    def of_features(self, model: Any, features: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same of the backbone's maps (N, channels, …) by name."""
        regions, there = self.regions(model, list(features.values()))  # (N, P, 4), (N, P)
        count = regions.shape[1]
        pooled = self.pooling(features, regions)  # (N · P, channels, 7, 7)
        logits, change = model.roi_heads.box_predictor(model.roi_heads.box_head(pooled))
        classes = logits.shape[1]
        scores = logits.softmax(-1).reshape(-1, count, classes)[..., 1:]
        change = change.reshape(-1, count, classes, 4)[:, :, 1:]
        boxes = decoded(change, regions[:, :, None], model.roi_heads.box_coder, self.size)
        return boxes, scores * there[..., None] * large_enough(boxes, LEAST_BOX)

    def regions(self, model: Any, features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the best regions (N, P, 4), and 1 for each that is there (N, P)."""
        rpn = model.rpn
        boxes, scores, alive = [], [], []
        for level, (objectness, change) in enumerate(zip(*rpn.head(features), strict=True)):
            anchors = getattr(self, f"anchors_{level}")
            logits = objectness.permute(0, 2, 3, 1).flatten(1)  # (N, H · W · A)
            number = objectness.shape[1]
            height, width = change.shape[2:]
            change = change.reshape(-1, number, 4, height, width).permute(0, 3, 4, 1, 2).reshape(-1, len(anchors), 4)
            best, place = logits.topk(min(self.before_nms, self.counts[level]))
            box = decoded(rows(change, place), anchors[place], rpn.box_coder, self.size)
            score = best.sigmoid()
            able = large_enough(box, LEAST_REGION) * (score >= rpn.score_thresh).to(score.dtype)
            before = self.before[:, : box.shape[1], : box.shape[1]]
            kept = survivors(box, able * 2 - 1, torch.zeros_like(place), 0.0, rpn.nms_thresh, before, ROUNDS)
            boxes.append(box)
            scores.append(score)
            alive.append(kept)
        # A region that is not kept comes behind all others.
        ranked = torch.cat(scores, 1) * torch.cat(alive, 1) + torch.cat(alive, 1)
        best, place = ranked.topk(min(self.after_nms, ranked.shape[1]))
        return rows(torch.cat(boxes, 1), place), (best > 0).to(best.dtype)


def proposals(model: Any, size: tuple[int, int]) -> nn.Module:
    """Return what makes candidates of a normalised image."""
    return Proposals(model, size)
