"""A small network of what converters have got wrong.

Hard-swish, GELU, convolutions by channel and in groups, a residual, padded maxima of what may be negative and of what
may not, linear layers with a bias.
"""

import torch
from torch import nn


class Residual(nn.Module):
    """What is inside, and its input again."""

    def __init__(self, inside: nn.Module):
        super().__init__()
        self.inside = inside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        return torch.relu(x + self.inside(x))


def awkward(num_classes: int) -> nn.Module:
    """Image (N, 3, H, W) → logits (N, num_classes)."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.Hardswish(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        Residual(nn.Conv2d(32, 32, 3, padding=1)),
        nn.Conv2d(32, 32, 3, padding=1, groups=4),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 64),
        nn.ReLU(),
        nn.Linear(64, num_classes),
    )
