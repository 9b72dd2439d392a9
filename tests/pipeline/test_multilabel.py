"""Pictures with any number of labels: which there are comes from COCO's annotations, from scenes and from VOC's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from measures.tasks.multilabel import UNKNOWN
from pipeline import config as configs
from pipeline import data, tasks
from pipeline.config import DataConfig, TrainConfig
from pipeline.datasets import scenes
from pipeline.datasets.scenes import Scenes
from pipeline.tasks import Batch
from pipeline.things import Thing, present
from pipeline.train import settle
from records.errors import BadInput

SIGNS = ("bars", "rows", "squares", "full")
SIDE = 32


def sign(name: str) -> np.ndarray[Any, Any]:
    """Return 12×12 pixels, bright and dark."""
    down, across = np.indices((12, 12)) // 2 % 2
    shapes = {"bars": across, "rows": down, "squares": down ^ across, "full": np.ones_like(down)}
    return (60 + 180 * shapes[name]).astype(np.uint8)


def signs(folder: Path, count: int, seed: int = 0) -> Path:
    """Write gray pictures of up to four signs, and a JSON that says which there are, without a box; return its path."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "images": [], "annotations": [], "categories": [{"id": place, "name": name} for place, name in enumerate(SIGNS)]
    }  # fmt: skip
    for number in range(count):
        picture = random.integers(80, 160, (SIDE, SIDE), np.uint8)
        for place, quarter in zip(np.flatnonzero(random.random(4) < 0.5), random.permutation(4), strict=False):
            y, x = 16 * (quarter // 2) + random.integers(0, 5), 16 * (quarter % 2) + random.integers(0, 5)
            picture[y : y + 12, x : x + 12] = sign(SIGNS[place])
            content["annotations"].append({"image_id": number, "category_id": int(place)})
        Image.fromarray(picture).save(folder / f"{number:03}.png")
        content["images"].append({"id": number, "file_name": f"{number:03}.png"})
    (folder / "signs.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "signs.json"


def values(folder: Path, **changes: Any) -> dict[str, Any]:
    """What a configuration says of signs."""
    return {
        "task": "multilabel", "data.dataset": "coco", "data.folder": str(folder), "data.image_size": SIDE,
        "data.augmentation": "none", **changes,
    }  # fmt: skip


def test_of_cocos_annotations_no_box_is_needed(tmp_path: Path) -> None:
    place = signs(tmp_path, 20)
    found = data.load(settle(configs.read(None, values(place))))
    assert found.labels == SIGNS
    assert (len(found.train), len(found.test)) == (16, 4)
    annotated = json.loads(place.read_text(encoding="utf-8"))["annotations"]
    expected = np.zeros((20, 4), np.uint8)
    for each in annotated:
        expected[each["image_id"], each["category_id"]] = 1
    for part in (found.train, found.test):
        truth = part.batch(range(len(part))).truth["present"]
        assert truth.dtype == torch.uint8
        assert truth.tolist() == expected[list(part.numbers)].tolist()


def test_a_crowd_of_cocos_is_there(tmp_path: Path) -> None:
    place = signs(tmp_path, 20)
    content = json.loads(place.read_text(encoding="utf-8"))
    before = len(content["annotations"])
    for each in content["annotations"]:
        each["iscrowd"] = 1
    place.write_text(json.dumps(content), encoding="utf-8")
    found = data.load(settle(configs.read(None, values(place))))
    truth = [int((part.batch(range(len(part))).truth["present"] == 1).sum()) for part in (found.train, found.test)]
    assert sum(truth) == before


def test_what_is_seen_in_crowds_alone_is_unknown() -> None:
    things = [Thing("a", 0, crowd=True), Thing("b", 1), Thing("c", 1, crowd=True)]
    assert present(things, 3).tolist() == [UNKNOWN, 1, 0]
    assert present(things[::-1], 3).tolist() == [UNKNOWN, 1, 0]


def test_of_scenes_it_is_the_digits_that_are_seen() -> None:
    pictures = scenes.read(DataConfig("scenes", image_size=96), "multilabel")
    assert isinstance(pictures.train, Scenes)
    for number in (0, 1, 2, 3, 40, 77):
        picture, truth = pictures.train[number]
        assert picture.shape == (3, 96, 96)
        assert np.flatnonzero(truth).tolist() == sorted(set(pictures.train.scene(number).labels.tolist()))
    assert pictures.train[0][1].sum() == 0  # an empty one
    assert len(pictures.labels) == 10


@pytest.mark.parametrize("augmentation", ["none", "light", "photographs"])
def test_pictures_are_changed_and_lose_nothing(tmp_path: Path, augmentation: str) -> None:
    changes = {"data.augmentation": augmentation, "data.image_size": [40, 48]}
    found = data.load(settle(configs.read(None, values(signs(tmp_path, 20), **changes))))
    steps = [type(step).__name__ for step in tasks.load("multilabel").transforms(augmentation, (40, 48))]
    assert "Crop" not in steps
    for epoch in range(4):
        image, truth = found.train[(epoch, 3)]
        assert image.shape == (3, 40, 48)
        assert truth.tolist() == found.train[3][1].tolist()


def test_what_is_unknown_changes_no_weight() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.2, -4.0]], requires_grad=True)
    truth = torch.tensor([[1, 0, UNKNOWN], [UNKNOWN, 1, 0]], dtype=torch.uint8)
    task, config = tasks.load("multilabel"), TrainConfig(label_smoothing=0.0)
    loss, outputs = task.step(
        lambda image: logits, Batch({"image": torch.zeros(2, 3, 4, 4)}, {"present": truth}), config
    )
    known = truth != UNKNOWN
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[known], truth[known].float())
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    assert logits.grad is not None
    assert ((logits.grad != 0) == known).all()
    assert outputs["logits"] is logits


def test_a_model_of_another_task_is_told() -> None:
    with pytest.raises(BadInput, match="is for segmentation, and the task is multilabel: add --task segmentation"):
        settle(configs.read(None, {"task": "multilabel", "model.name": "lraspp_mobilenet_v3_large"}))
    with pytest.raises(BadInput, match=r"the task is multilabel\. For that there are coco, scenes, voc"):
        settle(configs.read(None, {"task": "multilabel", "data.dataset": "digits"}))
