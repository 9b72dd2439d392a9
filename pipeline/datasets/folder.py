"""Your own images: one folder per class, or `train/` and `val/` that hold such folders."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torchvision
from PIL import Image, UnidentifiedImageError

from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from records.errors import BadInput

TASK = "classification"
IMAGE_SIZE = 224
AUGMENTATION = "resized_crop"
CROP = True
HELD_OUT = ("val", "test", "validation")
"""Names of a folder beside `train`."""


def read(config: DataConfig) -> Pictures:
    """Return the images below `data.folder`, each of which can be decoded. Raises BadInput."""
    if not config.folder:
        raise BadInput(
            "data.folder is empty, but data.dataset is folder. Give --folder PATH with one folder of images per class."
        )
    root = Path(config.folder)
    if not root.is_dir():
        raise BadInput(
            f"dataset folder {root}: no such folder. Give --folder PATH with one folder of images per class."
        )
    held_out = next((root / name for name in HELD_OUT if (root / name).is_dir()), None)
    if (root / "train").is_dir() and held_out:
        train, test = _images(root / "train"), _images(held_out)
        if train.classes != test.classes:
            unshared = sorted(set(train.classes) ^ set(test.classes))
            raise BadInput(
                f"dataset folder {root}: train and {held_out.name} differ in the classes {', '.join(unshared)}. Give "
                "both the same folders."
            )
        return Pictures(train, test, tuple(train.classes))
    train = _images(root)
    return Pictures(train, None, tuple(train.classes), train.targets)


def _images(root: Path) -> Any:
    """Return an ImageFolder of which every image was decoded once, so that none fails in the midst of a training."""
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
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        bad = [problem for problem in pool.map(_unreadable, (path for path, _ in images.samples)) if problem]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise BadInput(
            f"dataset folder {root}: {len(bad)} of {len(images)} images cannot be read: "
            f"{', '.join(bad[:3])}{more}. Mend or remove them."
        )
    return images


def _unreadable(path: str) -> str | None:
    """Say why an image cannot be decoded; None: it can."""
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        return f"{path} ({reason})"
    return None
