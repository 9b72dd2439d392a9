"""Picture files with things on them, each in a box and perhaps with a mask: what COCO's files tell.

    pictures = pictures_of(shown, ("cat", "dog"), "dataset coco val.json", config, "detection")
    pictures.train[0]                          # (a PIL image, {"boxes": (M, 4), "labels": (M,)})

All that is annotated is checked before a training: what lies outside its picture is refused by name.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors

from measures.tasks.multilabel import UNKNOWN
from measures.tasks.segmentation import VOID
from pipeline.config import DataConfig
from pipeline.datasets import Pictures, Sample
from pipeline.listed import intact
from pipeline.pictures import opened, size_of
from records.errors import BadInput
from records.tensor import Array

BACKGROUND = "background"
"""Class of a pixel that nothing covers."""
SLACK = 1.0
"""Pixels by which a box may end outside its picture: annotators round, and count from 0 or from 1. It is cut off."""
MASKED = ("instances", "segmentation")
"""Tasks whose truth is made of masks."""
NAMED = 3
"""Faults that a sentence names."""


@dataclass(frozen=True)
class Thing:
    """Something on a picture."""

    name: str
    """What a sentence calls it: `annotation 17`."""
    label: int
    box: tuple[float, float, float, float] | None = None
    """x and y of two corners, in pixels; None: only whether it is there is asked for."""
    mask: Callable[[int, int], Array] | None = None
    """Returns, for a picture's height and width, where it is seen: (H, W) bool; None: nobody said."""
    crowd: bool = False
    """True if it stands for many that nobody counted, or is hard to see: not to be sought."""


@dataclass(frozen=True)
class Shown:
    """A picture file, and what is on it."""

    file: Path
    things: tuple[Thing, ...]
    size: tuple[int, int] | None = None
    """Height and width, as its annotations have them; None: nobody said."""
    split: str = ""


@dataclass(frozen=True)
class OfThings(Sequence[Sample]):
    """Pictures with the truth of a task; a file is opened when its sample is asked for."""

    shown: tuple[Shown, ...]
    task: str
    known: int
    """Classes that there are."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the file of each picture."""
        return tuple(each.file for each in self.shown)

    def __len__(self) -> int:
        return len(self.shown)

    def __getitem__(self, number: Any) -> Any:
        picture = opened(self.shown[number].file)
        size, things = (picture.height, picture.width), self.shown[number].things
        if self.task == "segmentation":
            return picture, tv_tensors.Mask(torch.from_numpy(classes(things, size)))
        if self.task == "multilabel":
            return picture, torch.from_numpy(present(things, self.known))
        counted_things = [thing for thing in things if not thing.crowd]
        corners = torch.tensor([thing.box for thing in counted_things]).reshape(-1, 4)
        boxes = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=size)
        truth = {"boxes": boxes, "labels": torch.tensor([thing.label for thing in counted_things]).long()}
        if self.task == "instances":
            truth["masks"] = tv_tensors.Mask(torch.from_numpy(masks(counted_things, size)))
        return picture, truth


def masks(things: Sequence[Thing], size: tuple[int, int]) -> Array:
    """Return where each thing is seen: (M, H, W) uint8, 1 or 0."""
    found = np.zeros((len(things), *size), np.uint8)
    for place, thing in enumerate(things):
        assert thing.mask, f"{thing.name} has no mask"
        found[place] = thing.mask(*size)
    return found


def classes(things: Sequence[Thing], size: tuple[int, int]) -> Array:
    """Return the class of each pixel, 0 where nothing is: (H, W) uint8. Who comes later lies above; crowds are void."""
    found = np.zeros(size, np.uint8)
    for thing in things:
        assert thing.mask, f"{thing.name} has no mask"
        found[thing.mask(*size)] = VOID if thing.crowd else thing.label + 1
    return found


def present(things: Sequence[Thing], classes: int) -> Array:
    """Return which classes are there: (K,) uint8, 1 or 0; `UNKNOWN` where nothing but crowds is of a class."""
    found = np.zeros(classes, np.uint8)
    for thing in sorted(things, key=lambda thing: not thing.crowd):
        found[thing.label] = UNKNOWN if thing.crowd else 1
    return found


def pictures_of(shown: Sequence[Shown], labels: Sequence[str], where: str, config: DataConfig, task: str) -> Pictures:
    """Return the data set of pictures with things on them. Raises BadInput for what does not fit its picture."""
    if len(labels) + 1 > VOID and task == "segmentation":
        raise BadInput(f"{where}: {len(labels)} classes; {VOID - 1} are the most of segmentation. Join some.")
    if missing := [each.file for each in shown if not each.file.is_file()]:
        raise BadInput(
            f"{where}: {len(missing)} of its {len(shown)} images are not there, the first {missing[0]}. Put them there."
        )
    readable, findings = intact(shown, where, config)
    fitting = tuple(_checked(readable, where, task))
    if not any(each.things for each in fitting):
        raise BadInput(f"{where}: nothing is annotated on any of {len(fitting)} images. Give another file.")
    named = (BACKGROUND, *labels) if task == "segmentation" else tuple(labels)
    held_out = [each for each in fitting if each.split and each.split != "train"]
    train = [each for each in fitting if each not in held_out] if held_out else list(fitting)
    test = OfThings(tuple(held_out), task, len(named)) if held_out else None
    return Pictures(OfThings(tuple(train), task, len(named)), test, named, findings=findings)


def _checked(shown: Sequence[Shown], where: str, task: str) -> list[Shown]:
    """Return pictures whose boxes end with them. Raises BadInput for what lies outside, or is nowhere."""
    faults: list[str] = []
    fitting = []
    for each in shown:
        size = size_of(each.file)
        if each.size and each.size != size:
            faults.append(f"{each.file.name} is {_sized(size)}, and its annotations are of {_sized(each.size)}")
            continue
        things = []
        for thing in each.things:
            box, fault = _fitted(thing.box, size) if thing.box else (None, "")
            if not fault and task in MASKED:
                fault = _misfit(thing, size, task)
            if fault:
                faults.append(f"{thing.name} on {each.file.name} {fault}")
            things.append(Thing(thing.name, thing.label, box, thing.mask, thing.crowd))
        fitting.append(Shown(each.file, tuple(things), size, each.split))
    if faults:
        more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise BadInput(f"{where}: {'; '.join(faults[:NAMED])}{more}. Mend the annotations, or remove them.")
    return fitting


def _sized(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _fitted(
    box: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[tuple[float, float, float, float], str]:
    """Return a box within its picture, and what is wrong with it; empty: nothing is."""
    x, y, right, bottom = box
    if not all(map(math.isfinite, box)):
        return box, f"has the box {list(box)}"
    if right <= x or bottom <= y:
        return box, f"has a box of {right - x:g}×{bottom - y:g} pixels, which is no area"
    height, width = size
    if x < -SLACK or y < -SLACK or right > width + SLACK or bottom > height + SLACK:
        return box, f"ends at ({x:g}, {y:g}, {right:g}, {bottom:g}), outside of {_sized(size)}"
    inside = max(x, 0.0), max(y, 0.0), min(right, float(width)), min(bottom, float(height))
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        return box, f"lies at ({x:g}, {y:g}, {right:g}, {bottom:g}), outside of {_sized(size)}"
    return inside, ""


def _misfit(thing: Thing, size: tuple[int, int], task: str) -> str:
    """Return what is wrong with a thing's mask; empty: nothing is."""
    if thing.mask is None:
        return f"has no mask, and {task} needs one"
    try:
        mask = thing.mask(*size)
    except ValueError as error:
        return f"has a mask that cannot be read ({error})"
    return "" if mask.shape == size else f"has a mask of {_sized((mask.shape[0], mask.shape[1]))}, not {_sized(size)}"
