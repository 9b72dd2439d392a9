"""Pascal VOC's folders: boxes count from the first pixel, difficult ones are not sought, masks have VOC's values."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from measures.tasks.multilabel import UNKNOWN
from measures.tasks.segmentation import VOID
from pipeline import config as configs
from pipeline import data
from pipeline.data import Data
from pipeline.datasets import voc
from pipeline.train import settle
from records.errors import BadInput

HEIGHT, WIDTH = 40, 60
TRAIN, VAL = [f"2007_{number:06}" for number in range(12)], [f"2008_{number:06}" for number in range(5)]
Thing = tuple[str, tuple[int, int, int, int], int]
DOG, PERSON, HARD = ("dog", (1, 1, 10, 20), 0), ("person", (21, 11, 60, 40), 0), ("cat", (5, 5, 9, 9), 1)


def xml(stem: str, things: Sequence[Thing], size: tuple[int, int] = (HEIGHT, WIDTH)) -> str:
    """What VOC 2012 says of a picture, a part of a person included."""
    objects = "".join(
        f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{difficult}</difficult>"
        f"<bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>"
        "</object>"
        for name, (x, y, right, bottom), difficult in things
    )
    return (
        f"<annotation><folder>VOC2012</folder><filename>{stem}.jpg</filename><size><width>{size[1]}</width>"
        f"<height>{size[0]}</height><depth>3</depth></size><segmented>1</segmented>{objects}</annotation>"
    )


def written(root: Path, things: Sequence[Thing] = (DOG, PERSON, HARD), lists: bool = True) -> Path:
    """Write VOC's folders with 17 pictures, each with these things and a mask; one more is on no list."""
    for name in ("Annotations", "JPEGImages", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    random = np.random.default_rng(0)
    for stem in (*TRAIN, *VAL, "2009_000000"):
        Image.fromarray(random.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(root / "JPEGImages" / f"{stem}.jpg")
        (root / "Annotations" / f"{stem}.xml").write_text(xml(stem, things), encoding="utf-8")
        values = np.zeros((HEIGHT, WIDTH), np.uint8)
        for name, (x, y, right, bottom), _ in things:
            values[y - 1 : bottom, x - 1 : right] = voc.LABELS.index(name) + 1 if name in voc.LABELS else 1
        values[:, -1] = VOID
        mask = Image.fromarray(values).convert("P")
        mask.frombytes(values.tobytes())
        mask.save(root / "SegmentationClass" / f"{stem}.png")
    if lists:
        for kind in ("Main", "Segmentation"):
            for split, stems in (("train", TRAIN), ("val", VAL), ("trainval", [*TRAIN, *VAL])):
                (root / "ImageSets" / kind / f"{split}.txt").write_text("\n".join(stems) + "\n", encoding="utf-8")
    return root


def loaded(folder: Path | None, task: str = "detection", **changes: Any) -> Data:
    keys = {
        "task": task, "data.dataset": "voc", "data.folder": str(folder or ""), "data.image_size": [HEIGHT, WIDTH],
        "data.augmentation": "none", **changes,
    }  # fmt: skip
    return data.load(settle(configs.read(None, keys)))


def test_a_box_begins_with_its_first_pixel_and_ends_with_its_last(tmp_path: Path) -> None:
    found = loaded(written(tmp_path))
    assert (len(found.train), len(found.test)) == (12, 5)
    assert found.labels == ("cat", "dog", "person")  # in VOC's order
    truth = found.train.batch([0]).truth
    assert truth["labels"].tolist() == [[1, 2]]
    assert truth["boxes"].tolist() == [[[0, 0, 10, 20], [20, 10, 60, 40]]]


def test_boxes_lie_where_masks_do(tmp_path: Path) -> None:
    written(tmp_path)
    boxes = loaded(tmp_path).train.batch([0]).truth["boxes"][0].int().tolist()
    classes = loaded(tmp_path, "segmentation").train.batch([0]).truth["classes"][0]
    for (x, y, right, bottom), label in zip(boxes, ("dog", "person"), strict=True):
        rows, columns = torch.where(classes == voc.LABELS.index(label) + 1)
        assert (int(columns.min()), int(rows.min()), int(rows.max()) + 1) == (x, y, bottom)
        assert int(columns.max()) + 1 == min(right, WIDTH - 1)  # the last column is void


def test_masks_have_vocs_values_and_names(tmp_path: Path) -> None:
    found = loaded(written(tmp_path), "segmentation")
    assert found.labels == ("background", *voc.LABELS)
    assert (len(found.labels), len(found.train), len(found.test)) == (21, 12, 5)
    values = torch.unique(found.train.batch([0]).truth["classes"]).tolist()
    assert values == [0, *sorted(voc.LABELS.index(name) + 1 for name in ("dog", "person", "cat")), VOID]


def test_difficult_things_are_not_sought_and_of_several_labels_unknown(tmp_path: Path) -> None:
    hard_dog = ("dog", (3, 3, 9, 9), 1)
    found = loaded(written(tmp_path, (DOG, HARD, hard_dog, PERSON)), "multilabel")
    assert found.labels == ("cat", "dog", "person")
    assert found.train.batch([0]).truth["present"].tolist() == [[UNKNOWN, 1, 1]]


def test_classes_of_your_own_come_in_the_alphabets_order(tmp_path: Path) -> None:
    things = [("zebra", (1, 1, 10, 10), 0), ("ant", (11, 11, 20, 20), 0), ("cat", (21, 21, 30, 30), 0)]
    found = loaded(written(tmp_path, things))
    assert found.labels == ("cat", "ant", "zebra")
    assert found.train.batch([0]).truth["labels"].tolist() == [[2, 1, 0]]


def test_of_your_own_classes_a_file_names_the_masks_values(tmp_path: Path) -> None:
    written(tmp_path, [("ant", (11, 11, 20, 20), 0)])
    assert loaded(tmp_path, "segmentation").labels == ("0", "1")
    (tmp_path / "classes.txt").write_text("ground\nant\n", encoding="utf-8")
    assert loaded(tmp_path, "segmentation").labels == ("ground", "ant")


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_without_lists_all_pictures_are_taken(tmp_path: Path, task: str) -> None:
    found = loaded(written(tmp_path, lists=False), task)
    assert len(found.train) + len(found.test) == 18


def test_vocs_folder_in_the_cache_is_not_downloaded_again(tmp_path: Path) -> None:
    written(tmp_path / "VOCdevkit" / "VOC2012")
    for task in ("detection", "segmentation", "multilabel"):
        found = loaded(None, task, **{"data.cache": str(tmp_path), "data.download": False})
        assert (len(found.train), len(found.test)) == (12, 5)


def test_without_a_network_a_download_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(BadInput, match=r"dataset voc: could not be downloaded .*Connect to a network"):
        loaded(None, **{"data.cache": str(tmp_path)})


def rewritten(**changes: Any) -> Callable[[Path], None]:
    """Write the annotations of the third picture anew."""

    def change(root: Path) -> None:
        (root / "Annotations" / f"{TRAIN[2]}.xml").write_text(xml(TRAIN[2], **changes), encoding="utf-8")

    return change


def _no_annotations(root: Path) -> None:
    (root / "Annotations" / f"{TRAIN[2]}.xml").unlink()


def _no_xml(root: Path) -> None:
    (root / "Annotations" / f"{TRAIN[2]}.xml").write_text("<annotation><object>", encoding="utf-8")


def _no_box(root: Path) -> None:
    file = root / "Annotations" / f"{TRAIN[2]}.xml"
    file.write_text(file.read_text(encoding="utf-8").replace("<xmax>10</xmax>", ""), encoding="utf-8")


def _no_picture(root: Path) -> None:
    (root / "JPEGImages" / f"{TRAIN[2]}.jpg").unlink()


def _in_both(root: Path) -> None:
    (root / "ImageSets" / "Main" / "val.txt").write_text("\n".join([*VAL, TRAIN[2]]), encoding="utf-8")


def _elsewhere(root: Path) -> None:
    (root / "JPEGImages").rename(root / "Images")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rewritten(things=[DOG], size=(41, 60)), r"000002\.jpg is 40×60, and its annotations are of 41×60\. Mend"),
        (
            rewritten(things=[("dog", (9, 9, 64, 20), 0)]),
            r"dog 1 on 2007_000002\.jpg ends at \(8, 8, 64, 20\), outside",
        ),
        (rewritten(things=[("dog", (9, 9, 4, 20), 0)]), r"dog 1 on 2007_000002\.jpg has a box of -4×12 pixels"),
        (rewritten(things=[("", (9, 9, 14, 20), 0)]), r"000002\.xml cannot be read \(an object has no name\)\. Mend"),
        (_no_annotations, r"1 of its 17 pictures have no annotations, the first \S*Annotations/2007_000002\.xml\. Put"),
        (_no_xml, r"2007_000002\.xml cannot be read \(no element found"),
        (_no_box, r"cannot be read \(dog has no bndbox with xmin, ymin, xmax and ymax\)"),
        (_no_picture, r"1 of its 17 images are not there, the first \S*JPEGImages/2007_000002\.jpg"),
        (_in_both, r"2007_000002 is in train\.txt and in val\.txt\. Take it out of one"),
        (_elsewhere, r"no folder JPEGImages\. Give --folder a folder such as VOCdevkit/VOC2012"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: Callable[[Path], None], said: str) -> None:
    change(written(tmp_path))
    with pytest.raises(BadInput, match=said):
        loaded(tmp_path)


def test_a_box_from_0_is_cut_off_where_the_picture_begins(tmp_path: Path) -> None:
    found = loaded(written(tmp_path, [("dog", (0, 0, 10, 10), 0)]))
    assert found.train.batch([0]).truth["boxes"].tolist() == [[[0, 0, 10, 10]]]


def test_a_mask_that_is_missing_is_named(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "SegmentationClass" / f"{VAL[1]}.png").unlink()
    with pytest.raises(BadInput, match=r"1 of its 17 masks are not there, the first \S*2008_000001\.png"):
        loaded(tmp_path, "segmentation")
