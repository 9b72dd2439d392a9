"""Digits in colour, as folders of images: of gray ones nobody can tell red from blue.

write(Path("images"))          # images/train/<class>/<n>.png, images/val/…
"""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def write(root: Path) -> None:
    """All 1,797 scans as RGB PNG files of 24×24 pixels: bright on dark, in colours of their own."""
    found = load_digits()
    random = np.random.default_rng(0)
    train, val = train_test_split(range(len(found.images)), test_size=0.2, stratify=found.target, random_state=0)
    for split, numbers in (("train", train), ("val", val)):
        for number in numbers:
            ink, paper = random.uniform(0.5, 1, 3), random.uniform(0, 0.2, 3)
            shape = np.kron(found.images[number] / 16, np.ones((3, 3)))[..., None]  # (24, 24, 1)
            folder = root / split / str(found.target[number])
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.round(255 * (paper + (ink - paper) * shape)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
