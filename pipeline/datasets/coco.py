"""Your own images with COCO's annotations: a JSON of `images`, `annotations` and `categories`, one category per image.

The format: https://cocodataset.org/#format-data. Of an annotation, image and category are read, no box or mask.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from pipeline.listed import Row, pictures_of
from records import settings
from records.errors import BadInput

TASK = "classification"
IMAGE_SIZE = 224
AUGMENTATION = "resized_crop"
CROP = True
FOLDERS = ("", "images")
"""Where images lie, seen from the JSON."""
Identity = int | str


@dataclass(frozen=True)
class _Image:
    id: Identity
    file_name: str


@dataclass(frozen=True)
class _Annotation:
    image_id: Identity
    category_id: Identity


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


def read(config: DataConfig) -> Pictures:
    """Return the images that the JSON `data.folder` names, each of which can be decoded. Raises BadInput."""
    place = Path(config.folder)
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


def _place_of(image: _Image, folder: Path, where: str) -> Path:
    """Return the file of an image, which lies in one of `FOLDERS`."""
    places = [folder / name / image.file_name for name in FOLDERS]
    for place in places:
        if place.is_file():
            return place
    raise BadInput(f"{where}: {image.file_name} is neither {places[0]} nor {places[1]}. Put it there.")
