"""Fashion-MNIST: 70,000 pictures of clothes, 28×28 gray."""

from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from pipeline.torchvision_sets import downloaded

TASKS = ("classification",)
IMAGE_SIZE = 64
AUGMENTATION = "crop_flip"
CROP = False


def read(config: DataConfig, task: str) -> Pictures:
    """Return both of its splits. Raises BadInput."""
    return downloaded(config, "FashionMNIST", train={"train": True}, test={"train": False})
