"""Datasets, splits and batches: real images in, `image` (3, H, W) float32 RGB in [0, 1] out.

    data = load(config)
    image, label = data.test[0]

One function per dataset gives its raw images; everything after that is the same for all.
The split of a dataset that comes without one is fixed: it does not depend on the seed.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from PIL import Image, UnidentifiedImageError
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import tv_tensors
from torchvision.transforms import v2

from pipeline.config import Config, DataConfig
from records.errors import BadInput, unknown

Raw = tuple[Any, int]
"""A PIL image or a (C, H, W) uint8 tensor, and its class."""


@dataclass(frozen=True)
class Preparation:
    """How an image file becomes the model's input. An app does the same: it is in every manifest."""

    resize: tuple[int, int]
    """Height and width. With a crop, the shorter side is resized to the smaller of them instead."""
    crop: tuple[int, int] | None
    """Height and width cut from the centre, or None."""
    interpolation: str = "bilinear"
    antialias: bool = True
    channels: str = "RGB"
    """Gray images are repeated on all three; transparency is dropped."""
    scale: float = 1 / 255
    """Multiplies the uint8 values that resizing gives."""

    def transform(self) -> v2.Transform:
        """An image as it is stored → (3, H, W) uint8."""
        size = [min(self.resize)] if self.crop else list(self.resize)
        steps: list[Any] = [v2.Resize(size, v2.InterpolationMode(self.interpolation), antialias=self.antialias)]
        if self.crop:
            steps.append(v2.CenterCrop(list(self.crop)))
        return v2.Compose([v2.Lambda(opaque), *steps, v2.RGB()])

    def record(self) -> dict[str, Any]:
        """As the checkpoint keeps it."""
        return asdict(self)


def opaque(picture: Any) -> tv_tensors.Image:
    """A PIL image of any mode or a (C, H, W) uint8 tensor → gray (1, H, W) or RGB (3, H, W) uint8."""
    if isinstance(picture, Image.Image) and picture.mode not in {"L", "RGB"}:
        picture = picture.convert("L" if picture.mode in {"1", "LA"} else "RGB")
    image = v2.functional.to_image(picture)
    return tv_tensors.Image(image[: 1 if len(image) < 3 else 3])


def _affine(size: int) -> list[Any]:
    turned = v2.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=v2.InterpolationMode.BILINEAR)
    return [v2.Resize([size, size], antialias=True), turned]


def _crop_flip(size: int) -> list[Any]:
    return [v2.Resize([size, size], antialias=True), v2.RandomCrop(size, padding=size // 8), v2.RandomHorizontalFlip()]


def _resized_crop(size: int) -> list[Any]:
    return [v2.RandomResizedCrop(size, scale=(0.35, 1.0), antialias=True), v2.RandomHorizontalFlip()]


AUGMENTATIONS: dict[str, Callable[[int], list[Any]]] = {
    "affine": _affine,
    "crop_flip": _crop_flip,
    "resized_crop": _resized_crop,
}


class Split(Dataset[tuple[torch.Tensor, int]]):
    """One split, prepared or augmented.

    An index is a number, or (epoch, number) where augmentation is wanted: the randomness of a sample then depends on
    seed, epoch and number alone, so neither the count of workers nor an interruption changes it.
    """

    def __init__(
        self,
        raw: Sequence[Raw],
        numbers: Sequence[int],
        prepare: v2.Transform,
        augment: v2.Transform | None = None,
        seed: int = 0,
    ):
        self.raw, self.numbers, self.prepare, self.augment, self.seed = raw, numbers, prepare, augment, seed

    def __len__(self) -> int:
        return len(self.numbers)

    def picture(self, place: int) -> Any:
        """A sample's image as it is stored: a PIL image or a (C, H, W) uint8 tensor."""
        return self.raw[self.numbers[place]][0]

    def __getitem__(self, index: int | tuple[int, int]) -> tuple[torch.Tensor, int]:
        """→ image (3, H, W) float32 in [0, 1], label."""
        if isinstance(index, int) or self.augment is None:
            place = index if isinstance(index, int) else index[1]
            picture, label = self.raw[self.numbers[place]]
            image = self.prepare(picture)
        else:
            epoch, place = index
            picture, label = self.raw[self.numbers[place]]
            state = torch.get_rng_state()
            torch.default_generator.manual_seed((self.seed * 1_000_003 + epoch) * 1_000_000_007 + place)
            image = self.augment(picture)
            torch.set_rng_state(state)
        return image.as_subclass(torch.Tensor).float() / 255, int(label)

    def stack(self, numbers: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Prepared images (N, 3, H, W) float32 in [0, 1] and labels (N,) int64."""
        pairs = [self[int(number)] for number in numbers]
        return torch.stack([image for image, _ in pairs]), torch.tensor([label for _, label in pairs])


@dataclass(frozen=True)
class Data:
    """A dataset, ready to train on. Train and test are disjoint; calibration samples are taken from train."""

    train: Split
    test: Split
    labels: tuple[str, ...]
    preparation: Preparation


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


def loader(split: Split, batches: EpochBatches, workers: int, pin: bool) -> DataLoader[tuple[torch.Tensor, int]]:
    """Batches of image (N, 3, H, W) float32 in [0, 1] and label (N,) int64."""
    return DataLoader(
        split,
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
        # Each pass draws a seed: from the global state, a resumed epoch would take one more than a whole one.
        generator=torch.Generator(),
    )


class _Arrays(Sequence[Raw]):
    """Images in memory: (N, C, H, W) uint8 and their classes."""

    def __init__(self, images: torch.Tensor, targets: torch.Tensor):
        self.images, self.targets = images, targets

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: Any) -> Any:
        return tv_tensors.Image(self.images[number]), int(self.targets[number])


@dataclass(frozen=True)
class _Found:
    """What a dataset function gives: raw training images, raw test images (None: cut them from the first), labels."""

    train: Sequence[Raw]
    test: Sequence[Raw] | None
    labels: tuple[str, ...]


def _digits(config: DataConfig) -> _Found:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images * (255 / 16)).round().to(torch.uint8)[:, None]
    return _Found(_Arrays(images, torch.from_numpy(digits.target)), None, tuple("0123456789"))


def _torchvision(config: DataConfig, name: str, **splits: dict[str, Any]) -> _Found:
    kind = getattr(torchvision.datasets, name)
    root = Path(config.cache)
    try:
        sets = [_present_or_download(kind, root, options) for options in splits.values()]
    except (URLError, OSError, RuntimeError) as error:
        reason = str(getattr(error, "reason", None) or error).splitlines()[0]
        raise BadInput(
            f"dataset {config.dataset}: could not be downloaded to {root}/ ({reason}). Connect to a network and "
            "try again, "
            f"or put torchvision's {name} files there."
        ) from error
    classes = [one[0] if isinstance(one, tuple) else str(one) for one in sets[0].classes]
    return _Found(sets[0], sets[1], tuple(classes))


def _present_or_download(kind: Any, root: Path, options: dict[str, Any]) -> Any:
    # Imagenette raises when asked to download what is there, the others do not: look first.
    try:
        return kind(root, **options)
    except RuntimeError:
        root.mkdir(parents=True, exist_ok=True)
        return kind(root, download=True, **options)


def _two_halves(name: str) -> Callable[[DataConfig], _Found]:
    return lambda config: _torchvision(config, name, train={"train": True}, test={"train": False})


def _imagenette(config: DataConfig) -> _Found:
    return _torchvision(
        config, "Imagenette", train={"split": "train", "size": "320px"}, test={"split": "val", "size": "320px"}
    )


def _folder(config: DataConfig) -> _Found:
    if not config.folder:
        raise BadInput(
            "data.folder is empty, but data.dataset is folder. Give --folder PATH with one folder of images per class."
        )
    root = Path(config.folder)
    if not root.is_dir():
        raise BadInput(
            f"dataset folder {root}: no such folder. Give --folder PATH with one folder of images per class."
        )
    held_out = next((root / name for name in ("val", "test", "validation") if (root / name).is_dir()), None)
    if (root / "train").is_dir() and held_out:
        train, test = _images(root / "train"), _images(held_out)
        if train.classes != test.classes:
            odd = sorted(set(train.classes) ^ set(test.classes))
            raise BadInput(
                f"dataset folder {root}: train and {held_out.name} differ in the classes {', '.join(odd)}. Give "
                "both the same folders."
            )
        return _Found(train, test, tuple(train.classes))
    train = _images(root)
    return _Found(train, None, tuple(train.classes))


def _images(root: Path) -> Any:
    """An ImageFolder of which every image was decoded once, so that none fails in the middle of a training."""
    try:
        found = torchvision.datasets.ImageFolder(root)
    except FileNotFoundError as error:
        raise BadInput(
            f"dataset folder {root}: {_first_sentence(error)} Put images into one folder per class."
        ) from error
    if len(found.classes) < 2:
        raise BadInput(
            f"dataset folder {root}: one class ({found.classes[0]}), at least two are needed. Put images into one "
            "folder per class."
        )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        bad = [problem for problem in pool.map(_unreadable, (path for path, _ in found.samples)) if problem]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise BadInput(
            f"dataset folder {root}: {len(bad)} of {len(found)} images cannot be read: "
            f"{', '.join(bad[:3])}{more}. Mend or remove them."
        )
    return found


def _first_sentence(error: Exception) -> str:
    return str(error).split(". ")[0].rstrip(".") + "."


def _unreadable(path: str) -> str | None:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        return f"{path} ({reason})"
    return None


@dataclass(frozen=True)
class _Dataset:
    find: Callable[[DataConfig], _Found]
    image_size: int
    augmentation: str
    crop: bool = False


DATASETS = {
    "digits": _Dataset(_digits, 64, "affine"),
    "mnist": _Dataset(_two_halves("MNIST"), 64, "affine"),
    "fashion_mnist": _Dataset(_two_halves("FashionMNIST"), 64, "crop_flip"),
    "cifar10": _Dataset(_two_halves("CIFAR10"), 64, "crop_flip"),
    "imagenette": _Dataset(_imagenette, 224, "resized_crop", crop=True),
    "folder": _Dataset(_folder, 224, "resized_crop", crop=True),
}

HELD_OUT = 0.2
"""Share of a dataset without a test split that becomes it."""


def settle(config: Config, model_size: int | None) -> Config:
    """Replace what was left to the dataset: image size (the model's own, where it has one) and augmentation."""
    if config.data.dataset not in DATASETS:
        raise unknown("dataset", config.data.dataset, DATASETS)
    dataset = DATASETS[config.data.dataset]
    augmentation = config.data.augmentation or dataset.augmentation
    if augmentation not in {*AUGMENTATIONS, "none"}:
        raise unknown("augmentation", augmentation, [*AUGMENTATIONS, "none"])
    size = config.data.image_size or model_size or dataset.image_size
    return config.with_values("data", image_size=size, augmentation=augmentation)


def load(config: Config) -> Data:
    """The dataset of a settled config. Raises BadInput."""
    dataset, size = DATASETS[config.data.dataset], config.data.image_size
    found = dataset.find(config.data)
    larger = round(size / 0.875)
    preparation = Preparation((larger, larger), (size, size)) if dataset.crop else Preparation((size, size), None)
    steps = AUGMENTATIONS[config.data.augmentation](size) if config.data.augmentation != "none" else []
    augment = v2.Compose([v2.Lambda(opaque), *steps, v2.RGB()]) if steps else None
    train_numbers, test_raw, test_numbers = _divide(found)
    prepare = preparation.transform()
    return Data(
        train=Split(found.train, train_numbers, prepare, augment, config.train.seed),
        test=Split(test_raw, test_numbers, prepare),
        labels=found.labels,
        preparation=preparation,
    )


def _divide(found: _Found) -> tuple[Sequence[int], Sequence[Raw], Sequence[int]]:
    if found.test is not None:
        return range(len(found.train)), found.test, range(len(found.test))
    from sklearn.model_selection import train_test_split

    targets = found.train.targets  # type: ignore[attr-defined]  # both kinds without a test split have them
    try:
        train, test = train_test_split(range(len(found.train)), test_size=HELD_OUT, stratify=targets, random_state=0)
    except ValueError as error:
        raise BadInput(
            f"dataset of {len(found.train)} images: too few to hold out {HELD_OUT:.0%} of every class ({error}). "
            "Add images."
        ) from error
    return train, found.train, test
