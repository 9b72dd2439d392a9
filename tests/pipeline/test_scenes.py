"""Scenes are always the same, their truth is what they show, and nothing of testing is in training."""

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.config import DataConfig
from pipeline.datasets import Pictures, scenes
from pipeline.datasets.scenes import SPECIALS, TESTING, TRAINING, Scenes

SIDE = 160


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return scenes.read(DataConfig("scenes", image_size=SIDE), "detection")


def split(part: object) -> Scenes:
    assert isinstance(part, Scenes)
    return part


def test_a_scene_is_the_same_whenever_it_is_made(pictures: Pictures) -> None:
    again = scenes.read(DataConfig("scenes", image_size=SIDE), "detection")
    for number in (0, 1, 2, 3, 40):
        first, second = split(pictures.train).scene(number), split(again.train).scene(number)
        assert np.array_equal(first.picture, second.picture)
        assert np.array_equal(first.boxes, second.boxes)


def test_nothing_of_testing_is_in_training(pictures: Pictures) -> None:
    train, test = split(pictures.train), split(pictures.test)
    assert not set(TRAINING) & set(TESTING)
    assert len(train.scans) + len(test.scans) == 1797
    of_train = {scan.tobytes() for scan in train.scans}
    assert sum(scan.tobytes() in of_train for scan in test.scans) == 0


@pytest.mark.parametrize("number", [1, 3, 20, 33, 90])
def test_boxes_and_masks_are_around_what_is_seen(pictures: Pictures, number: int) -> None:
    scene = split(pictures.train).scene(number)
    assert scene.picture.shape == (SIDE, SIDE, 3)
    assert (scene.masks.sum(axis=0) <= 1).all()  # a pixel is of one card
    for mask, (x, y, right, bottom) in zip(scene.masks, scene.boxes.astype(int), strict=True):
        assert mask[y:bottom, x:right].sum() == mask.sum()
        assert mask[y].any() and mask[bottom - 1].any() and mask[:, x].any() and mask[:, right - 1].any()
    seen = scene.classes
    assert {int(label) for label in np.unique(seen)} - {0} == {int(label) + 1 for label in scene.labels}


def test_both_splits_have_scenes_that_are_empty_crowded_equal_and_touching(pictures: Pictures) -> None:
    room = scenes.DETECTION["detections"]
    for part in (split(pictures.train), split(pictures.test)):
        assert SPECIALS >= 4
        assert len(part.scene(0).labels) == 0
        assert len(part.scene(1).labels) > room
        left, right = part.scene(2).boxes
        across = int(right[0] - left[0])
        twins = part.scene(2).picture
        one, other = (twins[int(y) : int(bottom), int(x) : int(end)] for x, y, end, bottom in (left, right))
        assert np.array_equal(one, other)
        assert across % (SIDE // 5) == 0
        assert len(part.scene(3).labels) == 4


def test_of_an_empty_scene_there_are_no_boxes(pictures: Pictures) -> None:
    picture, truth = pictures.train[0]
    assert picture.dtype == torch.uint8
    assert truth["boxes"].shape == (0, 4)
    assert truth["labels"].shape == (0,)


def test_of_segmentation_the_truth_is_a_class_for_each_pixel() -> None:
    pictures = scenes.read(DataConfig("scenes", image_size=96), "segmentation")
    picture, classes = pictures.train[30]
    assert picture.shape == (3, 96, 96)
    assert classes.shape == (96, 96)
    assert pictures.labels[0] == "background"
    assert 1 < len(torch.unique(classes)) <= len(pictures.labels)


def test_of_instances_each_card_has_its_mask() -> None:
    part = scenes.read(DataConfig("scenes", image_size=96), "instances").train
    for number in (0, 30):
        _, truth = part[number]
        assert truth["masks"].shape == (len(truth["labels"]), 96, 96)
        assert np.array_equal(truth["masks"].numpy(), split(part).scene(number).masks)


def test_a_scene_looks_like_itself_at_another_size(pictures: Pictures) -> None:
    large = split(scenes.read(DataConfig("scenes", image_size=2 * SIDE), "detection").train)
    small = split(pictures.train)
    reduced = Image.fromarray(large.scene(50).picture).resize((SIDE, SIDE), Image.Resampling.BOX)
    apart = np.abs(np.asarray(reduced).astype(int) - small.scene(50).picture)
    assert np.median(apart) < 12
