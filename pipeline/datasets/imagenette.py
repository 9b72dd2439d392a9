"""Imagenette: 13,000 photographs of ten of ImageNet's classes."""

from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from pipeline.torchvision_sets import downloaded

TASK = "classification"
IMAGE_SIZE = 224
AUGMENTATION = "resized_crop"
CROP = True


def read(config: DataConfig) -> Pictures:
    """Return both of its splits. Raises BadInput."""
    return downloaded(
        config, "Imagenette", train={"split": "train", "size": "320px"}, test={"split": "val", "size": "320px"}
    )
