"""Picture files, each with a mask: a PNG, palette or gray, whose values are classes; 255 where nobody says which.

    pictures = in_folder(config)               # images/7.jpg, masks/7.png, and classes.txt where classes have names
    pictures.train[0]                          # (a PIL image, (H, W) uint8)

Every mask is read once before a training: what has no class, or does not fit its picture, is refused by name.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors

from measures.tasks.segmentation import VOID
from pipeline.config import DataConfig
from pipeline.datasets import Pictures, Sample
from pipeline.listed import HELD_OUT, TRAIN, intact
from pipeline.pictures import SUFFIXES, UNDECODABLE, opened, size_of
from records.errors import BadInput, shortened
from records.tensor import Array

IMAGES, MASKS = "images", "masks"
CLASSES = "classes.txt"
"""File of the classes' names, one a line, the first that of the value 0."""
MODES = {"1", "L", "P"}
"""Pillow's names of what has one value of 8 bits for each pixel, or fewer."""
SPREAD = {"L;2": 85, "L;4": 17}
"""By Pillow's name of a gray PNG of 2 or 4 bits, what it multiplies values by, so that the greatest is white."""
NAMED = 3
"""Faults that a sentence names."""


@dataclass(frozen=True)
class Masked:
    """A picture file and its mask's."""

    file: Path
    mask: Path
    split: str = ""
    """`TRAIN`, or one of `HELD_OUT`; empty: nobody said."""


@dataclass(frozen=True)
class OfMasks(Sequence[Sample]):
    """Pictures with the class of each pixel; files are opened when their sample is asked for."""

    rows: tuple[Masked, ...]
    table: Array
    """(256,) uint8: the class of each value."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: Any) -> Any:
        row = self.rows[number]
        return opened(row.file), of_classes(values(row.mask), self.table)


def values(file: Path) -> Array:
    """Return the values of a mask's pixels as they are stored: (H, W) uint8. Raises ValueError, OSError."""
    with Image.open(file) as mask:
        if mask.mode not in MODES:
            raise ValueError(f"is {mask.mode}: colours, or more than 8 bits a pixel, where a class is needed")
        stored = str(mask.tile[0].args) if mask.tile else ""
        return np.asarray(mask).astype(np.uint8) // SPREAD.get(stored, 1)


def of_classes(mask: Array, table: Array) -> tv_tensors.Mask:
    """Return the class of each pixel of values (H, W) uint8. table: (256,) uint8, the class of each value."""
    return tv_tensors.Mask(torch.from_numpy(table[mask]))


def table_of(classes: Mapping[int, int]) -> Array:
    """Return (256,) uint8: the class of each value that has one, of others `VOID`."""
    table = np.full(256, VOID, np.uint8)
    table[list(classes)] = list(classes.values())
    return table


def in_folder(config: DataConfig) -> Pictures:
    """Return the pictures below `data.folder` with their masks. Raises BadInput.

    They lie in `images/` and `masks/`, in which or above which may be `train/` and one of `HELD_OUT`.
    """
    root = Path(config.folder)
    wanted = f"{IMAGES}/ and {MASKS}/ with a PNG of the same name for each image"
    if not config.folder or not root.is_dir():
        raise BadInput(f"data.folder {config.folder or 'is empty'}: no such folder. Give --folder PATH with {wanted}.")
    where = f"dataset folder {root}"
    splits = {name: places for name in (TRAIN, *HELD_OUT) if (places := _places(root, name))}
    held_out = next((name for name in HELD_OUT if name in splits), "")
    if TRAIN in splits and held_out:
        chosen = {TRAIN: splits[TRAIN], held_out: splits[held_out]}
    elif splits:
        raise BadInput(
            f"{where}: has {' and '.join(splits)} alone. Put images and masks into {TRAIN} and {HELD_OUT[0]}, or all "
            "into one."
        )
    elif (root / IMAGES).is_dir():
        chosen = {"": (root / IMAGES, root / MASKS)}
    else:
        raise BadInput(f"{where}: no folder {IMAGES}. Put {wanted} there.")
    rows = [row for split, places in chosen.items() for row in _rows(*places, split)]
    return pictures_of(rows, names_in(root), where, config)


def _places(root: Path, split: str) -> tuple[Path, Path] | None:
    """Return where images and masks of a split lie; None: there is no such split."""
    either = ((root / split / IMAGES, root / split / MASKS), (root / IMAGES / split, root / MASKS / split))
    return next((places for places in either if places[0].is_dir()), None)


def _rows(images: Path, masks: Path, split: str) -> list[Masked]:
    files = sorted(file for file in images.iterdir() if file.suffix.lower() in SUFFIXES)
    return [Masked(file, masks / f"{file.stem}.png", split) for file in files]


def names_in(root: Path) -> tuple[str, ...]:
    """Return the names of the classes that a file below `root` lists; none, where there is no such file."""
    file = root / CLASSES
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return tuple(line.strip() for line in lines if line.strip())


def pictures_of(rows: Sequence[Masked], labels: Sequence[str], where: str, config: DataConfig) -> Pictures:
    """Return the data set of pictures with masks. Raises BadInput for a mask that is not there or does not fit.

    labels: of the values from 0 on; none: each value that is found is a class.
    """
    if len(labels) > VOID:
        raise BadInput(f"{where}: {len(labels)} classes; {VOID} are the most, for {VOID} is no class. Join some.")
    for kind, missing in (
        ("images", [row.file for row in rows if not row.file.is_file()]),
        ("masks", [row.mask for row in rows if not row.mask.is_file()]),
    ):
        if missing:
            raise BadInput(
                f"{where}: {len(missing)} of its {len(rows)} {kind} are not there, the first {missing[0]}. Put them "
                "there."
            )
    first: dict[Path, Path] = {}
    for row in rows:
        if (other := first.setdefault(row.mask, row.file)) != row.file:
            raise BadInput(f"{where}: {other.name} and {row.file.name} would share the mask {row.mask}. Rename one.")
    readable, findings = intact(rows, where, config)
    found = _checked(readable, labels, where)
    if len(labels or found) < 2:
        listed = f"one class ({found[0]})" if found else "no class"
        raise BadInput(
            f"{where}: {listed} in {len(readable)} masks, and {VOID} is none. At least two classes are needed: write "
            "0, 1 and so on into the masks."
        )
    table = table_of({value: place for place, value in enumerate(range(len(labels)) if labels else found)})
    named = tuple(labels) or tuple(str(value) for value in found)
    held_out = tuple(row for row in readable if row.split in HELD_OUT)
    train = OfMasks(tuple(row for row in readable if row.split not in HELD_OUT), table)
    return Pictures(train, OfMasks(held_out, table) if held_out else None, named, findings=findings)


def _checked(rows: Sequence[Masked], labels: Sequence[str], where: str) -> list[int]:
    """Return the values of all masks but `VOID`. Raises BadInput for masks that do not fit, the first ones by name."""
    known = f"{len(labels)} classes ({shortened(', '.join(labels))}) and {VOID}"
    used: set[int] = set()
    faults = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, (found, fault) in zip(rows, pool.map(_read, rows), strict=True):
            unknown = sorted(value for value in found if labels and value >= len(labels))
            fault = fault or (f"has the value {unknown[0]}, and there are {known}" if unknown else "")
            used |= found
            faults += [f"{row.mask} {fault}"] if fault else []
    if faults:
        more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise BadInput(
            f"{where}: {'; '.join(faults[:NAMED])}{more}. Save masks as PNG of 8 bits, palette or gray, as large as "
            "their pictures, whose values are classes."
        )
    return sorted(used)


def _read(row: Masked) -> tuple[set[int], str]:
    """Return a mask's values but `VOID`, and what is wrong with it; empty: nothing is."""
    try:
        mask = values(row.mask)
    except UNDECODABLE as error:
        return set(), str(error) if isinstance(error, ValueError) else f"cannot be decoded ({error})"
    height, width = size_of(row.file)
    if mask.shape != (height, width):
        return set(), f"is {mask.shape[0]}×{mask.shape[1]}, and its picture {height}×{width}"
    return set(np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[:VOID]).tolist()), ""
