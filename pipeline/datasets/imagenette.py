"""Imagenette: 13,000 photographs of ten of ImageNet's classes."""

from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from pipeline.pictures import opened
from pipeline.torchvision_sets import downloaded

TASKS = ("classification",)
IMAGE_SIZE = 224
AUGMENTATION = "resized_crop"
CROP = True


def read(config: DataConfig, task: str) -> Pictures:
    """Return both of its splits. Raises BadInput."""
    options = {"size": "320px", "loader": opened}
    return downloaded(config, "Imagenette", train={"split": "train", **options}, test={"split": "val", **options})
