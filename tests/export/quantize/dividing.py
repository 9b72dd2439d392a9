"""A network that divides by how much brighter than a limit an image is: by next to nothing, where it is not."""

from collections import OrderedDict

import torch
from torch import nn


class Light(nn.Module):
    """Integers round the 1e-5 away, and LiteRT stops at a division by zero."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit = limit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) in [-1, 1] → the same shape."""
        return x / (torch.relu(x.mean(dim=(1, 2, 3), keepdim=True) - self.limit) + 1e-5)


def network(num_classes: int, limit: float) -> nn.Module:
    """Image (N, 3, H, W) → logits (N, num_classes)."""
    features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    parts = {"light": Light(limit), "features": features, "head": nn.Linear(8, num_classes)}
    return nn.Sequential(OrderedDict(parts))


def of_digits(num_classes: int) -> nn.Module:
    """Every digit is brighter than the limit."""
    return network(num_classes, -0.9)


def of_bright_digits(num_classes: int) -> nn.Module:
    """Half of the digits are."""
    return network(num_classes, -0.39)
