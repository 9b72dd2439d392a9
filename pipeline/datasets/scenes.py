"""Cards with handwritten digits on photographs: boxes and masks are known, and nothing is downloaded.

    pictures = read(DataConfig("scenes"), "detection")
    picture, truth = pictures.train[20]        # (3, S, S) uint8; {"boxes": (M, 4), "labels": (M,)}

Scans are scikit-learn's digits, photographs lie in scikit-image and scikit-learn. Whatever is seen in testing, scan or
photograph, is in no picture of training. A scene is made when it is first asked for, by its number and size alone, and
kept: always the same.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torchvision import tv_tensors

from pipeline.config import DataConfig
from pipeline.datasets import Pictures, Sample
from records.tensor import Array

TASKS = ("detection", "instances", "multilabel", "segmentation")
IMAGE_SIZE = 320
AUGMENTATION = "light"
CROP = False
DETECTION = {"score": 0.05, "detections": 32, "candidates": 200}

SIDE = 320
"""Height and width of a scene in the units of all lengths here: pixels, where the model takes 320."""
TRAIN = {"detection": 450, "instances": 450, "segmentation": 450, "multilabel": 1920}
"""Scenes to train on: more, where all that is told of one is which digits are on it."""
TEST = {"detection": 200, "instances": 256, "segmentation": 96, "multilabel": 256}
"""Scenes to test on; more, where more shall be golden."""
LABELS = tuple("0123456789")
BACKGROUND = "background"
"""Class of a pixel that no card covers."""
CARDS = {"detection": (3, 9), "instances": (1, 5), "segmentation": (6, 12), "multilabel": (1, 3)}
"""Cards in a scene, at least and at most, as far as there is room."""
CARD = {"detection": (64, 136), "instances": (104, 208), "segmentation": (64, 112), "multilabel": (128, 176)}
"""Side of a card, from and to. Of all tasks but detection, pictures are half as large."""
TURN = 12.0
"""Degrees that a card is turned by, at most."""
OVERLAP = 0.05
"""Share of a card that others may cover."""
PLAIN = (128, 128, 128)
"""Colour behind the cards of a scene in which two shall be equal."""
SPECIAL = ("empty", "crowd", "twins", "touching")
"""Kinds of scene that each split begins with, again and again until it has `SPECIALS`; all others are random."""
SPECIALS = 8

TRAINING = (
    "skimage/astronaut.png", "skimage/brick.png", "skimage/camera.png", "skimage/coffee.png", "skimage/grass.png",
    "skimage/hubble_deep_field.jpg", "skimage/ihc.png", "skimage/motorcycle_left.png", "skimage/rocket.jpg",
    "sklearn/china.jpg",
)  # fmt: skip
TESTING = (
    "skimage/chelsea.png", "skimage/gravel.png", "skimage/moon.png", "skimage/retina.jpg", "sklearn/flower.jpg",
)  # fmt: skip
"""Photographs behind the cards of each split."""
FOLDERS = {"skimage": ("skimage", "data"), "sklearn": ("sklearn", "datasets", "images")}


@dataclass(frozen=True)
class Scene:
    """A picture, and what is on it."""

    picture: Array
    """(S, S, 3) uint8."""
    labels: Array
    """(M,) int64: the digit on each card."""
    masks: Array
    """(M, S, S) bool: where each card is seen."""

    @property
    def boxes(self) -> Array:
        """Return the box around what is seen of each card: (M, 4) float32, x and y of two corners in pixels."""
        corners = []
        for mask in self.masks:
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            corners.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        return np.array(corners, np.float32).reshape(-1, 4)

    @property
    def classes(self) -> Array:
        """Return the class of each pixel, 0 where no card is: (S, S) uint8."""
        found = np.zeros(self.picture.shape[:2], np.uint8)
        for label, mask in zip(self.labels, self.masks, strict=True):
            found[mask] = label + 1
        return found


@dataclass(frozen=True)
class Scenes(Sequence[Sample]):
    """The scenes of a split, each made when it is asked for."""

    seed: int
    length: int
    photographs: tuple[Array, ...]
    """(H, W, 3) uint8 each."""
    scans: Array
    """(K, 8, 8) float64 in [0, 1]."""
    digits: Array
    """(K,) int64."""
    task: str
    side: int
    """Height and width of a scene in pixels."""
    made: dict[int, Sample] = field(default_factory=dict, repr=False)
    """Scenes that were asked for, by number."""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < self.length:
            raise IndexError(number)
        if number not in self.made:
            self.made[number] = self._sample(number)
        return self.made[number]

    def _sample(self, number: int) -> Sample:
        scene = self.scene(number)
        picture = tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(scene.picture.transpose(2, 0, 1))))
        if self.task == "segmentation":
            return picture, tv_tensors.Mask(torch.from_numpy(scene.classes))
        if self.task == "multilabel":
            return picture, torch.from_numpy(np.isin(np.arange(len(LABELS)), scene.labels).astype(np.uint8))
        size = scene.picture.shape[:2]
        boxes = tv_tensors.BoundingBoxes(torch.from_numpy(scene.boxes), format="XYXY", canvas_size=size)
        truth = {"boxes": boxes, "labels": torch.from_numpy(scene.labels)}
        if self.task == "instances":
            truth["masks"] = tv_tensors.Mask(torch.from_numpy(scene.masks.astype(np.uint8)))
        return picture, truth

    def scene(self, number: int) -> Scene:
        """Return the scene of that number."""
        random = np.random.default_rng((self.seed, number))
        kind = SPECIAL[number % len(SPECIAL)] if number < SPECIALS else "random"
        if kind == "twins":
            canvas = Image.new("RGB", (self.side, self.side), PLAIN)
        else:
            canvas = _background(self.photographs[random.integers(len(self.photographs))], self.side, random)
        places = [
            tuple(round(length * self.side / SIDE) for length in place) for place in _PLACES[kind](random, self.task)
        ]
        chosen = random.integers(len(self.scans), size=len(places))
        if kind == "twins":
            chosen[:] = chosen[:1]
        masks: list[Array] = []
        twin = int(random.integers(2**31))
        for (x, y, side), index in zip(places, chosen, strict=True):
            card = _card(self.scans[index], side, np.random.default_rng(twin) if kind == "twins" else random)
            canvas.paste(card, (x, y), card)
            mask = np.zeros((self.side, self.side), bool)
            place = mask[y : y + card.height, x : x + card.width]  # rounded to pixels, it may end a pixel beyond
            place[:] = np.asarray(card)[: place.shape[0], : place.shape[1], 3] > 127
            masks = [below & ~mask for below in masks] + [mask]
        seen = [place for place, mask in enumerate(masks) if mask.any()]
        stacked = np.stack([masks[place] for place in seen]) if seen else np.zeros((0, self.side, self.side), bool)
        return Scene(np.array(canvas), self.digits[chosen[seen]], stacked)


def read(config: DataConfig, task: str) -> Pictures:
    """Return the scenes of both splits, as large as the model's pictures, with the truth of a task."""
    digits = load_digits()
    numbers = np.arange(len(digits.target))
    train, test = train_test_split(numbers, test_size=0.2, stratify=digits.target, random_state=0)

    def scenes(seed: int, count: int, names: Sequence[str], chosen: Array) -> Scenes:
        photographs = tuple(_photograph(name) for name in names)
        scans, labels = digits.images[chosen] / 16, digits.target[chosen]
        return Scenes(seed, count, photographs, scans, labels, task, max(config.size) or SIDE)

    labels = (BACKGROUND, *LABELS) if task == "segmentation" else LABELS

    count = max(TEST[task], config.golden)
    return Pictures(scenes(0, TRAIN[task], TRAINING, train), scenes(1, count, TESTING, test), labels)


@functools.cache
def _photograph(name: str) -> Array:
    """Return a photograph as (H, W, 3) uint8, its shorter side `SIDE` pixels or more."""
    package, _, file = name.partition("/")
    root, *folders = FOLDERS[package]
    with resources.files(root).joinpath(*folders, file).open("rb") as stream:
        picture = Image.open(stream).convert("RGB")
    scale = max(1.0, SIDE / min(picture.size))
    return np.asarray(picture.resize([round(side * scale) for side in picture.size], Image.Resampling.BILINEAR))


def _background(photograph: Array, size: int, random: np.random.Generator) -> Image.Image:
    """Return a square cut out of a photograph, of a random size, place and brightness, mirrored or not."""
    height, width = photograph.shape[:2]
    side = int(random.integers(SIDE // 2, min(height, width) + 1))
    x, y = int(random.integers(width - side + 1)), int(random.integers(height - side + 1))
    square = Image.fromarray(photograph[y : y + side, x : x + side]).resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(square)[:, :: -1 if random.random() < 0.5 else 1]
    return Image.fromarray(np.minimum(pixels * np.float32(random.uniform(0.6, 1.2)), 255).astype(np.uint8))


def _card(scan: Array, side: int, random: np.random.Generator) -> Image.Image:
    """Return a digit on a card with round corners, turned by up to `TURN` degrees: RGBA, `side` pixels before that."""
    paper, ink = random.integers(160, 256, 3), random.integers(0, 80, 3)
    inner = round(side * random.uniform(0.75, 0.95))
    digit = Image.fromarray(np.round(scan * 255).astype(np.uint8)).resize((inner, inner), Image.Resampling.BICUBIC)
    card = Image.new("RGB", (side, side), tuple(int(value) for value in paper))
    margin = (side - inner) // 2
    card.paste(tuple(int(value) for value in ink), (margin, margin, margin + inner, margin + inner), digit)
    card.putalpha(_outline().resize((side, side), Image.Resampling.BOX))
    return card.rotate(random.uniform(-TURN, TURN), Image.Resampling.BILINEAR, expand=True)


@functools.cache
def _outline() -> Image.Image:
    """Return a square with round corners, white on black."""
    side = 512
    outline = Image.new("L", (side, side))
    ImageDraw.Draw(outline).rounded_rectangle((0, 0, side - 1, side - 1), radius=side * 0.2, fill=255)
    return outline


Places = list[tuple[int, int, int]]
"""Of each card x and y of its upper left corner, and its side."""
TURNED = math.cos(math.radians(TURN)) + math.sin(math.radians(TURN))
"""Times a card's side that its picture measures, once turned."""


def _scattered(random: np.random.Generator, task: str) -> Places:
    """Return random cards that cover each other by little."""
    places: Places = []
    (fewest, most), (least, greatest) = CARDS[task], CARD[task]
    wanted = int(random.integers(fewest, most + 1))
    for size, right, down in random.random((10 * wanted, 3)).tolist():
        side = int(least * (greatest / least) ** size)
        room = SIDE - math.ceil(TURNED * side) - 2
        x, y = int(right * (room + 1)), int(down * (room + 1))
        if all(_covered((x, y, side), other) <= OVERLAP for other in places):
            places.append((x, y, side))
        if len(places) == wanted:
            break
    return places


def _covered(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """Return the part of the smaller of two squares that both share."""
    (x1, y1, s1), (x2, y2, s2) = one, other
    across = min(x1 + s1, x2 + s2) - max(x1, x2)
    down = min(y1 + s1, y2 + s2) - max(y1, y2)
    return max(0, across) * max(0, down) / min(s1, s2) ** 2


def _crowded(random: np.random.Generator, task: str) -> Places:
    """Return more cards, side by side, than boxes are given: six rows of six."""
    return [(column * 53, row * 53, 43) for row in range(6) for column in range(6)]


def _twins(random: np.random.Generator, task: str) -> Places:
    """Return two equal cards, 64 pixels or a multiple apart, so that every step of a network sees the same."""
    return [(64, 112, 72), (192, 112, 72)]


def _touching(random: np.random.Generator, task: str) -> Places:
    """Return four cards that touch."""
    return [(64 + 90 * column, 64 + 90 * row, 90) for row in range(2) for column in range(2)]


_PLACES = {
    "empty": lambda random, task: [],
    "crowd": _crowded,
    "twins": _twins,
    "touching": _touching,
    "random": _scattered,
}
