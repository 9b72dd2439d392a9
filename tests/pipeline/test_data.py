"""Every dataset gives `image` (3, H, W) float32 in [0, 1]; splits are fixed; bad folders are named."""

import dataclasses
import gzip
import hashlib
import io
import pickle
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from rich.console import Console

from pipeline import config as configs
from pipeline import data
from pipeline.config import Config
from pipeline.datasets import Sample
from pipeline.golden import calibration
from pipeline.train import settle, train
from records.errors import BadInput


def loaded(**values: object) -> data.Data:
    return data.load(settle(configs.read(None, {key.replace("__", "."): value for key, value in values.items()})))


def check_image(split: data.Split, size: int) -> None:
    image, label = split[0]
    assert image.shape == (3, size, size)
    assert image.dtype == torch.float32
    assert type(image) is torch.Tensor
    assert 0 <= image.min() < image.max() <= 1
    assert isinstance(label, int)


def test_digits_are_real_scans_in_two_disjoint_fixed_parts() -> None:
    first, second = loaded(), loaded(train__seed=3)
    assert (len(first.train), len(first.test), first.labels) == (1437, 360, tuple("0123456789"))
    assert not set(first.train.numbers) & set(first.test.numbers)
    assert list(first.test.numbers) == list(second.test.numbers)
    check_image(first.train, 64)


def test_augmentation_depends_on_seed_epoch_and_number_alone() -> None:
    train, other = loaded().train, loaded(train__seed=1).train
    again, _ = train[2, 5]
    torch.rand(100)
    before = torch.get_rng_state()
    assert torch.equal(train[2, 5][0], again)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(train[3, 5][0], again)
    assert not torch.equal(other[2, 5][0], again)
    assert not torch.equal(train[5][0], again)


def test_workers_change_no_sample(images: Path) -> None:
    split = loaded(data__dataset="folder", data__folder=str(images), data__image_size=16).train
    batches = data.EpochBatches(len(split), 8, seed=0)
    alone = [batch.inputs["image"] for batch in data.loader(split, batches, workers=0, pin=False)]
    helped = [batch.inputs["image"] for batch in data.loader(split, batches, workers=2, pin=False)]
    assert all(torch.equal(one, other) for one, other in zip(alone, helped, strict=True))


def test_batches_of_an_epoch_go_on_where_they_were_left() -> None:
    batches = data.EpochBatches(50, 8, seed=1)
    batches.epoch = 4
    whole = list(batches)
    batches.start = 2
    assert list(batches) == whole[2:]
    assert len(whole) == 6
    batches.epoch, batches.start = 5, 0
    assert list(batches) != whole


def test_a_photo_is_resized_by_its_shorter_side_and_cropped() -> None:
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[:, 90:110] = (255, 0, 0)
    preparation = data.Preparation((64, 64), (56, 56))
    image, truth = preparation.transform()(data.opaque(Image.fromarray(picture)), 7)
    assert truth == 7
    assert image.shape == (3, 56, 56)
    assert image[:, 28, 28].tolist() == [255, 0, 0]
    assert image[:, 28, 2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("picture", [(100, 200), (200, 100), (96, 64), (50, 50)])
@pytest.mark.parametrize("wanted", [(56, 40), (40, 56), (48, 48)])
def test_a_photo_of_any_shape_covers_what_is_cropped_from_it(picture: tuple[int, int], wanted: tuple[int, int]) -> None:
    """torchvision pads with black where a picture is smaller than the crop: white stays white."""
    larger = (round(wanted[0] / data.CROPPED), round(wanted[1] / data.CROPPED))
    white = Image.fromarray(np.full((*picture, 3), 255, np.uint8))
    image, _ = data.Preparation(larger, wanted).transform()(data.opaque(white), 0)
    assert image.shape == (3, *wanted)
    assert (image == 255).all()
    height, width = data.covering(picture, larger)
    assert min(height - larger[0], width - larger[1]) == 0
    assert height / width == pytest.approx(picture[0] / picture[1], rel=0.03)


def test_a_split_may_be_of_rectangular_images() -> None:
    split = loaded(data__image_size=[48, 80]).train
    assert split[0][0].shape == split[1, 0][0].shape == (3, 48, 80)


def test_a_data_set_of_another_task_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.datasets import digits

    monkeypatch.setattr(digits, "TASKS", ("counting",))
    with pytest.raises(BadInput, match=r"dataset digits: is for counting, and the task is classification. .*folder"):
        loaded()


def write_mnist(root: Path, name: str) -> None:
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 30), ("t10k", 10)):
        pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + pixels.tobytes())
        labels = np.arange(count, dtype=np.uint8) % 10
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels.tobytes())
        for file in raw.glob(f"{part}*ubyte"):
            (raw / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))


@pytest.mark.parametrize(("dataset", "name"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_mnist_files_are_read_where_they_are(tmp_path: Path, dataset: str, name: str) -> None:
    write_mnist(tmp_path, name)
    found = loaded(data__dataset=dataset, data__cache=str(tmp_path), model__name="simple_cnn")
    assert (len(found.train), len(found.test), len(found.labels)) == (30, 10, 10)
    check_image(found.train, 28)


def test_cifar10_files_are_read_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    kind = torchvision.datasets.CIFAR10

    def put(name: str, content: object) -> list[str]:
        (base / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((base / name).read_bytes()).hexdigest()]

    pixels = np.random.default_rng(0).integers(0, 256, (10, 3072), np.uint8)
    batch = {"data": pixels, "labels": list(range(10))}
    monkeypatch.setattr(kind, "train_list", [put("data_batch_1", batch)])
    monkeypatch.setattr(kind, "test_list", [put("test_batch", batch)])
    filename, md5 = put("batches.meta", {"label_names": [f"class{n}" for n in range(10)]})
    monkeypatch.setattr(kind, "meta", {"filename": filename, "key": "label_names", "md5": md5})
    found = loaded(data__dataset="cifar10", data__cache=str(tmp_path))
    assert (len(found.train), len(found.test), found.labels[3]) == (10, 10, "class3")
    check_image(found.train, 64)


def test_imagenette_files_are_read_where_they_are(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for wnid in torchvision.datasets.Imagenette._WNID_TO_CLASS:
            folder = tmp_path / "imagenette2-320" / split / wnid
            folder.mkdir(parents=True)
            pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "one.JPEG")
    found = loaded(data__dataset="imagenette", data__cache=str(tmp_path))
    assert (len(found.train), len(found.test), found.labels[0]) == (10, 10, "tench")
    check_image(found.test, 224)


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist", "cifar10", "imagenette"])
def test_without_a_network_a_download_is_a_clear_error(
    tmp_path: Path, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(BadInput, match=f"dataset {dataset}: could not be downloaded .*Connect to a network"):
        loaded(data__dataset=dataset, data__cache=str(tmp_path))


def test_a_folder_is_split_by_class(images: Path) -> None:
    found = loaded(data__dataset="folder", data__folder=str(images))
    assert found.labels == ("digit0", "digit1", "digit2")
    assert (len(found.train), len(found.test)) == (48, 12)
    assert sorted(found.test[number][1] for number in range(12)) == [0] * 4 + [1] * 4 + [2] * 4


def test_a_folder_with_train_and_val_keeps_its_split(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "train")
    shutil.copytree(images, tmp_path / "val")
    (tmp_path / "val" / "digit0" / "0.png").unlink()
    found = loaded(data__dataset="folder", data__folder=str(tmp_path))
    assert (len(found.train), len(found.test)) == (60, 59)
    shutil.rmtree(tmp_path / "val" / "digit1")
    with pytest.raises(BadInput, match="differ in the classes digit1"):
        loaded(data__dataset="folder", data__folder=str(tmp_path))


def test_unreadable_images_are_named(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "bad")
    (tmp_path / "bad" / "digit0" / "text.png").write_text("no picture")
    whole = (tmp_path / "bad" / "digit1" / "0.png").read_bytes()
    (tmp_path / "bad" / "digit1" / "0.png").write_bytes(whole[: len(whole) // 2])
    values = {"data__dataset": "folder", "data__folder": str(tmp_path / "bad")}
    told = r"2 of 61 images cannot be read: .*digit0/text.png \(not an image\), .*digit1/0.png"
    with pytest.raises(BadInput, match=told + ".*Mend or remove them, or leave them out with --set data.skip_corrupt"):
        loaded(**values)
    found = loaded(**values, data__skip_corrupt=True)
    assert len(found.train) + len(found.test) == 59
    (finding,) = found.findings
    assert re.search(told + r".*; they are left out$", finding)


def test_what_was_left_out_is_told_before_the_training_and_kept(small: Config, images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "bad")
    (tmp_path / "bad" / "digit0" / "text.png").write_text("no picture")
    config = small.with_values("data", folder=str(tmp_path / "bad"), skip_corrupt=True)
    config = config.with_values("model", name="simple_cnn").with_values("train", epochs=1)
    screen = Console(file=io.StringIO(), record=True, width=500)
    checkpoint = train(config, tmp_path / "run", None, screen)
    lines = screen.export_text().splitlines()
    assert re.search(r"1 of 61 images cannot be read: .*text.png \(not an image\); they are left out", lines[0])
    assert lines[0] == f"- {checkpoint.findings[0]}"


def test_a_class_of_which_no_image_can_be_read_is_refused(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "bad")
    for file in (tmp_path / "bad" / "digit1").iterdir():
        file.write_text("no picture")
    with pytest.raises(BadInput, match="no training image of class digit1 can be read"):
        loaded(data__dataset="folder", data__folder=str(tmp_path / "bad"), data__skip_corrupt=True)


def test_a_folder_that_is_missing_empty_or_of_one_class_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        loaded(data__dataset="folder", data__folder=str(tmp_path / "none"))
    with pytest.raises(BadInput, match="Couldn't find any class folder"):
        loaded(data__dataset="folder", data__folder=str(tmp_path))
    (tmp_path / "a").mkdir()
    with pytest.raises(BadInput, match="Found no valid file"):
        loaded(data__dataset="folder", data__folder=str(tmp_path))
    shutil.copy(images / "digit0" / "0.png", tmp_path / "a")
    with pytest.raises(BadInput, match="one class"):
        loaded(data__dataset="folder", data__folder=str(tmp_path))
    with pytest.raises(BadInput, match=r"data\.folder is empty"):
        loaded(data__dataset="folder")


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"unknown dataset 'minst'. Nearest: .*mnist"):
        loaded(data__dataset="minst")
    with pytest.raises(BadInput, match="unknown augmentation"):
        loaded(data__augmentation="afine")


def test_golden_and_calibration_prepare_what_they_keep_and_calibration_leaves_golden_out(
    small: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training split that begins with golden's own images, as data sets with duplicates do."""
    images = data.load(small)
    golden = images.test.batch(range(8)).inputs["image"]
    doubled = data.Split(
        [images.test.raw[number] for number in images.test.numbers[:8]]
        + [images.train.raw[number] for number in images.train.numbers],
        range(8 + len(images.train)),
        images.test.prepare,
        images.test.collate,
    )
    prepared: list[data.Split] = []
    prepare = data.Split.__getitem__

    def noted(self: data.Split, index: int | tuple[int, int]) -> Sample:
        prepared.append(self)
        return prepare(self, index)

    monkeypatch.setattr(data.Split, "__getitem__", noted)
    chosen = calibration(dataclasses.replace(images, train=doubled), 8, golden)["image"]
    assert not {image.numpy().tobytes() for image in chosen} & {image.numpy().tobytes() for image in golden}
    assert images.test not in prepared
    assert len(prepared) <= 8 + 8  # what is kept, and at most all that is golden, too
