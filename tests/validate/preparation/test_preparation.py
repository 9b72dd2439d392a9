"""An image file becomes the same input in Python, in Node and in a browser as in training; what is wrong is seen."""

import dataclasses
import io
import math
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.numpy import load_file, save_file
from sklearn.datasets import load_digits, load_sample_images

from export.artifact import Artifact
from export.run import Run
from export.target import find, plan
from measures.tolerance import ON_THE_GRID, PREPARATION, TABLE, allowed_from_file
from pipeline.checkpoint import Checkpoint
from pipeline.data import Preparation, opaque
from pipeline.pictures import MODES, SEVERAL_IN_ONE, opened
from pipeline.probes import PICTURES, ImageFiles, as_png, asymmetric
from records.golden import PREPARED, Actual, Probes, Proof, flat
from records.preparation import LARGEST, MOST_PIXELS
from records.tensor import Arrays, tensor_from
from tests.conftest import TINY
from tests.kept import bring
from tests.oddities import animated, blank, of_a_phone
from tests.orientations import ORIENTATIONS, deep, exif, taken
from tests.validate.judge.test_judge import measured
from validate import parity
from validate.judge.judge import result_of
from validate.measure import Options
from validate.plan import Row
from validate.preparation import prepare as python
from validate.preparation.prepare import prepare
from validate.preparation.probes import prepared
from validate.report.records import Result
from validate.report.terminal import render
from validate.runtimes import programs, runner
from validate.runtimes.job import Budget, Files, Job, Measured
from validate.settings import ValidateConfig
from workers import registry
from workers.toolchain import Toolchain
from workers.worker import WorkerFailed

RUNTIMES = Path(runner.__file__).parent
PREPARATION_CODE = RUNTIMES.parent / "preparation" / "prepare.mjs"
PHOTOS = [Image.fromarray(image) for image in load_sample_images().images]  # 427×640
DIGITS = [Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8)) for image in load_digits().images[:9]]
CUTS = [
    photo.crop((3, 5, 3 + width, 5 + height))
    for photo in PHOTOS
    for width, height in ((333, 211), (101, 399), (59, 61), (97, 31))
]
CASES = {
    "digits enlarged": (DIGITS, Preparation((64, 64), None)),
    "digits enlarged oddly": (DIGITS, Preparation((37, 53), None)),
    "photographs reduced and cropped": (PHOTOS, Preparation((256, 256), (224, 224))),
    "cuts reduced or enlarged and cropped": (CUTS, Preparation((73, 73), (64, 64))),
    "cuts to another shape": (CUTS, Preparation((73, 45), None)),
    "cut oddly": (CUTS, Preparation((40, 40), (31, 38))),
    "photographs covered by what is wide": (PHOTOS + CUTS, Preparation((46, 73), (40, 64))),
    "photographs covered by what is high": (PHOTOS + CUTS, Preparation((73, 46), (64, 40))),
    "nothing to resize": (CUTS[:1], Preparation((211, 333), None)),
    "asymmetric": ([asymmetric(PHOTOS[0], Preparation((64, 64), None))], Preparation((64, 64), None)),
}


every_case = pytest.mark.parametrize("case", CASES)
each_interpolation = pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])


def by_training(pictures: list[Any], wanted: Preparation) -> np.ndarray[Any, Any]:
    transform = wanted.transform()
    prepared = torch.stack([transform(opaque(picture)).as_subclass(torch.Tensor) for picture in pictures])
    return prepared.float().numpy() / 255


def interpolated(case: str, interpolation: str) -> tuple[list[Any], Preparation]:
    """The pictures of a case and how they are prepared."""
    pictures, wanted = CASES[case]
    return pictures, dataclasses.replace(wanted, interpolation=interpolation)


@every_case
@each_interpolation
def test_python_prepares_as_training_does(case: str, interpolation: str) -> None:
    pictures, wanted = interpolated(case, interpolation)
    found = np.concatenate([prepare(as_png(picture), wanted.record()) for picture in pictures])
    expected = by_training(pictures, wanted)
    assert (found.dtype, found.shape) == (np.float32, expected.shape)
    assert np.abs(found - expected).max() * 255 < 1.01
    assert (np.abs(found - expected) * 255 > 0.5).mean() < 0.2


UNKNOWN = pytest.mark.parametrize(
    "change", [{"interpolation": "nearest"}, {"interpolation": "toString"}, {"antialias": False}, {"channels": "BGR"}]
)


@UNKNOWN
def test_a_preparation_that_is_not_known_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="only bilinear and bicubic with antialias to RGB are known"):
        prepare(as_png(DIGITS[0]), Preparation((8, 8), None).record() | change)


FOREIGN = ("web",)


@pytest.fixture(scope="module")
def web() -> Toolchain:
    chain = registry.find()["web"]
    chain.build()
    return chain


ECHO = """
export const TOOLCHAIN = "web";
export const NEEDS = [];
export const version = () => "echo";
export const activate = async () => async ({ image }) =>
  ({ echo: { data: Float32Array.from(image.data), shape: image.shape } });
"""
"""A runner that gives back what it got."""


def echoed(
    web: Toolchain,
    folder: Path,
    harness: Path,
    files: list[bytes],
    image: np.ndarray[Any, Any],
    wanted: Preparation,
    **tensor: Any,
) -> tuple[dict[str, Any], Arrays]:
    """What `measure` said, and what a runner was given for files and for training's inputs of them."""
    (folder / "echo.mjs").write_text(ECHO)
    arrays = {f"file.image.{index}": np.frombuffer(file, np.uint8) for index, file in enumerate(files)}
    save_file({**arrays, "input.image": image, "pattern.input.image": image}, folder / "probes")
    like = {"name": "image", "dtype": "float32", "shape": [1], "layout": "NCHW", "scale": None, "zero_point": 0}
    like["preparation"] = wanted.record()
    job = {
        "runner": str(folder / "echo.mjs"),
        "path": str(folder / "echo.mjs"),
        "manifest": {"inputs": [like | tensor], "outputs": []},
        "golden": str(folder / "probes"),
        "probes": str(folder / "probes"),
        "out": str(folder / "out"),
        "samples": 1,
        "threads": 1,
        "backend": "",
        "budget": {"files_s": 60},
    }
    with web.start(folder / "log", environment=programs.environment(["chromium"])) as worker:
        said = worker.call(harness, "measure", job, folder / "log", 60).value["from_file"]
    return said, load_file(folder / "out")


@every_case
@each_interpolation
def test_node_prepares_as_training_does(web: Toolchain, tmp_path: Path, case: str, interpolation: str) -> None:
    pictures, wanted = interpolated(case, interpolation)
    expected = by_training(pictures, wanted)
    files = [as_png(picture) for picture in pictures]
    said, found = echoed(web, tmp_path, RUNTIMES / "measure.mjs", files, expected, wanted)
    assert said["samples"] == len(pictures)
    assert said["input_steps"] < 1.01
    np.testing.assert_array_equal(found["training.echo"], expected)
    np.testing.assert_array_equal(found["pattern.echo"], expected)
    difference = np.abs(found["file.echo"] - expected).max() * 255
    assert said["input_steps"] == pytest.approx(difference, abs=1e-4)


@UNKNOWN
def test_node_refuses_a_preparation_that_is_not_known(web: Toolchain, tmp_path: Path, change: dict[str, Any]) -> None:
    wanted = dataclasses.replace(Preparation((8, 8), None), **change)
    with pytest.raises(WorkerFailed, match="not known here"):
        echoed(web, tmp_path, RUNTIMES / "measure.mjs", [as_png(DIGITS[0])], np.zeros((1, 3, 8, 8), np.float32), wanted)


@pytest.mark.slow
@each_interpolation
def test_chromium_prepares_as_training_does(web: Toolchain, tmp_path: Path, interpolation: str) -> None:
    for case in ("photographs reduced and cropped", "digits enlarged oddly"):
        pictures, wanted = interpolated(case, interpolation)
        expected = by_training(pictures, wanted)
        files = [as_png(picture) for picture in pictures]
        said, found = echoed(web, tmp_path, RUNTIMES / "chromium.mjs", files, expected, wanted)
        assert np.abs(found["file.echo"] - expected[: said["samples"]]).max() * 255 < 1.01
        np.testing.assert_array_equal(found["pattern.echo"], expected[: len(found["pattern.echo"])])
        assert len(found["pattern.echo"]) >= min(2, len(expected))


UPRIGHT = CUTS[2]  # 59×61
AS_PNG = [taken(UPRIGHT, orientation, order=order) for orientation in ORIENTATIONS for order in "<>"]
"""One picture as PNG files, by a camera that was held in all eight ways, in both byte orders."""


def test_python_turns_a_picture_as_training_does() -> None:
    wanted = Preparation((28, 24), None)
    expected = by_training([UPRIGHT], wanted)
    for file in [*AS_PNG, *(taken(UPRIGHT, one, "WEBP", lossless=True) for one in ORIENTATIONS)]:
        assert np.abs(prepare(file, wanted.record()) - expected).max() * 255 < 1.01


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "LA", "RGBA"])
def test_node_turns_a_picture_as_training_does(web: Toolchain, tmp_path: Path, mode: str) -> None:
    upright, wanted = UPRIGHT.convert("RGB").convert(mode), Preparation((28, 24), None)
    files = [taken(upright, orientation, order=order) for orientation in ORIENTATIONS for order in "<>"]
    expected = by_training([upright] * len(files), wanted)
    said, _ = echoed(web, tmp_path, RUNTIMES / "measure.mjs", files, expected, wanted)
    assert said["samples"] == len(files)
    assert said["input_steps"] < 1.01


def chunk_moved(file: bytes) -> bytes:
    """A PNG file whose EXIF comes after the pixels, as it may."""
    at = file.index(b"eXIf") - 4
    chunk = file[at : at + 12 + int.from_bytes(file[at : at + 4], "big")]
    end = file.index(b"IEND") - 4
    return file[:at] + file[at + len(chunk) : end] + chunk + file[end:]


ODD = (
    chunk_moved(taken(UPRIGHT, 6)),
    taken(UPRIGHT, 6, said=b"Exif\0\0Exif\0\0" + exif(6)),  # Pillow takes the first one off
    taken(UPRIGHT, 1, said=exif(9)),
    taken(UPRIGHT, 1, said=exif(6)[:18]),
    taken(UPRIGHT, 1, said=exif(6)[:8]),
)
"""PNG files with EXIF that comes last, with a prefix, beyond 8, cut off and without a tag."""


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_exif_that_is_odd_turns_a_picture_as_in_training(web: Toolchain, tmp_path: Path) -> None:
    wanted, files = Preparation((28, 24), None), ODD
    for file in files:
        assert np.abs(prepare(file, wanted.record()) - by_training([UPRIGHT], wanted)).max() * 255 < 1.01
    expected = by_training([UPRIGHT] * len(files), wanted)
    said, _ = echoed(web, tmp_path, RUNTIMES / "measure.mjs", [*files], expected, wanted)
    assert said["input_steps"] < 1.01


@pytest.mark.slow
def test_chromium_turns_a_picture_as_training_does(web: Toolchain, tmp_path: Path) -> None:
    """PNG and WebP by our own code, whatever the browser does with them; JPEG by the browser."""
    wanted = Preparation((28, 24), None)
    files = [*AS_PNG, *ODD]
    files += [taken(UPRIGHT, one, "WEBP", order=order, lossless=True) for one in ORIENTATIONS for order in "<>"]
    said, _ = echoed(
        web, tmp_path, RUNTIMES / "chromium.mjs", files, by_training([UPRIGHT] * len(files), wanted), wanted
    )
    assert said["samples"] == len(files)
    assert said["input_steps"] < 1.01
    files = [taken(UPRIGHT, one, "JPEG", order=order, quality=95) for one in ORIENTATIONS for order in "<>"]
    turned = []
    for number, file in enumerate(files):
        (tmp_path / f"{number}.jpg").write_bytes(file)
        turned.append(opened(tmp_path / f"{number}.jpg"))
    said, _ = echoed(web, tmp_path, RUNTIMES / "chromium.mjs", files, by_training(turned, wanted), wanted)
    assert said["samples"] == len(files)
    assert said["input_steps"] < 3.01


@pytest.mark.parametrize(
    ("dtype", "scale", "zero"), [("float32", None, 0), ("uint8", 1 / 255, 0), ("int8", 1 / 200, -100)]
)
def test_node_gives_what_the_manifest_says_in_layout_and_type(
    web: Toolchain, tmp_path: Path, dtype: str, scale: float | None, zero: int
) -> None:
    wanted = Preparation((16, 24), None)
    tensor: dict[str, Any] = {"dtype": dtype, "scale": scale, "zero_point": zero, "layout": "NHWC"}
    files = [as_png(picture) for picture in PHOTOS]
    image = np.concatenate([prepare(file, wanted.record()) for file in files])
    said, found = echoed(web, tmp_path, RUNTIMES / "measure.mjs", files, image, wanted, **tensor)
    expected = tensor_from(tensor | {"name": "image", "shape": [1, 16, 24, 3]}).stored(image).astype(np.float32)
    assert found["file.echo"].shape == (2, 16, 24, 3)
    assert np.abs(found["file.echo"] - expected).max() <= (2 if scale else 1.01 / 255)
    assert said["input_steps"] < 1.01 + 255 * (scale or 0)


@pytest.mark.parametrize(
    ("mode", "options"),
    [("P", {}), ("P", {"bits": 4}), ("LA", {}), ("RGBA", {}), ("L", {}), ("RGB", {"compress_level": 0})],
)
def test_node_decodes_the_kinds_of_png(web: Toolchain, tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    picture = CUTS[2].convert("RGB").convert(mode, colors=16) if mode == "P" else CUTS[2].convert(mode)
    if mode in {"LA", "RGBA"}:
        picture.putalpha(Image.fromarray(np.arange(61 * 59).reshape(61, 59).astype(np.uint8)))
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    wanted = Preparation((20, 20), None)
    expected = prepare(file.getvalue(), wanted.record())
    said, _ = echoed(web, tmp_path, RUNTIMES / "measure.mjs", [file.getvalue()], expected, wanted)
    assert said["input_steps"] < 1.01


DEEP = [
    deep(np.random.default_rng(channels).integers(0, 2**16, (61, 59, channels)).astype(np.uint16))
    for channels in (1, 2, 3, 4)
]
"""PNG files of 16 bits a value: gray, with transparency, RGB, RGBA."""


def by_training_of(files: Sequence[bytes], folder: Path, wanted: Preparation) -> np.ndarray[Any, Any]:
    """What training makes of PNG files."""
    pictures = []
    for number, file in enumerate(files):
        (folder / f"{number}.png").write_bytes(file)
        pictures.append(opened(folder / f"{number}.png"))
    return by_training(pictures, wanted)


def test_16_bits_a_value_are_read_as_in_training(web: Toolchain, tmp_path: Path) -> None:
    wanted = Preparation((20, 20), None)
    expected = by_training_of(DEEP, tmp_path, wanted)
    assert np.abs(np.concatenate([prepare(file, wanted.record()) for file in DEEP]) - expected).max() * 255 < 1.01
    said, _ = echoed(web, tmp_path, RUNTIMES / "measure.mjs", DEEP, expected, wanted)
    assert said["input_steps"] < 1.01


@pytest.mark.slow
def test_chromium_reads_16_bits_a_value_as_training_does(web: Toolchain, tmp_path: Path) -> None:
    """Gray and RGB: of what is transparent, a canvas loses the colours."""
    wanted, opaque_ones = Preparation((20, 20), None), [DEEP[0], DEEP[2]]
    expected = by_training_of(opaque_ones, tmp_path, wanted)
    said, _ = echoed(web, tmp_path, RUNTIMES / "chromium.mjs", opaque_ones, expected, wanted)
    assert said["samples"] == len(opaque_ones)
    assert said["input_steps"] < 1.01


OF_PHONES = {
    "photographs": ImageFiles(PHOTOS, Preparation((64, 64), None)),
    "photographs cropped": ImageFiles(CUTS[:2], Preparation((73, 60), (64, 48))),
    "digits": ImageFiles(DIGITS[:2], Preparation((28, 28), None)),
}
"""Files of a checkpoint: PNG, a turned camera's JPEG, gray, transparent; and how each is prepared."""
SIZES = {"photographs": ((64, 64), None), "photographs cropped": ((73, 60), (64, 48)), "digits": ((28, 28), None)}
of_phones = pytest.mark.parametrize("which", OF_PHONES)


def files_of(which: str) -> tuple[list[bytes], np.ndarray[Any, Any], Preparation]:
    """Files, what training makes of them, and how."""
    probes = OF_PHONES[which]
    return [file.tobytes() for file in probes.files], probes.image.numpy(), Preparation(*SIZES[which])


@of_phones
def test_python_reads_the_files_of_phones_as_training_does(which: str) -> None:
    files, expected, wanted = files_of(which)
    found = np.concatenate([prepare(file, wanted.record()) for file in files])
    assert np.abs(found - expected).max() * 255 < 1.01


@of_phones
def test_node_reads_the_files_of_phones_as_training_does(web: Toolchain, tmp_path: Path, which: str) -> None:
    files, expected, wanted = files_of(which)
    said, found = echoed(web, tmp_path, RUNTIMES / "measure.mjs", files, expected, wanted)
    assert (said["samples"], len(found["file.echo"])) == (len(files), len(files))
    assert said["input_steps"] < 1.01


@pytest.mark.slow
@of_phones
def test_chromium_reads_the_files_of_phones_as_training_does(web: Toolchain, tmp_path: Path, which: str) -> None:
    files, expected, wanted = files_of(which)
    said, _ = echoed(web, tmp_path, RUNTIMES / "chromium.mjs", files, expected, wanted)
    assert said["samples"] == len(files)
    assert said["input_steps"] < 1.01


def by_training_of_jpegs(files: Sequence[bytes]) -> np.ndarray[Any, Any]:
    """What training decodes, (N, 3, H, W) float32 in [0, 1]: files of one size that is not resized."""
    pixels = [np.asarray(opened(io.BytesIO(file)).convert("RGB")).transpose(2, 0, 1) for file in files]
    return np.ascontiguousarray(np.stack(pixels) / np.float32(255))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_node_decodes_and_turns_a_jpeg_to_the_very_values_of_training(
    web: Toolchain, tmp_path: Path, subsampling: int
) -> None:
    """Also with colours that are stored coarsely, as phones do, and with bars of progress."""
    files = [
        taken(
            UPRIGHT, orientation, "JPEG", order=order, quality=quality, subsampling=subsampling, progressive=progressive
        )
        for orientation in ORIENTATIONS
        for order in "<>"
        for quality, progressive in ((75, False), (95, True))
    ]
    wanted = Preparation((UPRIGHT.height, UPRIGHT.width), None)
    said, _ = echoed(web, tmp_path, RUNTIMES / "measure.mjs", files, by_training_of_jpegs(files), wanted)
    assert said["samples"] == len(files)
    assert said["input_steps"] < 0.01


def test_node_decodes_a_gray_jpeg(web: Toolchain, tmp_path: Path) -> None:
    files, wanted = [taken(UPRIGHT.convert("L"), 6, "JPEG")], Preparation((UPRIGHT.height, UPRIGHT.width), None)
    said, _ = echoed(web, tmp_path, RUNTIMES / "measure.mjs", files, by_training_of_jpegs(files), wanted)
    assert said["input_steps"] < 0.01


INKS = taken(UPRIGHT.convert("CMYK"), 1, "JPEG", quality=95)
"""A JPEG of four inks, as printers have them."""


@pytest.mark.slow
def test_four_inks_are_read_by_python_and_chromium_as_in_training_and_named_by_node(
    web: Toolchain, tmp_path: Path
) -> None:
    wanted, expected = Preparation((UPRIGHT.height, UPRIGHT.width), None), by_training_of_jpegs([INKS])
    assert np.abs(prepare(INKS, wanted.record()) - expected).max() * 255 < 0.01
    said, _ = echoed(web, tmp_path, RUNTIMES / "chromium.mjs", [INKS], expected, wanted)
    assert said["input_steps"] < 1.01
    with pytest.raises(WorkerFailed, match=r"a JPEG file of four inks \(CMYK\), not decoded in Node: save it as RGB"):
        echoed(web, tmp_path, RUNTIMES / "measure.mjs", [INKS], expected, wanted)


def test_node_names_a_kind_that_it_does_not_decode(web: Toolchain, tmp_path: Path) -> None:
    wanted, expected = Preparation((8, 8), None), np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(WorkerFailed, match="neither a PNG nor a JPEG file"):
        echoed(web, tmp_path, RUNTIMES / "measure.mjs", [taken(UPRIGHT, 1, "WEBP")], expected, wanted)
    broken = taken(UPRIGHT, 1, "JPEG")[:40] + bytes(40)
    with pytest.raises(WorkerFailed, match="a JPEG file that cannot be decoded"):
        echoed(web, tmp_path, RUNTIMES / "measure.mjs", [broken], expected, wanted)


def test_node_says_what_it_cannot_decode(web: Toolchain, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((9, 9), np.uint8)).convert("1").save(file, "PNG")
    wanted = Preparation((20, 20), None)
    with pytest.raises(WorkerFailed, match="a PNG file with 1 bits a value; 8 and 16 are known here"):
        echoed(web, tmp_path, RUNTIMES / "measure.mjs", [file.getvalue()], np.zeros((1, 3, 20, 20), np.float32), wanted)


REFUSED = {
    "animated PNG": (animated("PNG"), "a file of 3 frames, and a picture is one"),
    "large PNG": (blank(13000, 13000), "a picture of 13000×13000 pixels; at most"),
    "larger PNG": (
        blank(20000, 20000),
        "a picture of (20000×20000|too many) pixels; at most",
    ),  # Pillow itself refuses it
    "too long to resize": (blank(MOST_PIXELS // 32, 1), "on the way"),
}
IN_BROWSERS = {
    "animated GIF": (animated("GIF"), "a file of 3 frames, and a picture is one"),
    "animated WebP": (animated("WEBP"), "a file of 3 frames, and a picture is one"),
}
"""Files that training refuses, and what an app's own code says of them."""


@pytest.mark.parametrize("kind", [*REFUSED, *IN_BROWSERS, "pages of a TIFF", "LAB"])
def test_python_refuses_what_training_refuses(kind: str) -> None:
    lab = io.BytesIO()
    Image.new("LAB", (9, 7)).save(lab, "TIFF")
    others = {
        "pages of a TIFF": (animated("TIFF", 2), "a file of 2 frames"),
        "LAB": (lab.getvalue(), "a picture whose colours are LAB: save it as RGB"),
    }
    file, reason = {**REFUSED, **IN_BROWSERS, **others}[kind]
    with pytest.raises(ValueError, match=reason):
        prepare(file, Preparation((64, 64), None).record())


@pytest.mark.parametrize("kind", REFUSED)
def test_node_refuses_what_training_refuses(web: Toolchain, tmp_path: Path, kind: str) -> None:
    file, reason = REFUSED[kind]
    if kind == "too long to resize":  # of one bit a value, which is not decoded there
        file = as_png(Image.new("L", (1, MOST_PIXELS // 32)))
    expected = np.zeros((1, 3, 64, 64), np.float32)
    with pytest.raises(WorkerFailed, match=reason):
        echoed(web, tmp_path, RUNTIMES / "measure.mjs", [file], expected, Preparation((64, 64), None))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["animated PNG", "large PNG", *IN_BROWSERS])
def test_chromium_refuses_what_training_refuses(web: Toolchain, tmp_path: Path, kind: str) -> None:
    file, reason = {**REFUSED, **IN_BROWSERS}[kind]
    expected = np.zeros((1, 3, 64, 64), np.float32)
    with pytest.raises(WorkerFailed, match=reason):
        echoed(web, tmp_path, RUNTIMES / "chromium.mjs", [file], expected, Preparation((64, 64), None))


@pytest.mark.slow
def test_chromium_reads_files_that_could_have_several_frames_and_have_one(web: Toolchain, tmp_path: Path) -> None:
    """And a phone's JPEG with a smaller copy in it."""
    files, wanted = (
        [*(animated(suffix, 1) for suffix in ("GIF", "PNG", "WEBP")), of_a_phone()],
        Preparation((20, 24), None),
    )
    expected = by_training_of_jpegs(files)
    said, _ = echoed(web, tmp_path, RUNTIMES / "chromium.mjs", files, expected, wanted)
    assert said["samples"] == len(files)
    assert said["input_steps"] < 3.01
    said, _ = echoed(web, tmp_path, RUNTIMES / "measure.mjs", [files[1], files[3]], expected[[1, 3]], wanted)
    assert (said["samples"], said["input_steps"] < 0.01) == (2, True)


BEYOND: list[tuple[dict[str, Any], str]] = [
    ({"resize": (100000, 100000)}, "a height and a width of 1 to 8192 pixels are known here"),
    ({"resize": (8, 0)}, "a height and a width of 1 to 8192 pixels are known here"),
    ({"crop": (100000, 8)}, "a height and a width of 1 to 8192 pixels are known here"),
    ({"crop": (8, 9)}, "larger than"),
]
"""Sizes of a preparation that somebody wrote into a manifest, and what an app's own code says of them."""


@pytest.mark.parametrize(("changes", "reason"), BEYOND)
def test_python_refuses_sizes_before_it_takes_memory(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        prepare(as_png(DIGITS[0]), Preparation((8, 8), None).record() | changes)


@pytest.mark.parametrize(("changes", "reason"), BEYOND)
def test_node_refuses_sizes_before_it_takes_memory(
    web: Toolchain, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    wanted = Preparation((8, 8), None)
    for field, size in changes.items():
        object.__setattr__(wanted, field, size)  # which it does not let anybody say
    with pytest.raises(WorkerFailed, match=reason):
        echoed(web, tmp_path, RUNTIMES / "measure.mjs", [as_png(DIGITS[0])], np.zeros((1, 3, 8, 8), np.float32), wanted)


def test_every_language_has_the_same_limits() -> None:
    code = PREPARATION_CODE.read_text()
    in_javascript = {name: int(value) for name, value in re.findall(r"^const ([A-Z_]+) = (\d+);", code, re.MULTILINE)}
    assert in_javascript == {"LARGEST": LARGEST, "MOST_PIXELS": MOST_PIXELS}
    assert (python.LARGEST, python.MOST_PIXELS) == (LARGEST, MOST_PIXELS)
    assert (python.SEVERAL_IN_ONE, python.MODES) == (SEVERAL_IN_ONE, MODES)
    assert MOST_PIXELS == Image.MAX_IMAGE_PIXELS  # beyond which Pillow warns


@pytest.fixture(scope="module")
def onnx_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run with its ONNX files alone. Not to be written into."""
    return bring("tiny", TINY, tmp_path_factory.mktemp("onnx"), plan(find(), ["onnx"]))


@pytest.fixture
def run(onnx_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    shutil.copytree(onnx_only, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return Run.open("tiny")


Change = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
WRONG: dict[str, Change] = {
    "transposed": lambda x: x.transpose(0, 1, 3, 2),
    "mirrored": lambda x: x[..., ::-1],
    "upside down": lambda x: x[..., ::-1, :],
    "BGR": lambda x: x[:, ::-1],
    "rows, columns, channels": lambda x: x.transpose(0, 2, 3, 1).reshape(x.shape),
    "unscaled": lambda x: x * 255,
    "scaled twice": lambda x: x / 255,
    "mean subtracted twice": lambda x: (x - 0.5) / 0.5,
    "one pixel off": lambda x: np.roll(x, 1, axis=3),
    "no number": lambda x: np.where(np.arange(x.size).reshape(x.shape) == 7, np.nan, x),
    "black": lambda x: x * 0,
}


def outcome(run: Run, name: str, change: Change, folder: Path, **said: Any) -> Result:
    """The result of an artifact in ONNX Runtime whose app prepares image files so."""
    artifact, probes = run.artifact(name), run.checkpoint.probes()
    assert probes
    wrong = np.ascontiguousarray(change(prepared(probes, artifact.inputs)["image"]), np.float32)
    save_file({**probes.arrays(), **flat({PREPARED: {"image": wrong}})}, folder / "probes")
    manifest = {
        "inputs": [dataclasses.asdict(one) for one in artifact.inputs],
        "outputs": [dataclasses.asdict(one) for one in artifact.outputs],
    }
    job = Job(
        runner.FOLDER / "onnx_in_onnxruntime.py",
        artifact.path,
        manifest,
        run.checkpoint.folder / "golden.safetensors",
        folder / "out",
        samples=64,
        threads=1,
        probes=folder / "probes",
        budget=Budget(timed=3),
    )
    found = dataclasses.replace(Measured.read(runner.measure(**job.record())), **said)
    row = Row(artifact, "onnx", name.partition("/")[2], "onnxruntime", "", "")
    return result_of(row, found, Actual.of(load_file(folder / "out")), Proof(run.checkpoint.golden(), probes))


@pytest.mark.parametrize("name", ["onnx/float32", "onnx/float16", "onnx/int8"])
def test_what_an_app_prepares_rightly_passes(run: Run, tmp_path: Path, name: str) -> None:
    result = outcome(run, name, lambda x: x, tmp_path)
    assert (result.status, result.reason) == ("pass", "")
    assert result.from_file
    assert (result.from_file.language, result.from_file.samples) == ("python", PICTURES + 4)
    assert result.from_file.input_steps is not None
    assert result.from_file.input_steps < 1.01
    assert [one.measure for one in result.from_file.judgements] == ["input_steps", "file_db", "probe_db"]


def test_a_checkpoint_that_has_png_files_alone_is_judged_by_those(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they were before."""
    probes = run.checkpoint.probes()
    assert probes
    arrays = (
        {name: value[: PICTURES + 1] for name, value in part.items()}
        for part in (probes.files, probes.inputs, probes.outputs, probes.oracle)
    )
    older = Probes(*arrays)
    monkeypatch.setattr(Checkpoint, "probes", lambda _: Probes.of(older.arrays()))
    result = outcome(run, "onnx/float32", lambda x: x, tmp_path)
    assert result.from_file
    assert (result.status, result.from_file.samples) == ("pass", PICTURES + 1)


def unturned(file: bytes) -> bytes:
    """What an app has that does not look at EXIF."""
    picture = Image.open(io.BytesIO(file))
    return as_png(picture) if picture.format == "JPEG" else file


def on_white(file: bytes) -> bytes:
    """What an app has that blends transparency with a white ground."""
    picture = Image.open(io.BytesIO(file))
    if picture.mode != "RGBA":
        return file
    return as_png(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture))


@pytest.mark.parametrize("read", [unturned, on_white])
@pytest.mark.parametrize("name", ["onnx/float32", "onnx/int8"])
def test_an_app_that_reads_files_of_phones_otherwise_fails(
    run: Run, tmp_path: Path, read: Callable[[bytes], bytes], name: str
) -> None:
    probes = run.checkpoint.probes()
    assert probes
    files = [read(file.tobytes()) for file in probes.files["image"]]
    wanted = run.artifact(name).inputs[0].preparation
    assert wanted
    result = outcome(run, name, lambda _: np.concatenate([prepare(file, wanted) for file in files]), tmp_path)
    assert result.reason.startswith("image files prepared in python differ from training's: input_steps")


@pytest.mark.parametrize("name", ["onnx/float32", "onnx/int8"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_an_app_prepares_wrongly_fails_and_the_sentence_says_in_which_language(
    run: Run, tmp_path: Path, wrong: str, name: str
) -> None:
    result = outcome(run, name, WRONG[wrong], tmp_path)
    assert result.status == "fail"
    assert result.reason.startswith("image files prepared in python differ from training's: input_steps")
    assert result.blocking


@pytest.mark.parametrize("wrong", ["transposed", "upside down", "BGR", "unscaled"])
def test_an_artifact_that_takes_images_otherwise_is_seen_on_the_asymmetric_image(
    run: Run, tmp_path: Path, wrong: str
) -> None:
    """Were the artifact itself wrong, both ways would lead to the same."""
    artifact, probes = run.artifact("onnx/float32"), run.checkpoint.probes()
    turned = WRONG[wrong](probes.inputs["image"][:1])
    with torch.no_grad():
        logits = run.checkpoint.model()(torch.from_numpy(np.ascontiguousarray(turned))).numpy()
    golden = run.checkpoint.golden()
    few, files = {"logits": golden.outputs["logits"][:2]}, {"logits": logits}
    first = {"logits": golden.outputs["logits"][:1]}
    row = Row(artifact, "onnx", "float32", "onnxruntime", "", "", language="node")
    actual = Actual(golden.outputs, together=few, again=few, last=first, file=files, training=files)
    result = result_of(row, measured(64, from_file=Files(1, 0.0)), actual, Proof(golden, probes))
    assert result.reason.startswith("image files prepared in node differ from training's: probe_db")
    assert result.status == "fail"


def test_what_was_not_run_fails(run: Run, tmp_path: Path) -> None:
    result = outcome(run, "onnx/float32", lambda x: x, tmp_path, from_file=None)
    assert (result.status, result.reason) == ("fail", "image files prepared in python: none was run")


def test_steps_that_are_no_number_fail(run: Run, tmp_path: Path) -> None:
    """As they come from JavaScript."""
    result = outcome(run, "onnx/float32", lambda x: x, tmp_path, from_file=Files(PICTURES + 4, None))
    assert (result.status, "input_steps NaN (at most 3 allowed)" in result.reason) == ("fail", True)


def onnx_runners() -> list[runner.Runner]:
    return [one for one in runner.find() if one.name == "onnx_in_onnxruntime"]


def test_a_preparation_that_gives_another_shape_is_an_error_of_the_row(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Run.artifact

    def changed(self: Run, name: str) -> Artifact:
        found = original(self, name)
        (image,) = found.inputs
        assert image.preparation
        taller = dataclasses.replace(image, preparation={**image.preparation, "resize": [28, 32]})
        return dataclasses.replace(found, inputs=(taller,))

    monkeypatch.setattr(Run, "artifact", changed)
    report = parity.check(run, onnx_runners(), Options(1, timed=3))
    assert {one.status for one in report.results} == {"error"}
    said = "its manifest's preparation cannot be followed: it gives 28×32 pixels, and the input takes 28×28"
    assert said in report.results[0].reason


def test_image_files_have_a_row_of_their_own_and_leave_the_others_their_headroom(run: Run) -> None:
    found = parity.check(run, onnx_runners(), Options(1, timed=3))
    screen = Console(width=100, file=io.StringIO(), record=True)
    screen.print(render(found))
    (line,) = [one for one in screen.export_text().splitlines() if one.startswith("prepared from files")]
    assert line.split()[:6] == ["prepared", "from", "files", "in", "python", "pass"]
    assert line.split()[-2] in {"0/255", "1/255"}
    best = max(found.results, key=lambda one: one.headroom or 0)
    assert best.headroom
    assert best.from_file
    assert best.headroom > min(one.headroom or 0 for one in best.from_file.judgements)


def test_a_checkpoint_without_probes_is_judged_with_warnings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("probes", "patterns"):
        monkeypatch.setattr(Checkpoint, kind, lambda _: None)
    report = parity.check(run, onnx_runners(), Options(1, timed=3))
    assert {(one.status, one.from_file) for one in report.results} == {("pass", None)}
    assert {probe.name for one in report.results for probe in one.probes} == {"made anew"}
    assert report.warnings == [parity.UNPREPARED, parity.UNPATTERNED]
    assert all("Train again: anywhere train --force" in one for one in report.warnings)


@pytest.mark.slow
def test_every_language_prepares_the_files_of_a_run(released: Path) -> None:
    """Python, Node and Chromium, integers and floats, both layouts."""
    rows = ("tflite/int8 in litert xnnpack", "tflite/* in litertjs*", "tfjs/float32 in node wasm", "onnx/* in *")
    report = parity.check(Run.open("tiny"), runner.find(), Options(2, timed=3), settings=ValidateConfig(only=rows))
    ran = [one for one in report.results if one.status != "not_run"]
    assert {one.from_file.language for one in ran if one.from_file} == {"python", "node", "chromium"}
    for one in ran:
        assert one.status == "pass", (one.name, one.reason)
        assert one.from_file
        assert one.from_file.input_steps is not None
        assert one.from_file.input_steps < 1.01
        assert one.from_file.samples == PICTURES + 4
    assert not list(Path("runs/tiny/report/actual").glob("*.probes"))


def test_javascript_that_prepares_wrongly_fails_in_its_language(web: Toolchain, run: Run, tmp_path: Path) -> None:
    """A copy of the code with its channels swapped; the numbers go through judge."""
    for file in [*RUNTIMES.glob("*.mjs"), *PREPARATION_CODE.parent.glob("*.mjs")]:
        copy = tmp_path / file.parent.name / file.name
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(file, copy)
    prepare_code = tmp_path / "preparation" / "prepare.mjs"
    code = prepare_code.read_text()
    swapped = code.replace("channels < 3 ? 0 : c", "channels < 3 ? 0 : 2 - c")
    assert swapped != code
    prepare_code.write_text(swapped)
    probes, wanted = run.checkpoint.probes(), Preparation((28, 28), None)
    assert probes
    files = [file.tobytes() for file in probes.files["image"]]
    said, _ = echoed(web, tmp_path, tmp_path / "runtimes" / "measure.mjs", files, probes.inputs["image"], wanted)
    assert said["input_steps"] > 100
    golden = run.checkpoint.golden()
    few, first = ({"logits": golden.outputs["logits"][:count]} for count in (2, 1))
    actual = Actual(golden.outputs, together=few, again=few, last=first, file=probes.outputs, training=probes.outputs)
    row = Row(run.artifact("onnx/float32"), "onnx", "float32", "web", "", "", language="node")
    result = result_of(row, measured(64, from_file=Files(**said)), actual, Proof(golden, probes))
    assert result.reason.startswith("image files prepared in node differ from training's: input_steps")


def test_every_precision_limits_what_image_files_lead_to() -> None:
    assert PREPARATION.keys() == TABLE.keys()
    for rows in PREPARATION.values():
        assert {row.measure for row in rows} == {"input_steps", "file_db", "probe_db"}
        assert all(len(row.reason) > 20 and row.source for row in rows)


@pytest.mark.parametrize(
    ("scale", "allowed"),
    [
        (None, 3),
        (1 / 255, 3),
        ((1 + ON_THE_GRID / 2) / 255, 3),
        (2 / 255, 5),
        (0.5 / 255, 3.5),
        (1 / 127, 3 + 255 / 127),
    ],
)
def test_an_integer_input_may_be_one_integer_further_off_unless_it_is_a_pixel(
    scale: float | None, allowed: float
) -> None:
    (row,) = [one for one in allowed_from_file("int8", scale, {}) if one.measure == "input_steps"]
    assert row.allowed == pytest.approx(allowed)


@pytest.mark.parametrize(
    ("precision", "own_db", "allowed"),
    [("int8", 20, 6), ("int8", 8, 5), ("int8", 1, 0), ("int8", -9, 0), ("int8", math.nan, 6), ("float32", 8, 35)],
)
def test_integers_that_are_far_off_on_the_probe_by_themselves_may_be_as_far_off_again(
    precision: str, own_db: float, allowed: float
) -> None:
    (row,) = [one for one in allowed_from_file(precision, None, {}, own_db) if one.measure == "probe_db"]
    assert row.allowed == allowed
    assert row.instead_of is None


def test_what_the_configuration_allows_a_precision_it_allows_image_files() -> None:
    lower = {one.measure: one for one in allowed_from_file("int8", None, {"int8": {"sqnr_db": 5}})}
    assert (lower["file_db"].allowed, lower["probe_db"].allowed, lower["input_steps"].allowed) == (5, 5, 3)
    assert lower["file_db"].instead_of
    assert (lower["file_db"].instead_of.allowed, "configuration" in lower["file_db"].source) == (15, True)
    higher = allowed_from_file("int8", None, {"int8": {"sqnr_db": 50}, "float32": {"sqnr_db": 5}})
    assert higher == PREPARATION["int8"]
