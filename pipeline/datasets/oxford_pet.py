"""Oxford-IIIT Pet: 7,349 photographs of cats and dogs of 37 breeds, each with the animal's outline.

Of segmentation the animal is told from the background; the line between both, which the trimaps have as a value of its
own and their authors call not classified, is void (https://www.robots.ox.ac.uk/~vgg/data/pets/).
"""

from dataclasses import replace

import numpy as np
from PIL import Image
from torchvision import tv_tensors

from pipeline import masks
from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from pipeline.torchvision_sets import downloaded

TASKS = ("classification", "segmentation")
IMAGE_SIZE = {"classification": 224, "segmentation": 256}
AUGMENTATION = {"classification": "resized_crop", "segmentation": "photographs"}
CROP = {"classification": True, "segmentation": False}
LABELS = ("background", "pet")
ANIMAL, BACKGROUND = 1, 2
"""Values of a trimap; the third is the line between both."""


def read(config: DataConfig, task: str) -> Pictures:
    """Return both of its splits. Raises BadInput."""
    splits = ({"split": "trainval"}, {"split": "test"})
    if task == "classification":
        return downloaded(config, "OxfordIIITPet", *splits)
    options = {"target_types": "segmentation", "target_transform": of_trimap}
    pictures = downloaded(config, "OxfordIIITPet", *(split | options for split in splits))
    return replace(pictures, labels=LABELS)


def of_trimap(trimap: Image.Image) -> tv_tensors.Mask:
    """Return the class of each pixel (H, W) uint8, `VOID` on the line between animal and background."""
    return masks.of_classes(np.asarray(trimap), masks.table_of({BACKGROUND: 0, ANIMAL: 1}))
