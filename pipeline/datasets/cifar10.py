"""CIFAR-10: 60,000 photographs of ten kinds of things, 32×32."""

from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from pipeline.torchvision_sets import downloaded

TASKS = ("classification",)
IMAGE_SIZE = 64
AUGMENTATION = "crop_flip"
CROP = False


def read(config: DataConfig, task: str) -> Pictures:
    """Return both of its splits. Raises BadInput."""
    return downloaded(config, "CIFAR10", train={"train": True}, test={"train": False})
