"""scikit-learn's 1,797 scans of digits, 8×8 gray: they come with the package."""

from collections.abc import Sequence
from typing import Any

import torch
from sklearn.datasets import load_digits
from torchvision import tv_tensors

from pipeline.config import DataConfig
from pipeline.datasets import Pictures, Sample

TASKS = ("classification",)
IMAGE_SIZE = 64
AUGMENTATION = "affine"
CROP = False


class _Scans(Sequence[Sample]):
    """Images in memory: (N, 1, 8, 8) uint8 and their classes."""

    def __init__(self, images: torch.Tensor, classes: Sequence[int]):
        self.images, self.classes = images, classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: Any) -> Any:
        return tv_tensors.Image(self.images[number]), self.classes[number]


def read(config: DataConfig, task: str) -> Pictures:
    """Return all scans; a test split is to be cut from them."""
    digits = load_digits()
    images = torch.from_numpy(digits.images * (255 / 16)).round().to(torch.uint8)[:, None]
    classes = [int(label) for label in digits.target]
    return Pictures(_Scans(images, classes), None, tuple("0123456789"), classes)
