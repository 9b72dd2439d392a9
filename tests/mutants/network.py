"""The networks that mutants are made of: small, with everything converters have got wrong; the second, importers.

Normalisation is so initialised that activations reach beyond 6, where ReLU6 differs from ReLU; every weight that a
mutant changes has a shape of its own, by which it is found in every format.
"""

from collections import OrderedDict

import torch
from torch import nn
from torchvision.ops import SqueezeExcitation


class Residual(nn.Module):
    """What is inside, and its input again."""

    def __init__(self, inside: nn.Module):
        super().__init__()
        self.inside = inside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        return x + self.inside(x)


def normalised(channels: int, gain: float = 1.0) -> nn.BatchNorm2d:
    """Batch normalisation that starts with a deviation of `gain`."""
    made = nn.BatchNorm2d(channels)
    nn.init.constant_(made.weight, gain)
    return made


class Stored(nn.Module):
    """As many channels as rows and columns: an axis taken for another is no other shape, and only other numbers."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, padding=1)
        nn.init.constant_(self.stem.bias, 300)  # type: ignore[arg-type]  # so far from 0, a variance has few digits
        self.norm = nn.GroupNorm(4, 24)
        nn.init.normal_(self.norm.weight, 1, 0.3)
        nn.init.normal_(self.norm.bias, 0, 0.3)
        self.act = nn.Hardswish()
        self.mix = nn.Conv2d(24, 24, 1)
        self.scale = nn.Parameter(torch.linspace(12, 36, 24)[:, None, None])
        self.tiles = nn.AvgPool2d(8)  # (N, 24, 3, 3)
        self.pool = nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False)  # (N, 24, 13, 13)
        self.deep = nn.Conv2d(24, 32, 3, padding=1)
        self.head = nn.Linear(24 * 9 + 32, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 24, 24) → (N, num_classes)."""
        x = self.mix(self.act(self.norm(self.stem(x))))
        x = x * x.softmax(1) * self.scale
        x = x - x.mean(2, keepdim=True)
        deep = self.deep(self.pool(x)).relu().mean((2, 3))
        logits: torch.Tensor = self.head(torch.cat([self.tiles(x).flatten(1), deep], 1))
        return logits


def network(num_classes: int) -> nn.Module:
    """Image (N, 3, 24, 24) → logits (N, num_classes)."""
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 16, 3, padding=1, bias=False),
            stem_norm=normalised(16, gain=4),
            stem_act=nn.ReLU6(),
            pad=nn.ZeroPad2d((0, 1, 0, 1)),
            depthwise=nn.Conv2d(16, 16, 3, stride=2, groups=16, bias=False),  # (N, 16, 12, 12)
            depthwise_norm=normalised(16, gain=2),
            depthwise_act=nn.Hardswish(),
            excite=SqueezeExcitation(16, 6),
            widen=nn.Conv2d(16, 24, 1, bias=False),
            widen_norm=normalised(24),
            widen_act=nn.SiLU(),
            residual=Residual(nn.Sequential(nn.Conv2d(24, 24, 3, padding=1, bias=False), normalised(24))),
            pool=nn.MaxPool2d(2),
            upsample=nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            narrow=nn.Conv2d(24, 20, 3, stride=2, padding=1),  # (N, 20, 6, 6)
            narrow_act=nn.ReLU(),
            mean=nn.AdaptiveAvgPool2d(2),
            flatten=nn.Flatten(),
            hidden=nn.Linear(80, 40),
            hidden_act=nn.GELU(),
            dropout=nn.Dropout(0.1),
            head=nn.Linear(40, num_classes),
        )
    )
