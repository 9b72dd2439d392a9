"""Your own images with COCO's annotations: a JSON of `images`, `annotations` and `categories`.

The format: https://cocodataset.org/#format-data. Of classification an image has one category, of multilabel any number,
and no box or mask is read; of all other tasks each annotation is a thing on its image. COCO's own folder has a JSON for
a split.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from pipeline import things
from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from pipeline.listed import Row, pictures_of
from pipeline.things import Shown, Thing
from records import settings
from records.errors import BadInput
from records.tensor import Array

TASKS = ("classification", "detection", "instances", "multilabel", "segmentation")
IMAGE_SIZE = {"classification": 224, "detection": 320, "instances": 320, "multilabel": 224, "segmentation": 256}
AUGMENTATION = {
    "classification": "resized_crop",
    "detection": "photographs",
    "instances": "photographs",
    "multilabel": "photographs",
    "segmentation": "photographs",
}
CROP = {"classification": True, "detection": False, "instances": False, "multilabel": False, "segmentation": False}
"""What lies at the edge of a picture is not to be lost."""
FOLDERS = ("", "images")
"""Where images lie, seen from the JSON."""
ANNOTATIONS = "annotations/instances_{split}*.json"
"""Where COCO's own folder has the JSON of a split, whose images lie in a folder of the split's name and year."""
SPLITS = ("train", "val")
Identity = int | str


@dataclass(frozen=True)
class _Image:
    id: Identity
    file_name: str
    height: int = 0
    width: int = 0


@dataclass(frozen=True)
class _Annotation:
    image_id: Identity
    category_id: Identity
    id: Identity = ""
    bbox: list[float] = field(default_factory=list)
    """x and y of the upper left corner, width and height."""
    segmentation: list[list[float]] | dict[str, Any] | None = None
    """Polygons, or run lengths."""
    iscrowd: int = 0


@dataclass(frozen=True)
class _Category:
    id: Identity
    name: str


@dataclass(frozen=True)
class _Coco:
    """What is read of the file; anything else may stand in it."""

    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def read(config: DataConfig, task: str) -> Pictures:
    """Return the images that the JSON `data.folder` names, each of which can be decoded. Raises BadInput."""
    place = Path(config.folder)
    if task != "classification":
        return _of_things(place, config, task)
    if not config.folder or not place.is_file():
        raise BadInput(f"data.folder {config.folder or 'is empty'}: no such JSON. Give --folder annotations.json.")
    where = f"dataset coco {place}"
    coco = _parse(place, where)
    names = {category.id: category.name for category in coco.categories}
    _check_once("category id", (category.id for category in coco.categories), where)
    _check_once("image id", (image.id for image in coco.images), where)
    categories = _categories(coco, names, where)
    only = {image.id: _only(categories[image.id], names, image, where) for image in coco.images}
    used = set(only.values())
    labels = [name for category, name in names.items() if category in used]
    _check_once("category", labels, where)  # a parent of the same name, which no image has, may be there
    rows = [Row(_place_of(image, place.parent, where), names[only[image.id]]) for image in coco.images]
    return pictures_of(rows, labels, where, config)


def _of_things(place: Path, config: DataConfig, task: str) -> Pictures:
    """Return the images of a JSON, or of a folder with a JSON for each split, with the things on them."""
    jsons = {"": place} if config.folder and place.is_file() else {}
    if config.folder and place.is_dir():
        found = {split: sorted(place.glob(ANNOTATIONS.format(split=split))) for split in SPLITS}
        jsons = {split: files[0] for split, files in found.items() if files}
    if not jsons or (place.is_dir() and "train" not in jsons):
        wanted = " and ".join(ANNOTATIONS.format(split=split) for split in SPLITS)
        raise BadInput(
            f"data.folder {config.folder or 'is empty'}: no JSON, and no folder with {wanted}. Give --folder one of "
            "both."
        )
    where = f"dataset coco {place}"
    shown: list[Shown] = []
    names: dict[Identity, str] = {}
    for split, file in jsons.items():
        coco = _parse(file, where)
        _check_once("category id", (category.id for category in coco.categories), where)
        _check_once("image id", (image.id for image in coco.images), where)
        categories = {category.id: category.name for category in coco.categories}
        if names and categories != names:
            raise BadInput(f"{where}: {file.name} has other categories than the one before. Give both the same.")
        names = categories
        _check_once("category", names.values(), where)
        shown += _shown(coco, list(names), place if split else file.parent, split, where, task)
    return things.pictures_of(shown, list(names.values()), where, config, task)


def _shown(coco: _Coco, order: list[Identity], folder: Path, split: str, where: str, task: str) -> list[Shown]:
    _categories(coco, {category.id: category.name for category in coco.categories}, where)  # which checks all ids
    of_image: dict[Identity, list[Thing]] = defaultdict(list)
    for number, annotation in enumerate(coco.annotations):
        name, label = f"annotation {annotation.id or number}", order.index(annotation.category_id)
        if task == "multilabel":  # of which a crowd is many, and so is there
            of_image[annotation.image_id].append(Thing(name, label))
            continue
        if len(annotation.bbox) != 4:
            raise BadInput(f"{where}: {name} has the bbox {annotation.bbox}; x, y, width and height are needed.")
        x, y, width, height = annotation.bbox
        mask, crowd = _mask_of(annotation.segmentation), bool(annotation.iscrowd)
        of_image[annotation.image_id].append(Thing(name, label, (x, y, x + width, y + height), mask, crowd))
    return [
        Shown(
            _place_of(image, folder, where, split),
            tuple(of_image[image.id]),
            (image.height, image.width) if image.height and image.width else None,
            split,
        )
        for image in coco.images
    ]


def _mask_of(segmentation: list[list[float]] | dict[str, Any] | None) -> Callable[[int, int], Array] | None:
    """Return what draws polygons or run lengths as (H, W) bool; None: there are none. It raises ValueError."""
    if not segmentation:
        return None
    from faster_coco_eval import mask as coco_mask

    def drawn(height: int, width: int) -> Array:
        lengths: Any = segmentation
        try:
            if isinstance(lengths, list):
                lengths = coco_mask.merge(coco_mask.frPyObjects(lengths, height, width))
            elif isinstance(lengths.get("counts"), list):
                lengths = coco_mask.frPyObjects(lengths, *lengths["size"])
            return np.asarray(coco_mask.decode(lengths)).astype(bool)
        except Exception as error:  # whatever the library raises for what is neither
            raise ValueError(" ".join(str(error).split())[:100]) from error

    return drawn


def _parse(place: Path, where: str) -> _Coco:
    try:
        coco: _Coco = settings.adapter(_Coco).validate_json(place.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        part = ".".join(str(step) for step in problem["loc"]) or "the file"
        raise BadInput(
            f"{where}: {part}: {problem['msg']}. Give a JSON with COCO's images, annotations and categories."
        ) from error
    return coco


def _check_once(kind: str, values: Iterable[Any], where: str) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise BadInput(f"{where}: {kind} {value!r} is there twice. Give each its own.")
        seen.add(value)


def _categories(coco: _Coco, names: dict[Identity, str], where: str) -> dict[Identity, set[Identity]]:
    """Return the ids of the categories that each image has by the image's id; of most, one."""
    known = {image.id for image in coco.images}
    categories: dict[Identity, set[Identity]] = defaultdict(set)
    for annotation in coco.annotations:
        if annotation.image_id not in known:
            raise BadInput(f"{where}: an annotation is of image {annotation.image_id!r}, which images lacks. Add it.")
        if annotation.category_id not in names:
            raise BadInput(
                f"{where}: an annotation is of category {annotation.category_id!r}, which categories lacks. Add it."
            )
        categories[annotation.image_id].add(annotation.category_id)
    return categories


def _only(categories: set[Identity], names: dict[Identity, str], image: _Image, where: str) -> Identity:
    """Return the id of the one category that an image has."""
    if len(categories) != 1:
        several = ", ".join(sorted(names[category] for category in categories)) or "none"
        raise BadInput(
            f"{where}: {image.file_name} has {len(categories)} categories ({several}), and a class is one. Annotate it "
            "with one, or remove it."
        )
    return next(iter(categories))


def _place_of(image: _Image, folder: Path, where: str, split: str = "") -> Path:
    """Return the file of an image, which lies in one of `FOLDERS`, or in one of a split's name and year."""
    own = sorted(path.name for path in folder.glob(f"{split}*") if path.is_dir()) if split else []
    places = [folder / name / image.file_name for name in (*own, *FOLDERS)]
    for place in places:
        if place.is_file():
            return place
    raise BadInput(f"{where}: {image.file_name} is neither {places[0]} nor {places[-1]}. Put it there.")
