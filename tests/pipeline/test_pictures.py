"""A picture is opened as its camera held it, in training and in adoption alike."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline import config as configs
from pipeline import data
from pipeline.data import Preparation
from pipeline.pictures import opened
from pipeline.samples import pictures
from pipeline.train import settle
from records.errors import BadInput
from records.preparation import MOST_PIXELS
from tests.conftest import Said
from tests.oddities import animated, blank, of_a_phone
from tests.orientations import ORIENTATIONS, deep, exif, noise, taken

UPRIGHT = noise(20, 24)


@pytest.fixture
def cameras(tmp_path: Path) -> Path:
    """One picture, taken in all eight ways in each byte order, in a folder of each of two classes."""
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for orientation in ORIENTATIONS:
            for number, order in enumerate("<>"):
                file = tmp_path / label / f"{orientation}{number}.png"
                file.write_bytes(taken(UPRIGHT, orientation, order=order))
    return tmp_path


def test_training_turns_all_eight_orientations(cameras: Path) -> None:
    config = configs.read(None, {"data.dataset": "folder", "data.folder": str(cameras), "data.image_size": 16})
    images = data.load(settle(config))
    splits = (images.train.plain(), images.test)
    turned = [np.asarray(split.picture(number)) for split in splits for number in range(len(split))]
    assert len(turned) == 32
    for pixels in turned:
        np.testing.assert_array_equal(pixels, np.asarray(UPRIGHT))


def test_adoption_turns_all_eight_orientations(cameras: Path) -> None:
    given = pictures(cameras, Preparation((16, 16), None), ())
    first, *others = [given.inputs(number)["image"] for number in range(given.count)]
    assert len(others) == 31
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("suffix", ["JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_other_files_than_png_are_turned(tmp_path: Path, suffix: str, orientation: int) -> None:
    file = tmp_path / "picture"
    file.write_bytes(taken(UPRIGHT.resize((96, 80)), orientation, suffix, quality=100))
    pixels = np.asarray(opened(file)).astype(float)
    assert np.abs(pixels - np.asarray(UPRIGHT.resize((96, 80)))).mean() < 10


@pytest.mark.parametrize("damaged", [b"garbage garbage", exif(6)[:5]])
def test_exif_that_is_none_is_one_sentence(tmp_path: Path, damaged: bytes) -> None:
    UPRIGHT.save(tmp_path / "0.png", exif=damaged)
    with pytest.raises(BadInput, match=r"image .*0\.png: cannot be decoded"):
        opened(tmp_path / "0.png")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_picture_of_16_bits_keeps_all_its_shades(tmp_path: Path, channels: int) -> None:
    """Not 0, 255, 255, …, as Pillow cuts gray off."""
    values = np.random.default_rng(0).integers(0, 2**16, (9, 7, channels)).astype(np.uint16)
    (tmp_path / "deep.png").write_bytes(deep(values))
    found = np.asarray(data.opaque(opened(tmp_path / "deep.png")))
    expected = (values >> 8).transpose(2, 0, 1)[: 1 if channels < 3 else 3]
    np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_picture_of_32_bits_is_named(tmp_path: Path, mode: str) -> None:
    UPRIGHT.convert("L").convert(mode).save(tmp_path / "deep.tif")
    with pytest.raises(BadInput, match=r"deep.tif: cannot be decoded \(32 bits a value; 8 and 16 are known here\)"):
        opened(tmp_path / "deep.tif")


ODDITIES = {
    "animated.gif": (animated("GIF"), "it has 3 frames, and a picture is one"),
    "animated.png": (animated("PNG"), "it has 3 frames, and a picture is one"),
    "animated.webp": (animated("WEBP"), "it has 3 frames, and a picture is one"),
    "pages.tif": (animated("TIFF", 2), "it has 2 frames, and a picture is one"),
    "large.png": (blank(13000, 13000), "it has 169,000,000 pixels, and at most 89,478,485 are read"),
    "larger.png": (blank(20000, 20000), "it has 400,000,000 pixels, and at most 89,478,485 are read"),
}
"""Files that Pillow opens, some of them with a warning, and why each is no picture to train on."""
oddities = pytest.mark.parametrize("name", ODDITIES)


@oddities
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_what_is_no_still_picture_is_named_with_what_to_do(tmp_path: Path, name: str, action: Any) -> None:
    """Whatever is done about Pillow's warnings."""
    content, reason = ODDITIES[name]
    (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter(action, Image.DecompressionBombWarning)
        with pytest.raises(BadInput) as told:
            opened(tmp_path / name)
    remedy = "Save the one that counts as a file of its own, as PNG." if "frames" in reason else "Reduce it, or cut"
    assert str(told.value).startswith(f"image {tmp_path / name}: {reason}. {remedy}")


@pytest.mark.parametrize("suffix", ["GIF", "PNG", "WEBP", "TIFF"])
def test_a_file_that_could_have_several_frames_and_has_one_is_a_picture(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "still").write_bytes(animated(suffix, 1))
    assert opened(tmp_path / "still").size == (24, 20)


def test_a_phones_jpeg_with_a_copy_in_it_is_its_first_picture(tmp_path: Path) -> None:
    (tmp_path / "phone.jpg").write_bytes(of_a_phone())
    with Image.open(tmp_path / "phone.jpg") as picture:
        assert getattr(picture, "n_frames", 1) == 2
    assert np.abs(np.asarray(opened(tmp_path / "phone.jpg")).astype(int) - 120).max() < 3


def test_colours_that_no_browser_shows_are_named(tmp_path: Path) -> None:
    Image.new("LAB", (9, 7)).save(tmp_path / "lab.tif")
    with pytest.raises(BadInput, match=r"lab\.tif: its colours are LAB, which no browser shows\. Save it as RGB\."):
        opened(tmp_path / "lab.tif")


@oddities
@pytest.mark.parametrize("dataset", ["folder", "csv", "coco"])
def test_training_names_what_is_no_still_picture_and_leaves_it_out_on_request(
    images: Path, tmp_path: Path, name: str, dataset: str
) -> None:
    content, reason = ODDITIES[name]
    name = name.replace(".gif", ".png")  # torchvision's folders have no GIF
    place = tmp_path / "images"
    shutil.copytree(images, place)
    (place / "digit1" / name).write_bytes(content)
    files = {file: file.parent.name for file in sorted(place.rglob("*.*"))}
    if dataset == "csv":
        (place / "list.csv").write_text(
            "".join(f"{file.relative_to(place)},{label}\n" for file, label in files.items())
        )
        place /= "list.csv"
    elif dataset == "coco":
        categories = {label: number for number, label in enumerate(sorted(set(files.values())))}
        coco = {
            "images": [{"id": n, "file_name": str(file.relative_to(place))} for n, file in enumerate(files)],
            "annotations": [
                {"image_id": n, "category_id": categories[label]} for n, label in enumerate(files.values())
            ],
            "categories": [{"id": number, "name": label} for label, number in categories.items()],
        }
        (place / "list.json").write_text(json.dumps(coco))
        place /= "list.json"
    config = settle(configs.read(None, {"data.dataset": dataset, "data.folder": str(place), "data.image_size": 16}))
    with pytest.raises(BadInput, match=r"1 of 61 images cannot be read: .*skip_corrupt=true") as told:
        data.load(config)
    assert f"{name} ({reason})" in str(told.value)
    (finding,) = data.load(config.with_values("data", skip_corrupt=True)).findings
    assert f"{name} ({reason}); they are left out" in finding


@oddities
def test_adoption_names_what_is_no_still_picture(images: Path, tmp_path: Path, name: str) -> None:
    content, reason = ODDITIES[name]
    shutil.copytree(images, tmp_path / "images")
    (tmp_path / "images" / "digit0" / name).write_bytes(content)
    given = pictures(tmp_path / "images", Preparation((16, 16), None), ())
    with pytest.raises(BadInput, match=r"1 of 61 images cannot be read: .* leave them out with --skip-corrupt") as told:
        given.inputs([file.name for file in given.files].index(name))
    assert f"{name} ({reason})" in str(told.value)


@pytest.mark.parametrize(
    ("resize", "crop", "reason"),
    [
        ((100000, 100000), None, "resize 100000×100000: a height and a width of 1 to 8192 pixels are allowed"),
        ((64, 8193), None, "resize 64×8193: a height and a width of 1 to 8192 pixels are allowed"),
        ((64, 0), None, "resize 64×0: a height and a width of 1 to 8192 pixels are allowed"),
        ((64, 64), (64, 65), "crop 64×65 is larger than resize 64×64, which it is cut from"),
    ],
)
def test_sizes_that_cannot_be_followed_are_refused_where_they_are_said(
    resize: tuple[int, int], crop: tuple[int, int] | None, reason: str
) -> None:
    with pytest.raises(BadInput) as told:
        Preparation(resize, crop)
    assert str(told.value).startswith(f"preparation: {reason}. Give another size")
    assert Preparation((8192, 8192), (8192, 8192)).crop


def test_a_training_at_a_size_that_no_memory_has_room_for_is_one_sentence(
    tmp_path: Path, command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command("train", "--image-size", "100000")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert said.err.startswith("error: preparation: resize 100000×100000: a height and a width of 1 to 8192 pixels are")
    assert list(tmp_path.iterdir()) == []


def test_a_training_on_a_picture_that_fills_memory_is_one_sentence_and_no_warning(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "images")
    (tmp_path / "images" / "digit0" / "large.png").write_bytes(ODDITIES["large.png"][0])
    train = [sys.executable, "-m", "anywhere", "train", "--dataset", "folder", "--folder", "images"]
    paths = {"PYTHONPATH": str(Path(__file__).parents[2])}
    said = subprocess.run(train, cwd=tmp_path, env={**os.environ, **paths}, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert "large.png (it has 169,000,000 pixels, and at most 89,478,485 are read)" in said.stderr


@pytest.mark.parametrize("preparation", [Preparation((64, 64), (48, 48)), Preparation((64, 64), None)])
def test_a_picture_that_is_too_long_to_be_resized_is_refused_before_memory_is_taken(preparation: Preparation) -> None:
    """Of a strip, what covers a square is as long as the strip is high; and its rows are resized before its columns."""
    for size in ((1, 100_000), (MOST_PIXELS // 32, 1)):
        strip = data.opaque(Image.new("L", size[::-1]))
        if preparation.crop is None and size[0] == 1:
            assert preparation.transform()(strip).shape == (3, 64, 64)
            continue
        with pytest.raises(BadInput, match=rf"picture of {size[0]}×{size[1]} pixels: resized to .* on the way"):
            preparation.transform()(strip)
