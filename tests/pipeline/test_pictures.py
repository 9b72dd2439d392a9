"""A picture is opened as its camera held it, in training and in adoption alike."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import config as configs
from pipeline import data
from pipeline.data import Preparation
from pipeline.pictures import opened
from pipeline.samples import pictures
from pipeline.train import settle
from records.errors import BadInput
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
