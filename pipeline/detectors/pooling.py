"""RoIAlign in operators that every format has: what lies in boxes of any size, as maps of one.

K. He et al., Mask R-CNN, 2017 (https://arxiv.org/abs/1703.06870). All maps of the pyramid are one table of places; four
rows of it are weighted for each point that a box is sampled at.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

CANONICAL_SIDE, CANONICAL_LEVEL = 224.0, 4.0
"""A box of so many pixels is read from that level of the pyramid (T.-Y. Lin et al., Feature Pyramid Networks, 2017)."""


class Pooling(nn.Module):
    """torchvision's MultiScaleRoIAlign for images of one height and width."""

    levels: torch.Tensor

    def __init__(self, pool: Any, shapes: Mapping[str, tuple[int, int]], size: tuple[int, int]):
        """pool: torchvision's. shapes: height and width of each map by name."""
        super().__init__()
        self.names = [name for name in pool.featmap_names if name in shapes]
        self.side, self.samples = int(pool.output_size[0]), int(pool.sampling_ratio)
        used = [shapes[name] for name in self.names]
        scales = [2.0 ** round(math.log2(height / size[0])) for height, _ in used]
        self.first, self.last = -math.log2(scales[0]), -math.log2(scales[-1])
        starts = [sum(height * width for height, width in used[:place]) for place in range(len(used))]
        self.places = sum(height * width for height, width in used)
        facts = [[start, *shape, scale] for start, shape, scale in zip(starts, used, scales, strict=True)]
        self.register_buffer("levels", torch.tensor(facts), persistent=False)

    def forward(self, features: Mapping[str, torch.Tensor], boxes: torch.Tensor) -> torch.Tensor:
        """Return maps (N · P, channels, S, S) of what lies in boxes (N, P, 4)."""
        samples, count = boxes.shape[0], boxes.shape[1]
        table = torch.cat([features[name].flatten(2).transpose(1, 2) for name in self.names], dim=1)
        channels = table.shape[2]
        start, high, wide, scale = self._levels(boxes).unbind(-1)  # (N, P) each
        x, y, right, bottom = (boxes * scale[..., None]).unbind(-1)
        cell = torch.arange(self.side, dtype=boxes.dtype, device=boxes.device)
        # Of each cell one point after the other: all at once take as many times the room.
        steps = [(cell + (point + 0.5) / self.samples) / self.side for point in range(self.samples)]  # in [0, 1]
        columns = [each for step in steps for each in _weights(x, (right - x).clamp(min=1.0), wide, step)]
        lines = [each for step in steps for each in _weights(y, (bottom - y).clamp(min=1.0), high, step)]
        image = torch.arange(samples, dtype=boxes.dtype, device=boxes.device)[:, None] * float(self.places)
        base = (start + image)[..., None, None]  # (N, P, 1, 1)
        flat, total = table.reshape(-1, channels), None
        for line, of_line in lines:
            for column, of_column in columns:
                place = base + line[..., :, None] * wide[..., None, None] + column[..., None, :]
                found = flat[place.to(torch.int64).reshape(-1)]
                found = found.reshape(samples * count, self.side, self.side, channels)
                weight = of_line[..., :, None] * of_column[..., None, :]
                weight = weight.reshape(samples * count, self.side, self.side, 1)
                total = found * weight if total is None else total + found * weight
        assert total is not None
        return (total / float(self.samples**2)).permute(0, 3, 1, 2)

    def _levels(self, boxes: torch.Tensor) -> torch.Tensor:
        """Return start, height, width and scale of the map that each box is read from: (N, P, 4)."""
        area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
        level = torch.floor(CANONICAL_LEVEL + torch.log2(area.clamp(min=1e-12).sqrt() / CANONICAL_SIDE) + 1e-6)
        level = level.clamp(min=float(self.first)).clamp(max=float(self.last)) - float(self.first)
        return self.levels[level.to(torch.int64)]


def _weights(
    start: torch.Tensor, length: torch.Tensor, cells: torch.Tensor, steps: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return along one axis the cells before and behind each point (N, P, S), and the weight of each.

    start, length and cells: (N, P); steps: (S,) in [0, 1]. A point more than a cell outside counts as 0.
    """
    cells = cells[..., None]
    point = start[..., None] + steps * length[..., None]
    inside = ((point >= -1.0) & (point <= cells)).to(point.dtype)
    point = point.clamp(min=0.0)
    before = torch.minimum(torch.floor(point), cells - 1)
    behind = torch.minimum(before + 1, cells - 1)
    share = torch.where(before >= cells - 1, 0.0, point - before)
    return [(before, (1 - share) * inside), (behind, share * inside)]
