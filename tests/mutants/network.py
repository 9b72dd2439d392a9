"""The network that mutants are made of: small, and with everything converters have got wrong.

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
