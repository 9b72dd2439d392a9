"""Oxford-IIIT Pet, read where torchvision puts it: 37 breeds, and trimaps whose line is void."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from measures.tasks.segmentation import VOID
from pipeline import config as configs
from pipeline import data
from pipeline.data import Data
from pipeline.train import settle
from records.errors import BadInput

BREEDS = [f"{'Cat' if number % 3 == 0 else 'dog'}_breed_{number:02}" for number in range(37)]
HEIGHT, WIDTH = 40, 60


def written(root: Path) -> Path:
    """Write the folders of the archives: two pictures of each breed for training, one for testing."""
    folder = root / "oxford-iiit-pet"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    random = np.random.default_rng(0)
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for label, breed in enumerate(BREEDS, 1):
        for number in range(3):
            name = f"{breed}_{number}"
            pixels = random.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{name}.jpg")
            trimap = np.full((HEIGHT, WIDTH), 2, np.uint8)
            trimap[10:30, 20:40] = 3
            trimap[12:28, 22:38] = 1
            Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{name}.png")
            lists["test" if number == 2 else "trainval"].append(f"{name} {label} {1 + label % 2} 1")
    for split, lines in lists.items():
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def loaded(cache: Path, task: str, **changes: Any) -> Data:
    keys = {"task": task, "data.dataset": "oxford_pet", "data.cache": str(cache), **changes}
    if task == "segmentation":
        keys |= {"data.image_size": [HEIGHT, WIDTH], "data.augmentation": "none"}
    return data.load(settle(configs.read(None, keys)))


def test_pictures_have_a_breed(tmp_path: Path) -> None:
    found = loaded(written(tmp_path), "classification", **{"data.image_size": 64})
    assert (len(found.labels), len(found.train), len(found.test)) == (37, 74, 37)
    assert found.labels[:2] == ("Cat Breed 00", "Dog Breed 01")
    assert found.train.batch(range(74)).truth["labels"].tolist() == sorted([*range(37), *range(37)])
    assert found.train[(0, 0)][0].shape == (3, 64, 64)


def test_animals_are_told_from_the_background_and_the_line_is_void(tmp_path: Path) -> None:
    found = loaded(written(tmp_path), "segmentation")
    assert found.labels == ("background", "pet")
    assert (len(found.train), len(found.test)) == (74, 37)
    (classes,) = found.test.batch([5]).truth["classes"]
    assert classes.dtype == torch.uint8
    counts = {value: int((classes == value).sum()) for value in (0, 1, VOID)}
    assert counts == {0: HEIGHT * WIDTH - 400, 1: 256, VOID: 144}
    assert classes[20, 30] == 1


def test_a_sample_can_be_sent_to_a_process_that_loads_images(tmp_path: Path) -> None:
    found = loaded(written(tmp_path), "segmentation")
    batches = data.EpochBatches(len(found.train), 8, 0)
    first = next(iter(data.loader(found.train, batches, workers=1, pin=False)))
    assert first.truth["classes"].shape == (8, HEIGHT, WIDTH)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_without_a_network_a_download_is_a_clear_error(
    tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(BadInput, match=r"dataset oxford_pet: could not be downloaded .*Connect to a network"):
        loaded(tmp_path, task)
