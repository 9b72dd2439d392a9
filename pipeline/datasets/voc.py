"""Pascal VOC, or your own images in its folders: XML with boxes, PNG with a class for each pixel.

    anywhere train --task detection --dataset voc --folder VOCdevkit/VOC2012

Without a folder VOC 2012 is downloaded. What lies where: https://www.robots.ox.ac.uk/~vgg/projects/pascal/VOC/. A box
that is marked difficult is not sought, and not part of the truth; of several labels, what is seen in such boxes alone
is unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from pipeline import masks, things
from pipeline.config import DataConfig
from pipeline.datasets import Pictures
from pipeline.listed import HELD_OUT, TRAIN
from pipeline.masks import Masked
from pipeline.pictures import SUFFIXES
from pipeline.things import BACKGROUND, Shown, Thing
from pipeline.torchvision_sets import fetched
from records.errors import BadInput

TASKS = ("detection", "multilabel", "segmentation")
IMAGE_SIZE = {"detection": 320, "multilabel": 224, "segmentation": 256}
AUGMENTATION = "photographs"
CROP = False
LABELS = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""VOC's classes, in the order of its masks' values, from 1 on."""
ANNOTATIONS, IMAGES, MASKS, SETS = "Annotations", "JPEGImages", "SegmentationClass", "ImageSets"
LISTS = {"detection": "Main", "multilabel": "Main", "segmentation": "Segmentation"}
"""Folder in `SETS` with the lists of each split."""
FETCHED = {"detection": "VOCDetection", "multilabel": "VOCDetection", "segmentation": "VOCSegmentation"}
"""torchvision's name for what holds a task's files."""
YEAR = "2012"


@dataclass(frozen=True)
class _Annotated:
    """What an XML file says of its picture."""

    size: tuple[int, int] | None
    """Height and width; None: it does not say."""
    things: tuple[tuple[str, tuple[float, float, float, float], bool], ...]
    """Class, box from the first to the last pixel, which count from 1, and whether it is difficult."""


def read(config: DataConfig, task: str) -> Pictures:
    """Return the images of `data.folder`, or of VOC 2012. Raises BadInput."""
    root = Path(config.folder) if config.folder else _downloaded(config, task)
    where = f"dataset voc {root}"
    if not (root / IMAGES).is_dir():
        raise BadInput(f"{where}: no folder {IMAGES}. Give --folder a folder such as VOCdevkit/VOC{YEAR}.")
    listed = _listed(root, task, where)
    files = {file.stem: file for file in sorted((root / IMAGES).iterdir()) if file.suffix.lower() in SUFFIXES}
    places = {stem: files.get(stem, root / IMAGES / f"{stem}.jpg") for stem in listed}
    annotated = _annotated(root, listed, where, needed=task != "segmentation")
    names = {name for each in annotated.values() for name, _, _ in each.things}
    if task == "segmentation":
        rows = [Masked(places[stem], root / MASKS / f"{stem}.png", split) for stem, split in listed.items()]
        return masks.pictures_of(rows, masks.names_in(root) or _of_values(names), where, config)
    labels = [*(name for name in LABELS if name in names), *sorted(names - set(LABELS))]
    shown = [
        Shown(places[stem], _things(stem, each, labels), each.size, listed[stem]) for stem, each in annotated.items()
    ]
    return things.pictures_of(shown, labels, where, config, task)


def _downloaded(config: DataConfig, task: str) -> Path:
    """Return the folder of VOC 2012, downloaded where it is missing. Raises BadInput."""
    fetched(config, FETCHED[task], *({"year": YEAR, "image_set": split} for split in (TRAIN, "val")))
    return Path(config.cache) / "VOCdevkit" / f"VOC{YEAR}"


def _listed(root: Path, task: str, where: str) -> dict[str, str]:
    """Return the split of each picture, by the stem of its file; empty, where there are no lists."""
    lists = root / SETS / LISTS[task]
    held_out = next((name for name in HELD_OUT if (lists / f"{name}.txt").is_file()), "")
    train = next((name for name in (TRAIN, "trainval") if (lists / f"{name}.txt").is_file()), "")
    if not train:
        folder, ending = (MASKS, "png") if task == "segmentation" else (ANNOTATIONS, "xml")
        stems = sorted(file.stem for file in (root / folder).glob(f"*.{ending}"))
        if not stems:
            raise BadInput(f"{where}: neither {SETS}/{LISTS[task]}/train.txt nor a file in {folder}. Put them there.")
        return dict.fromkeys(stems, "")
    splits = {TRAIN: train} | ({held_out: held_out} if held_out else {})
    listed: dict[str, str] = {}
    for split, name in splits.items():
        for line in (lists / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            stem = line.split()[0] if line.split() else ""  # what follows says more of one class
            if listed.get(stem, split) != split:
                raise BadInput(f"{where}: {stem} is in {train}.txt and in {held_out}.txt. Take it out of one of both.")
            listed |= {stem: split} if stem else {}
    return listed


def _annotated(root: Path, listed: Mapping[str, str], where: str, needed: bool) -> dict[str, _Annotated]:
    """Return what is said of each picture; of those without a file nothing, unless it is needed. Raises BadInput."""
    files = {stem: root / ANNOTATIONS / f"{stem}.xml" for stem in listed}
    missing = [file for file in files.values() if not file.is_file()]
    if needed and missing:
        raise BadInput(
            f"{where}: {len(missing)} of its {len(files)} pictures have no annotations, the first {missing[0]}. Put "
            "them there, or take the pictures off the lists."
        )
    return {stem: _parse(file, where) for stem, file in files.items() if file.is_file()}


def _parse(file: Path, where: str) -> _Annotated:
    """Return what an XML file says. Raises BadInput."""
    try:
        tree = ElementTree.parse(file).getroot()  # noqa: S314  # expat refuses entities that grow since 2.4.1
        height, width = (int(float(tree.findtext(f"size/{side}", "0"))) for side in ("height", "width"))
        found = []
        for each in tree.iter("object"):
            name = each.findtext("name", "").strip()
            if not name:
                raise ValueError("an object has no name")
            corners = [each.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
            if None in corners:
                raise ValueError(f"{name} has no bndbox with xmin, ymin, xmax and ymax")
            x, y, right, bottom = (float(corner or "") for corner in corners)
            found.append((name, (x, y, right, bottom), each.findtext("difficult", "0").strip() == "1"))
    except (ElementTree.ParseError, ValueError) as error:
        raise BadInput(f"{where}: {file.name} cannot be read ({error}). Mend it, or take it off the lists.") from error
    return _Annotated((height, width) if height and width else None, tuple(found))


def _things(stem: str, annotated: _Annotated, labels: Sequence[str]) -> tuple[Thing, ...]:
    """Return what is on a picture, in boxes from where the first pixel begins to where the last one ends."""
    return tuple(
        Thing(f"{name} {number}", labels.index(name), (x - 1, y - 1, right, bottom), crowd=difficult)
        for number, (name, (x, y, right, bottom), difficult) in enumerate(annotated.things, 1)
    )


def _of_values(names: set[str]) -> tuple[str, ...]:
    """Return the labels of a mask's values where all are VOC's; none: nobody said what the values are called."""
    return (BACKGROUND, *LABELS) if names and names <= set(LABELS) else ()
