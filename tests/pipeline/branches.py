"""Networks with a branch in Python: by what is in the image, by its sizes, by a number of their own, by chance."""

import torch
from torch import nn


class Base(nn.Module):
    """Image (N, 3, H, W) → features (N, 8) → logits (N, num_classes); what lies between is the branch."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2)
        self.head = nn.Linear(8, num_classes)
        self.register_buffer("limit", torch.tensor(2.0))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.convolution(x)).mean((2, 3))


class Bright(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.features(x)
        if x.mean() > 0.5:
            y = y * 2
        return self.head(y)


class Counted(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.features(x)
        for _ in range(int(x.sum()) % 3):
            y = y * 2
        return self.head(y)


class Read(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.features(x)
        y = y * x.max().item()
        return self.head(y)


class Unscriptable(Base):
    """`torch.jit.script` takes no arguments of any number."""

    def forward(self, x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        y = self.features(x)
        if x.mean() > 0.5:
            y = y * 2
        return self.head(y)


class ByChance(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.features(x)
        if torch.rand(1) > 2:
            y = y * 2
        return self.head(y)


class Sizes(Base):
    def forward(self, x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        assert x.shape[1] == 3
        if int(x.shape[2]) != x.shape[3]:
            raise ValueError("not square")
        return self.head(self.features(x))


class OwnNumber(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.features(x)
        if self.limit > 1:
            y = y * self.limit.item()
        return self.head(y)


class RowByRow(Base):
    """A trace keeps the number of rows; `torch.jit.script` takes no arguments of any number."""

    def forward(self, x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        rows = [self.features(row[None]) for row in x]
        return self.head(torch.cat(rows))
