"""Splits and batches: real images in, `image` (3, H, W) float32 RGB in [0, 1] out.

    data = load(config)
    data.test.batch([0, 1]).inputs["image"]    # (2, 3, H, W)

A file in `datasets/` gives the pictures; everything after that is the same for all. The split of a data set that comes
without one is fixed: it does not depend on the seed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import tv_tensors
from torchvision.transforms import v2

from pipeline import datasets, tasks
from pipeline.config import DETECTORS, Config
from pipeline.datasets import Pictures, Sample
from pipeline.tasks import Batch
from records.errors import BadInput
from records.preparation import MOST_PIXELS, misfit

IMAGE = "image"
"""The input that a picture becomes."""
INTERPOLATIONS = ("bilinear", "bicubic")
"""Of a preparation: what validate/preparation/ does in every language."""
CROPPED = 0.875
"""Share of a resized picture's side that is cropped from it."""
HELD_OUT = 0.2
"""Share of a data set without a test split that becomes it."""


@dataclass(frozen=True)
class Preparation:
    """How an image file becomes the model's input. An app does the same: it is in every manifest.

    Before that a picture is turned as its EXIF orientation says (pictures.py), always.
    """

    resize: tuple[int, int]
    """Height and width. With a crop, the picture keeps its shape and becomes just large enough to cover them."""
    crop: tuple[int, int] | None
    """Height and width cut from the centre, or None."""
    interpolation: str = "bilinear"
    """One of `INTERPOLATIONS`."""
    antialias: bool = True
    channels: str = "RGB"
    """Gray images are repeated on all three; transparency is dropped."""
    scale: float = 1 / 255
    """Multiplies the uint8 values that resizing gives."""

    def __post_init__(self) -> None:
        """Raise BadInput for sizes that no memory has room for, and for a crop larger than what it is cut from."""
        if reason := misfit(self.record()):
            raise BadInput(f"preparation: {reason}. Give another size of the input, or another one to resize to.")

    def transform(self) -> v2.Transform:
        """Return the transform of an `opaque` image to (3, H, W) uint8; it changes the image's truth alike."""
        kind, antialias = v2.InterpolationMode(self.interpolation), self.antialias
        resize = Resize(self.resize, kind, antialias, cover=self.crop is not None)
        return v2.Compose([resize, *([v2.CenterCrop(list(self.crop))] if self.crop else []), v2.RGB()])

    def record(self) -> dict[str, Any]:
        """Return the fields as the checkpoint stores them."""
        return asdict(self)


class Resize(v2.Transform):  # type: ignore[misc]  # torchvision has no annotations
    """Resize a picture to a height and width; to cover them, until it just does and keeps its own ratio."""

    def __init__(self, size: tuple[int, int], interpolation: v2.InterpolationMode, antialias: bool, cover: bool):
        super().__init__()
        self.size, self.interpolation, self.antialias, self.cover = size, interpolation, antialias, cover

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Return the picture's new height and width, as torchvision's v2 asks for them before `transform`.

        Raises BadInput for a picture so long that it fills memory: rows are resized first, all of them.
        """
        height, width = v2.functional.get_size(flat_inputs[0])
        size = covering((height, width), self.size) if self.cover else self.size
        most = max(height, size[0]) * size[1]
        if most > MOST_PIXELS:
            raise BadInput(
                f"picture of {height}×{width} pixels: resized to {size[0]}×{size[1]} it takes {most:,} on the way, and "
                f"at most {MOST_PIXELS:,} are allowed. Cut its long side off, or remove it."
            )
        return {"size": list(size)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize one part of a sample: a picture or what lies on one; numbers are returned as they are."""
        return self._call_kernel(
            v2.functional.resize, inpt, params["size"], interpolation=self.interpolation, antialias=self.antialias
        )


def covering(picture: Sequence[int], least: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width in a picture's own ratio that are nowhere below `least`; rounded down, as apps do."""
    height, width = picture
    if least[0] * width >= least[1] * height:  # the height decides
        return least[0], least[0] * width // height
    return least[1] * height // width, least[1]


def opaque(picture: Any) -> tv_tensors.Image:
    """Return a PIL image of any mode or a (C, H, W) uint8 tensor as gray (1, H, W) or RGB (3, H, W) uint8."""
    if isinstance(picture, Image.Image) and picture.mode not in {"L", "RGB"}:
        picture = picture.convert("L" if picture.mode in {"1", "LA"} else "RGB")
    image = v2.functional.to_image(picture)
    return tv_tensors.Image(image[: 1 if len(image) < 3 else 3])


class Collate:
    """Make a Batch of prepared samples; by its task's name, for a process that loads images has to be sent it."""

    def __init__(self, task: str):
        self.task = task

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Return samples of (image (3, H, W), truth) as one batch."""
        truth = tasks.load(self.task).collate([truth for _, truth in samples])
        return Batch({IMAGE: torch.stack([image for image, _ in samples])}, truth)


class Split(Dataset[Sample]):
    """One split, prepared or augmented.

    An index is a number, or (epoch, number) where augmentation is wanted: the randomness of a sample then depends on
    seed, epoch and number alone, so neither the count of workers nor an interruption changes it.
    """

    def __init__(
        self,
        raw: Sequence[Sample],
        numbers: Sequence[int],
        prepare: v2.Transform,
        collate: Collate,
        augment: v2.Transform | None = None,
        seed: int = 0,
    ):
        self.raw, self.numbers, self.prepare, self.collate = raw, numbers, prepare, collate
        self.augment, self.seed = augment, seed

    def __len__(self) -> int:
        return len(self.numbers)

    def plain(self) -> "Split":
        """Return this split without augmentation."""
        return Split(self.raw, self.numbers, self.prepare, self.collate)

    def picture(self, place: int) -> Any:
        """Return a sample's picture as it is stored: a PIL image or a (C, H, W) uint8 tensor."""
        return self.raw[self.numbers[place]][0]

    def __getitem__(self, index: int | tuple[int, int]) -> Sample:
        """Return image (3, H, W) float32 in [0, 1], and truth."""
        epoch, place = (None, index) if isinstance(index, int) else index
        picture, truth = self.raw[self.numbers[place]]
        if epoch is None or self.augment is None:
            image, truth = self.prepare(opaque(picture), truth)
        else:
            state = torch.get_rng_state()
            torch.default_generator.manual_seed((self.seed * 1_000_003 + epoch) * 1_000_000_007 + place)
            image, truth = self.augment(opaque(picture), truth)
            torch.set_rng_state(state)
        return image.as_subclass(torch.Tensor).float() / 255, truth

    def batch(self, numbers: Sequence[int]) -> Batch:
        """Return samples as training prepares them, without augmentation."""
        return self.collate([self[int(number)] for number in numbers])


@dataclass(frozen=True)
class Data:
    """A data set, ready to train on. Train and test are disjoint; calibration samples are taken from train."""

    train: Split
    test: Split
    labels: tuple[str, ...]
    preparation: Preparation
    findings: tuple[str, ...] = ()
    """What a user shall be told of it, such as what was left out."""


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """The batches of one epoch as (epoch, number) pairs, in an order that seed and epoch alone decide.

    `epoch` and `start` (the first batch to give) are set before each pass: together they are the sampler's state.
    """

    def __init__(self, samples: int, batch_size: int, seed: int):
        self.samples, self.batch_size, self.seed = samples, min(batch_size, samples), seed
        self.epoch = self.start = 0

    def __len__(self) -> int:
        # The last, short batch is left out: a batch of one has no BatchNorm statistics.
        return self.samples // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.samples, generator=generator).tolist()
        for batch in range(self.start, len(self)):
            yield [(self.epoch, number) for number in order[batch * self.batch_size : (batch + 1) * self.batch_size]]


def loader(split: Split, batches: EpochBatches, workers: int, pin: bool) -> DataLoader[Batch]:
    """Return a DataLoader of batches: image (N, 3, H, W) float32 in [0, 1] and truth."""
    return DataLoader(
        split,  # type: ignore[arg-type]  # of samples, which `collate_fn` makes batches of
        batch_sampler=batches,
        collate_fn=split.collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
        # Each pass draws a seed: from the global state, a resumed epoch would take one more than a whole one.
        generator=torch.Generator(),
    )


def settle(config: Config, model_size: int | None) -> Config:
    """Replace what was left to the data set: image size (the model's own, where it has one) and augmentation.

    Raises BadInput.
    """
    dataset = datasets.load(config.data.dataset)
    if config.task not in dataset.TASKS:
        fitting = [name for name in datasets.names() if config.task in datasets.load(name).TASKS]
        raise BadInput(
            f"dataset {config.data.dataset}: is for {' and '.join(dataset.TASKS)}, and the task is {config.task}. For "
            f"that there {'are ' + ', '.join(fitting) if fitting else 'is none'}. Set task or data.dataset."
        )
    augmentation = config.data.augmentation or _suiting(dataset.AUGMENTATION, config.task)
    size = config.data.image_size or model_size or _suiting(dataset.IMAGE_SIZE, config.task)
    settled = config.with_values("data", image_size=size, augmentation=augmentation)
    suiting = getattr(dataset, "DETECTION", {}) if config.task in DETECTORS else {}
    settled = settled.with_values(
        "detection", **{name: value for name, value in suiting.items() if not getattr(config.detection, name)}
    )
    tasks.load(config.task).transforms(augmentation, settled.data.size)
    _preparation(settled)
    return settled


def _suiting(value: Any, task: str) -> Any:
    """Return what a data set says for a task: the value itself, or of several, by task, that one."""
    return value[task] if isinstance(value, Mapping) else value


def _preparation(config: Config) -> Preparation:
    """Return how a settled config prepares pictures. Raises BadInput for a size that no memory has room for."""
    size = height, width = config.data.size
    if not _suiting(datasets.load(config.data.dataset).CROP, config.task):
        return Preparation(size, None)
    return Preparation((round(height / CROPPED), round(width / CROPPED)), size)


def load(config: Config) -> Data:
    """Read the data set of a settled config. Raises BadInput."""
    dataset, size = datasets.load(config.data.dataset), config.data.size
    pictures, preparation = dataset.read(config.data, config.task), _preparation(config)
    steps = tasks.load(config.task).transforms(config.data.augmentation, size)
    augment = v2.Compose([*steps, v2.RGB()]) if steps else None
    train_numbers, test_raw, test_numbers = _divide(pictures)
    prepare, collate = preparation.transform(), Collate(config.task)
    return Data(
        train=Split(pictures.train, train_numbers, prepare, collate, augment, config.train.seed),
        test=Split(test_raw, test_numbers, prepare, collate),
        labels=pictures.labels,
        preparation=preparation,
        findings=pictures.findings,
    )


def _divide(pictures: Pictures) -> tuple[Sequence[int], Sequence[Sample], Sequence[int]]:
    """Return the numbers of the training samples, the test samples, and their numbers."""
    if pictures.test is not None:
        return range(len(pictures.train)), pictures.test, range(len(pictures.test))
    from sklearn.model_selection import train_test_split

    numbers, strata = range(len(pictures.train)), pictures.strata or None
    try:
        train, test = train_test_split(numbers, test_size=HELD_OUT, stratify=strata, random_state=0)
    except ValueError as error:
        raise BadInput(
            f"dataset of {len(pictures.train)} images: too few to hold out {HELD_OUT:.0%} of every class ({error}). "
            "Add images."
        ) from error
    return train, pictures.train, test
