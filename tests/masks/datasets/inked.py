"""Scans of digits, and where their ink is."""

from collections.abc import Sequence
from typing import Any

import torch
from torchvision import tv_tensors

from pipeline.config import DataConfig
from pipeline.datasets import Pictures, digits

TASKS = ("masks",)
IMAGE_SIZE = 16
AUGMENTATION = "flip"
CROP = False


class _Inked(Sequence[Any]):
    def __init__(self, scans: Sequence[Any]):
        self.scans = scans

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, number: Any) -> Any:
        picture, _ = self.scans[number]
        return picture, tv_tensors.Mask((picture[0] > 100).to(torch.uint8))


def read(config: DataConfig, task: str) -> Pictures:
    return Pictures(_Inked(digits.read(config, "classification").train), None, ("paper", "ink"))
