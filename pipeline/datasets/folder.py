"""Your own images: one folder per class, or `train/` and `val/` that hold such folders.

Of segmentation: `images/`, and `masks/` with a PNG of classes for each.
"""

from pathlib import Path

import torchvision

from pipeline import masks
from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from pipeline.listed import HELD_OUT, TRAIN, Row, pictures_of
from records.errors import BadInput

TASKS = ("classification", "segmentation")
IMAGE_SIZE = {"classification": 224, "segmentation": 256}
AUGMENTATION = {"classification": "resized_crop", "segmentation": "photographs"}
CROP = {"classification": True, "segmentation": False}


def read(config: DataConfig, task: str) -> Pictures:
    """Return the images below `data.folder`, each of which can be decoded. Raises BadInput."""
    if task == "segmentation":
        return masks.in_folder(config)
    if not config.folder:
        raise BadInput(
            "data.folder is empty, but data.dataset is folder. Give --folder PATH with one folder of images per class."
        )
    root = Path(config.folder)
    if not root.is_dir():
        raise BadInput(
            f"dataset folder {root}: no such folder. Give --folder PATH with one folder of images per class."
        )
    where = f"dataset folder {root}"
    held_out = next((name for name in HELD_OUT if (root / name).is_dir()), None)
    if not (root / TRAIN).is_dir() or not held_out:
        return pictures_of(*_images(root), where, config)
    train, labels = _images(root / TRAIN, TRAIN)
    test, test_labels = _images(root / held_out, held_out)
    if labels != test_labels:
        unshared = sorted(set(labels) ^ set(test_labels))
        raise BadInput(
            f"{where}: train and {held_out} differ in the classes {', '.join(unshared)}. Give both the same folders."
        )
    return pictures_of(train + test, labels, where, config)


def _images(root: Path, split: str = "") -> tuple[list[Row], list[str]]:
    """Return the images below a folder, and the names of their classes."""
    try:
        images = torchvision.datasets.ImageFolder(root)
    except FileNotFoundError as error:
        reason = str(error).split(". ")[0].rstrip(".")
        raise BadInput(f"dataset folder {root}: {reason}. Put images into one folder per class.") from error
    if len(images.classes) < 2:
        raise BadInput(
            f"dataset folder {root}: one class ({images.classes[0]}), at least two are needed. Put images into one "
            "folder per class."
        )
    return [Row(Path(file), images.classes[label], split) for file, label in images.samples], images.classes
