"""Folders of pictures and masks: values are classes, and what does not fit is refused by name."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from measures.tasks.segmentation import VOID
from pipeline import config as configs
from pipeline import data, masks
from pipeline.data import Data
from pipeline.train import settle
from records.errors import BadInput

HEIGHT, WIDTH = 24, 32


def mask(number: int) -> np.ndarray[Any, Any]:
    """Return (24, 32) uint8: 2 on the left, as far as the number says, then 1, and a row of `VOID` below."""
    found = np.ones((HEIGHT, WIDTH), np.uint8)
    found[:, : number + 1] = 2
    found[-1] = VOID
    found[0] = 0
    return found


def written(images: Path, masks: Path, count: int = 20) -> None:
    """Write pictures whose green is their number, and their masks, of which every other one is palette."""
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    for number in range(count):
        values = mask(number)
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[..., 1] = number
        Image.fromarray(pixels).save(images / f"{number}.png")
        saved = Image.fromarray(values)
        if number % 2:
            saved = saved.convert("P")
            saved.putpalette(bytes(3 * [7]) + bytes(range(3)) + bytes(759))
            saved.frombytes(values.tobytes())
        saved.save(masks / f"{number}.png")


def loaded(folder: Path, **changes: Any) -> Data:
    keys = {
        "task": "segmentation", "data.dataset": "folder", "data.folder": str(folder),
        "data.image_size": [HEIGHT, WIDTH], "data.augmentation": "none", **changes,
    }  # fmt: skip
    return data.load(settle(configs.read(None, keys)))


def gray(values: np.ndarray[Any, Any], bits: int) -> bytes:
    """A gray PNG of 1, 2, 4 or 8 bits a pixel (https://www.w3.org/TR/png-3/)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packed = np.packbits(np.unpackbits(values[..., None], axis=2)[..., 8 - bits :].reshape(len(values), -1), axis=1)
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), bits, 0, 0, 0, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in packed)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(lines), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in chunks.items())


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_mask_of_few_bits_has_the_values_that_are_stored(bits: int, tmp_path: Path) -> None:
    """Pillow makes white of the greatest: of 4 bits the class 15 would be `VOID`."""
    stored = (np.arange(24 * 32).reshape(24, 32) % (1 << bits)).astype(np.uint8)
    (tmp_path / "7.png").write_bytes(gray(stored, bits))
    assert np.array_equal(masks.values(tmp_path / "7.png"), stored)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written(tmp_path / "images", tmp_path / "masks")
    return tmp_path


def test_each_picture_comes_with_its_mask(folder: Path) -> None:
    found = loaded(folder)
    assert (len(found.train), len(found.test), found.labels) == (16, 4, ("0", "1", "2"))
    for part in (found.train, found.test):
        for place in range(len(part)):
            image, classes = part[place]
            number = round(float(image[1, 0, 0]) * 255)
            assert classes.shape == (HEIGHT, WIDTH)
            assert torch.equal(classes.as_subclass(torch.Tensor), torch.from_numpy(mask(number)))


def test_classes_have_the_names_of_a_file(folder: Path) -> None:
    (folder / "classes.txt").write_text("sky\nroad\ncar\nnever seen\n", encoding="utf-8")
    found = loaded(folder)
    assert found.labels == ("sky", "road", "car", "never seen")
    assert torch.unique(found.train.batch([0]).truth["classes"]).tolist() == [0, 1, 2, VOID]


def test_values_that_are_far_apart_are_classes_too(folder: Path) -> None:
    for file in (folder / "masks").iterdir():
        values = np.asarray(Image.open(file))
        Image.fromarray(np.where(values == 2, 200, np.where(values == VOID, VOID, 0)).astype(np.uint8)).save(file)
    found = loaded(folder)
    assert found.labels == ("0", "200")
    assert torch.unique(found.train.batch([0]).truth["classes"]).tolist() == [0, 1, VOID]


@pytest.mark.parametrize("held_out", ["val", "test"])
@pytest.mark.parametrize("above", [True, False])
def test_train_and_what_is_held_out_keep_their_split(tmp_path: Path, held_out: str, above: bool) -> None:
    for split, count in (("train", 12), (held_out, 6)):
        images, masks = (tmp_path / split / kind if above else tmp_path / kind / split for kind in ("images", "masks"))
        written(images, masks, count)
    found = loaded(tmp_path)
    assert (len(found.train), len(found.test)) == (12, 6)


def test_pictures_are_changed_along_with_their_masks(folder: Path) -> None:
    found = loaded(folder, **{"data.augmentation": "photographs", "data.image_size": [48, 64]})
    for epoch in range(6):
        image, classes = found.train[(epoch, 3)]
        assert (image.shape, classes.shape) == ((3, 48, 64), (48, 64))
        assert set(torch.unique(classes).tolist()) <= {0, 1, 2, VOID}


def _without(folder: Path) -> None:
    (folder / "masks" / "7.png").unlink()


def _smaller(folder: Path) -> None:
    Image.new("L", (30, 20)).save(folder / "masks" / "7.png")


def _colours(folder: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "masks" / "7.png")


def _sixteen_bits(folder: Path) -> None:
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint16)).save(folder / "masks" / "7.png")


def _no_picture(folder: Path) -> None:
    (folder / "masks" / "7.png").write_bytes(b"no picture")


def _of_no_class(folder: Path) -> None:
    (folder / "classes.txt").write_text("sky\nroad\n", encoding="utf-8")


def _damaged(folder: Path) -> None:
    (folder / "images" / "7.png").write_bytes(b"no picture")


def _one_class(folder: Path) -> None:
    for file in (folder / "masks").iterdir():
        Image.fromarray(np.where(np.asarray(Image.open(file)) == 2, VOID, 0).astype(np.uint8)).save(file)


def _one_split(folder: Path) -> None:
    (folder / "train" / "images").mkdir(parents=True)


def _two_of_one_name(folder: Path) -> None:
    Image.open(folder / "images" / "7.png").save(folder / "images" / "7.jpg")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_two_of_one_name, r"7\.jpg and 7\.png would share the mask \S*masks/7\.png\. Rename one"),
        (_without, r"1 of its 20 masks are not there, the first \S*masks/7\.png\. Put"),
        (_smaller, r"masks/7\.png is 20×30, and its picture 24×32\. Save masks as PNG"),
        (_colours, r"masks/7\.png is RGB: colours, or more than 8 bits a pixel, where a class is needed\. Save"),
        (_sixteen_bits, r"masks/7\.png is I;16: colours, or more than 8 bits"),
        (_no_picture, r"masks/7\.png cannot be decoded"),
        (_of_no_class, r"masks/0\.png has the value 2, and there are 2 classes \(sky, road\) and 255; .*; and 17 more"),
        (
            _damaged,
            r"1 of 20 images cannot be read: \S*images/7\.png \(not an image\)\. Mend .* data\.skip_corrupt=true",
        ),
        (_one_class, r"one class \(0\) in 20 masks, and 255 is none\. At least two"),
        (_one_split, r"has train alone\. Put images and masks into train and val, or all into one"),
    ],
)
def test_what_does_not_fit_is_named(folder: Path, change: Callable[[Path], None], said: str) -> None:
    change(folder)
    with pytest.raises(BadInput, match=said):
        loaded(folder)


def test_damaged_pictures_are_left_out_where_that_is_asked_for(folder: Path) -> None:
    _damaged(folder)
    found = loaded(folder, **{"data.skip_corrupt": True})
    assert len(found.train) + len(found.test) == 19
    assert "1 of 20 images cannot be read" in found.findings[0]


def test_without_a_folder_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is empty: no such folder\. Give --folder PATH with images/ and masks/"):
        loaded(tmp_path, **{"data.folder": ""})
    with pytest.raises(BadInput, match="no folder images"):
        loaded(tmp_path)
