"""Pictures with things on them, as COCO annotates them: what does not fit its picture is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import config as configs
from pipeline import data, samples
from pipeline.data import Data, Preparation
from pipeline.train import settle
from records.errors import BadInput

Change = Callable[[dict[str, Any]], Any]
COUNT = 20


def written(
    folder: Path, change: Change = lambda content: None, images: str = "images", json_name: str = "a.json"
) -> Path:
    """Twenty pictures of 60×80 with two things each, and their JSON."""
    random = np.random.default_rng(0)
    (folder / images).mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}, {"id": 9, "name": "hen"}],
    }
    for number in range(COUNT):
        Image.fromarray(random.integers(0, 255, (60, 80, 3), np.uint8)).save(folder / images / f"{number}.png")
        content["images"].append({"id": number, "file_name": f"{number}.png", "height": 60, "width": 80})
        for place, category in enumerate((7, 3)):
            x, y = 10 + 30 * place, 5 + number
            content["annotations"].append({
                "id": len(content["annotations"]) + 1, "image_id": number, "category_id": category,
                "bbox": [x, y, 20, 15], "iscrowd": 0,
                "segmentation": [[x, y, x + 20, y, x + 20, y + 15, x, y + 15]],
            })  # fmt: skip
    change(content)
    place = folder / json_name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(content), encoding="utf-8")
    return place


def loaded(folder: Path, task: str = "detection", **values: Any) -> Data:
    keys = {
        "task": task, "data.dataset": "coco", "data.folder": str(folder), "data.image_size": [60, 80],
        "data.augmentation": "none", **values,
    }  # fmt: skip
    return data.load(settle(configs.read(None, keys)))


def test_boxes_come_with_the_index_of_their_category(tmp_path: Path) -> None:
    found = loaded(written(tmp_path))
    assert found.labels == ("cat", "dog", "hen")
    assert (len(found.train), len(found.test)) == (16, 4)
    batch = found.train.batch([0, 1])
    assert batch.truth["labels"].tolist() == [[0, 1], [0, 1]]
    widths = batch.truth["boxes"][..., 2:] - batch.truth["boxes"][..., :2]
    assert widths.tolist() == [[[20, 15], [20, 15]]] * 2


def test_boxes_are_resized_with_their_picture(tmp_path: Path) -> None:
    batch = loaded(written(tmp_path), **{"data.image_size": [120, 80]}).train.batch([0])
    sides = batch.truth["boxes"][0, :, 2:] - batch.truth["boxes"][0, :, :2]
    assert sides.tolist() == [[20, 30], [20, 30]]


def test_masks_are_drawn_as_classes_and_a_crowd_is_void(tmp_path: Path) -> None:
    def crowd(content: dict[str, Any]) -> None:
        for annotation in content["annotations"][1::2]:
            annotation["iscrowd"] = 1

    found = loaded(written(tmp_path, crowd), "segmentation")
    assert found.labels == ("background", "cat", "dog", "hen")
    classes = found.train.batch([0]).truth["classes"][0]
    assert sorted(torch.unique(classes).tolist()) == [0, 1, 255]
    assert int((classes == 1).sum()) == 300


def test_of_instances_each_thing_has_a_mask_that_is_changed_with_its_picture(tmp_path: Path) -> None:
    found = loaded(written(tmp_path), "instances", **{"data.image_size": [120, 160]})
    truth = found.train.batch([0, 1]).truth
    assert truth["masks"].shape == (2, 2, 120, 160)
    assert truth["masks"].sum((2, 3)).tolist() == [[1200, 1200]] * 2
    for boxes, masks in zip(truth["boxes"], truth["masks"], strict=True):
        for (x, y, right, bottom), mask in zip(boxes.int().tolist(), masks, strict=True):
            assert bool((mask[y:bottom, x:right] == 1).all())


def test_of_instances_a_crowd_is_no_thing_and_a_picture_of_none_has_no_mask(tmp_path: Path) -> None:
    def crowds(content: dict[str, Any]) -> None:
        for annotation in content["annotations"][4:]:
            annotation["iscrowd"] = 1

    found = loaded(written(tmp_path, crowds), "instances")
    batch = found.train.batch(range(len(found.train)))
    assert batch.truth["masks"].shape == (16, 2, 60, 80)
    things = (batch.truth["labels"] >= 0).sum(1)
    assert torch.equal(batch.truth["masks"].any(-1).any(-1).sum(1), things)
    assert int(things.sum()) < 8


def test_of_a_picture_that_was_zoomed_out_of_what_lies_outside_is_no_thing(tmp_path: Path) -> None:
    found = loaded(written(tmp_path), "instances", **{"data.augmentation": "photographs"})
    for epoch in range(20):
        sample = found.train[(epoch, 3)]
        truth = found.train.collate([sample]).truth
        for box, mask in zip(truth["boxes"][0], truth["masks"][0], strict=True):
            x, y, right, bottom = box.tolist()
            assert int(mask.sum()) <= (right - x + 2) * (bottom - y + 2)


def test_a_picture_without_things_has_no_box(tmp_path: Path) -> None:
    found = loaded(written(tmp_path, lambda content: content["annotations"].clear() or content["annotations"].append(
        {"id": 1, "image_id": 0, "category_id": 7, "bbox": [1, 1, 5, 5]})))  # fmt: skip
    truth = [found.train.batch([number]).truth["labels"].tolist() for number in range(len(found.train))]
    assert truth.count([[-1]]) >= 15


def test_cocos_own_folder_has_its_splits(tmp_path: Path) -> None:
    written(tmp_path, images="train2017", json_name="annotations/instances_train2017.json")
    written(tmp_path, images="val2017", json_name="annotations/instances_val2017.json")
    found = loaded(tmp_path)
    assert (len(found.train), len(found.test)) == (COUNT, COUNT)


def test_photographs_are_changed_along_with_their_boxes(tmp_path: Path) -> None:
    found = loaded(written(tmp_path), **{"data.augmentation": "photographs"})
    for epoch in range(10):
        image, truth = found.train[(epoch, 3)]
        boxes = truth["boxes"].as_subclass(torch.Tensor)
        assert image.shape == (3, 60, 80)
        assert len(boxes) == len(truth["labels"]) <= 2
        assert bool((boxes[:, 2:] - boxes[:, :2] >= 1).all())
        assert bool((boxes >= 0).all() and (boxes <= torch.tensor([80, 60, 80, 60])).all())


def bbox(*values: float) -> Change:
    return lambda content: content["annotations"][4].update(bbox=list(values))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (bbox(70, 5, 20, 15), r"annotation 5 on 2\.png ends at \(70, 5, 90, 20\), outside of 60×80"),
        (bbox(10, 10, 0, 15), r"annotation 5 on 2\.png has a box of 0×15 pixels, which is no area"),
        (bbox(10, 10, -4, 15), "which is no area"),
        (bbox(10, 10, float("nan"), 15), r"has the box \[10\.0, 10\.0, nan, 25\.0\]"),
        (bbox(10, 10, 5), r"annotation 5 has the bbox \[10\.0, 10\.0, 5\.0\]; x, y, width and height are needed"),
        (lambda content: content["images"][3].update(height=61), r"3\.png is 60×80, and its annotations are of 61×80"),
        (
            lambda content: content["images"][3].update(file_name="lost.png"),
            r"lost\.png is neither .*a?/?lost\.png nor ",
        ),
        (lambda content: content["annotations"][0].update(category_id=8), "category 8, which categories lacks"),
        (lambda content: content["annotations"].clear(), "nothing is annotated on any of 20 images"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: Change, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        loaded(written(tmp_path, change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda annotation: annotation.pop("segmentation"),
            "annotation 1 on 0.png has no mask, and (segmentation|instances) needs",
        ),
        (
            lambda annotation: annotation.update(segmentation={"size": [30, 40], "counts": [600, 600]}),
            "annotation 1 on 0.png has a mask of 30×40, not 60×80",
        ),
    ],
)
@pytest.mark.parametrize("task", ["segmentation", "instances"])
def test_a_mask_that_does_not_fit_is_named(tmp_path: Path, change: Change, said: str, task: str) -> None:
    with pytest.raises(BadInput, match=said):
        loaded(written(tmp_path, lambda content: change(content["annotations"][0])), task)


def test_a_box_that_ends_a_pixel_outside_is_cut_off(tmp_path: Path) -> None:
    found = loaded(written(tmp_path, bbox(60, 5, 20.8, 15)))
    boxes = [part.batch([number]).truth["boxes"] for part in (found.train, found.test) for number in range(len(part))]
    assert float(torch.cat(boxes)[..., 2].max()) == 80


def test_without_a_file_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no JSON, and no folder with annotations/instances_train\*\.json and "):
        loaded(tmp_path)


def test_a_model_of_another_task_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput,
        match="lraspp_mobilenet_v3_large: is for segmentation, and the task is classification: add --task segmentation",
    ):
        settle(configs.read(None, {"model.name": "lraspp_mobilenet_v3_large"}))
    with pytest.raises(BadInput, match="resnet18: is for classification, and the task is detection: add --task class"):
        settle(configs.read(None, {"task": "detection", "model.name": "resnet18"}))
    with pytest.raises(
        BadInput,
        match="ssdlite320_mobilenet_v3_large: is for detection, and the task is instances: add --task detection, or "
        "name another model, such as maskrcnn_resnet50_fpn",
    ):
        settle(configs.read(None, {"task": "instances", "model.name": "ssdlite320_mobilenet_v3_large"}))
    with pytest.raises(BadInput, match="maskrcnn_resnet50_fpn_v2: is for instances, and the task is detection"):
        settle(configs.read(None, {"task": "detection", "model.name": "maskrcnn_resnet50_fpn_v2"}))
    with pytest.raises(
        BadInput, match=r"dataset digits: is for classification, and the task is detection\. .* coco, scenes"
    ):
        settle(configs.read(None, {"task": "detection", "data.dataset": "digits"}))


LABELS = ("hen", "ape", "dog", "cat")
"""Classes of a model that was trained elsewhere, in its own order."""


def test_a_model_from_elsewhere_is_given_the_truth_of_a_json_in_its_own_classes(tmp_path: Path) -> None:
    place = written(tmp_path)
    given = {
        task: samples.batch(samples.pictures(place, Preparation((30, 40), None), labels, task=task), [0, 3])
        for task, labels in {"detection": LABELS, "multilabel": LABELS, "segmentation": ("background", *LABELS)}.items()
    }
    assert all(batch.inputs["image"].shape == (2, 3, 30, 40) for batch in given.values())
    assert given["detection"].truth["labels"].tolist() == [[3, 2], [3, 2]]
    assert given["detection"].truth["boxes"][1].tolist() == [[5, 4, 15, 11.5], [20, 4, 30, 11.5]]
    assert given["multilabel"].truth["present"].tolist() == [[0, 0, 1, 1]] * 2
    assert set(given["segmentation"].truth["classes"].unique().tolist()) == {0, 3, 4}


def test_without_labels_the_categories_are_the_models_classes(tmp_path: Path) -> None:
    given = samples.pictures(written(tmp_path), Preparation((30, 40), None), (), task="detection")
    assert given.labels == ("cat", "dog", "hen")
    assert samples.batch(given, [0]).truth["labels"].tolist() == [[0, 1]]


def test_a_json_of_other_categories_or_for_no_task_is_refused(tmp_path: Path) -> None:
    place, prepared = written(tmp_path), Preparation((30, 40), None)
    with pytest.raises(BadInput, match="category 'hen' is not among the model's 2 labels"):
        samples.pictures(place, prepared, ("cat", "dog"), task="detection")
    with pytest.raises(BadInput, match="Say for which: --task detection"):
        samples.pictures(place, prepared, ())
