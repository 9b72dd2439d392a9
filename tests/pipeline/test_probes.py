"""Image files are the ones training saw, and nothing can be done to the first unnoticed; patterns are what they say."""

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images
from torch import nn
from torchvision.transforms.v2 import functional

from pipeline import config as configs
from pipeline import data
from pipeline.checkpoint import PROBES, Checkpoint
from pipeline.data import Preparation, opaque
from pipeline.golden import choose
from pipeline.pictures import opened as read
from pipeline.probes import PICTURES, TRANSPARENCY, ImageFiles, as_png, asymmetric, patterns, roundings
from records.golden import PATTERNS


@pytest.fixture(scope="module")
def opened(trained: Path) -> Checkpoint:
    return Checkpoint.open(trained / "runs" / "tiny" / "checkpoint")


def decoded(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file))


def test_a_checkpoint_has_files_and_what_training_and_pytorch_make_of_them(opened: Checkpoint) -> None:
    probes, model = opened.probes(), opened.model()
    assert probes
    files = [file.tobytes() for file in probes.files["image"]]
    assert len(files) == PICTURES + 4
    images = data.load(configs.read(opened.folder / "config.toml"))
    prepare = images.preparation.transform()
    pictures = [opaque(read(io.BytesIO(file))) for file in files]
    prepared = torch.stack([prepare(picture).as_subclass(torch.Tensor) for picture in pictures]).float() / 255
    assert np.array_equal(probes.inputs["image"], prepared.numpy())
    for file, number in zip(files[1 : PICTURES + 1], choose(images.test, 64), strict=False):
        assert np.array_equal(np.asarray(decoded(file)), images.test.picture(number)[0].numpy())
    assert np.array_equal(probes.inputs["image"][1 : PICTURES + 1], opened.golden().inputs["image"][:PICTURES])
    assert [decoded(file).mode for file in files[PICTURES + 1 :]] == ["RGB", "L", "RGBA"]
    image = torch.from_numpy(probes.inputs["image"])
    with torch.no_grad():
        assert np.allclose(model(image).numpy(), probes.outputs["logits"], rtol=0, atol=1e-5)
        assert np.allclose(model.double()(image.double()).numpy(), probes.oracle["logits"], rtol=0, atol=1e-12)


PHOTO = Image.fromarray(load_sample_images().images[0])


@pytest.mark.parametrize("picture", [PHOTO, PHOTO.resize((28, 28)).convert("L")], ids=["photograph", "gray"])
def test_files_are_also_of_a_turned_camera_gray_and_transparent(picture: Image.Image) -> None:
    """And whoever does not turn the first, or blends the last with a ground, has another input."""
    preparation = Preparation((64, 48), None)
    probes, prepare = ImageFiles([picture], preparation), preparation.transform()
    assert len(probes.files) == len(probes.image) == 5
    drawing, _, *others = (decoded(file.tobytes()) for file in probes.files)
    camera, gray, transparent = others

    def steps(other: Image.Image, number: int) -> float:
        return float((prepare(opaque(other)).as_subclass(torch.Tensor) - 255 * probes.image[number]).abs().max())

    assert (camera.format, camera.size) == ("JPEG", drawing.size[::-1])
    assert camera.getexif() == {0x0112: 6}
    assert {layer[1:3] for layer in camera.layer} == {(1, 1)}  # 4:4:4
    assert 0 < (probes.image[2] - probes.image[0]).abs().max() * 255 < 20  # near the drawing, and itself no drawing
    assert steps(camera, 2) > 100
    for orientation in (1, 3, 8):
        turned = camera.copy()
        turned.getexif()[0x0112] = orientation
        assert steps(ImageOps.exif_transpose(turned), 2) > 100
    assert gray.mode == "L"
    assert torch.equal(probes.image[3][0], probes.image[3][2])
    assert (transparent.mode, transparent.getchannel("A").getextrema()) == ("RGBA", TRANSPARENCY)
    assert np.array_equal(np.asarray(transparent)[..., :3], np.asarray(drawing))
    assert torch.equal(probes.image[4], probes.image[0])
    for ground in ("black", "white"):
        blended = Image.alpha_composite(Image.new("RGBA", transparent.size, ground), transparent)
        assert steps(blended, 4) > 20


def test_a_checkpoint_from_before_has_none(opened: Checkpoint) -> None:
    files = {name: sha256 for name, sha256 in opened.files.items() if name != PROBES}
    object.__setattr__(older := Checkpoint.open(opened.folder), "files", files)
    assert (older.probes(), older.patterns()) == (None, None)


def test_a_checkpoint_has_patterns_and_what_pytorch_makes_of_each_by_itself(opened: Checkpoint) -> None:
    kept, model, golden = opened.patterns(), opened.model(), opened.golden().inputs["image"]
    image = torch.from_numpy(kept.inputs["image"])
    assert image.shape == (len(PATTERNS), *golden.shape[1:])
    assert torch.equal(image, patterns(torch.from_numpy(golden), (0, 1)))
    with torch.no_grad():
        outputs = torch.cat([model(one[None]) for one in image]).numpy()
        assert np.allclose(outputs, kept.outputs["logits"], rtol=0, atol=1e-5)
        assert np.allclose(model.double()(image.double()).numpy(), kept.oracle["logits"], rtol=0, atol=1e-12)
    apart = np.abs(kept.outputs["logits"] - kept.oracle["logits"]).max(1)
    assert (kept.floors["logits"] >= apart).all()
    assert (kept.floors["logits"] > 0).all()
    assert kept.floors["logits"].max() < 1e-4


def test_patterns_are_unlike_golden_and_unlike_each_other() -> None:
    picture = torch.rand(3, 28, 24, generator=torch.Generator().manual_seed(3))
    found = dict(zip(PATTERNS, patterns(picture[None], (0, 1)), strict=True))
    assert (found["black"] == 0).all()
    assert (found["white"] == 1).all()
    assert found["checkerboard"].unique().tolist() == [0, 1]
    assert found["checkerboard"][0, 0].tolist()[:7] == [0, 0, 0, 1, 1, 1, 0]
    assert found["noise"].std() > 0.2
    assert torch.equal(found["noise"], patterns(picture[None], (0, 1))[PATTERNS.index("noise")])
    assert torch.equal(found["shifted"].roll((-3, -6), (1, 2)), picture)


@pytest.mark.parametrize(
    ("samples", "limits", "values"),
    [
        (torch.tensor([[3, 4, 5], [9, 7, 8]]), (3, 9), {3, 4, 5, 6, 7, 8, 9}),
        (torch.tensor([3, 9]), (3, 9), {3, 4, 5, 6, 7, 8, 9}),
        (torch.tensor([[True, False]]), (0, 1), {True, False}),
    ],
)
def test_patterns_of_integers_are_integers_that_they_may_be(
    samples: torch.Tensor, limits: tuple[float, float], values: set[int]
) -> None:
    made = patterns(samples, limits)
    assert (made.dtype, made.shape) == (samples.dtype, (len(PATTERNS), *samples.shape[1:]))
    assert set(made.unique().tolist()) <= values
    assert (made[0] == limits[0]).all()
    assert (made[1] == limits[1]).all()


def test_the_noise_floor_of_an_image_all_alike_is_what_a_normalisation_makes_of_rounding() -> None:
    """A single run may be exact: here the deviation is nought, and what is divided by it as well."""
    model = nn.Sequential(nn.InstanceNorm2d(3), nn.Conv2d(3, 2, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten()).eval()
    white = torch.ones(1, 3, 8, 8)
    with torch.no_grad():
        exact = model.double()(white.double())
        once = (model.float()(white) - exact).abs().max()
        others = roundings(model, {"image": white})
        rounded = max((other(inputs["image"]) - exact).abs().max() for other, inputs in others)
    assert rounded > 1e-6 > once * 1e3
    assert not any(value.dtype == torch.float64 for value in model.state_dict().values())


@pytest.mark.parametrize("preparation", [Preparation((64, 64), None), Preparation((37, 37), (32, 32))])
@pytest.mark.parametrize("level", [0, 90, 255])
def test_the_first_is_another_when_turned_mirrored_swapped_or_resized_otherwise(
    preparation: Preparation, level: int
) -> None:
    """Even where the picture it is made of is all alike."""
    picture = asymmetric(torch.full((1, 8, 8), level, dtype=torch.uint8), preparation)
    height, width = picture.shape[1:]
    assert height / preparation.resize[0] != pytest.approx(width / preparation.resize[1], rel=0.2)
    prepared = preparation.transform()(picture).float()  # (3, S, S)
    seen = [
        view[list(order)]
        for order in itertools.permutations(range(3))
        for turned in (torch.rot90(prepared, quarter, (1, 2)) for quarter in range(4))
        for view in (turned, turned.flip(2))
    ]
    assert len(seen) == 48
    for one, other in itertools.combinations(seen, 2):
        assert (one - other).abs().max() > 20
    size = [min(preparation.resize)] if preparation.crop else list(preparation.resize)
    rough = functional.resize(picture, size, antialias=False)
    rough = functional.center_crop(rough, list(preparation.crop)) if preparation.crop else rough
    assert (rough - prepared).abs().max() > 15


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_a_picture_of_any_mode_is_a_file_of_what_training_sees(mode: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (40, 30, 4), np.uint8)
    picture: Any = Image.fromarray(colours, "RGBA" if mode == "RGBA" else None)
    picture = picture if mode == "RGBA" else picture.convert("RGB").convert(mode)
    prepare = Preparation((16, 16), None).transform()
    assert torch.equal(prepare(opaque(decoded(as_png(picture)))), prepare(opaque(picture)))
    assert torch.equal(prepare(opaque(picture)), prepare(opaque(picture.convert("RGB"))))
    assert decoded(as_png(picture)).mode == ("L" if mode in {"1", "L", "LA"} else "RGB")


@pytest.mark.parametrize(("channels", "kept"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_a_tensor_is_stored_without_its_transparency(channels: int, kept: int) -> None:
    pixels = torch.randint(256, (channels, 5, 7), dtype=torch.uint8)
    assert torch.equal(opaque(pixels), pixels[:kept])
    assert decoded(as_png(pixels)).size == (7, 5)


def test_a_file_holds_nothing_but_pixels() -> None:
    picture = Image.new("RGB", (4, 4))
    picture.info = {"icc_profile": b"x" * 100, "exif": b"Exif\0\0" + b"y" * 100, "comment": "taken in a private place"}
    assert decoded(as_png(picture)).info == {}
