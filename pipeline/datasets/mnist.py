"""MNIST: 70,000 handwritten digits, 28×28 gray."""

from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from pipeline.torchvision_sets import downloaded

TASKS = ("classification",)
IMAGE_SIZE = 64
AUGMENTATION = "affine"
CROP = False


def read(config: DataConfig, task: str) -> Pictures:
    """Return both of its splits. Raises BadInput."""
    return downloaded(config, "MNIST", train={"train": True}, test={"train": False})
