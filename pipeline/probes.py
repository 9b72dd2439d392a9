"""Inputs that show one thing each: image files, which prove an app's way from a file to the input, and patterns.

    probes = ImageFiles(pictures, data.preparation)
    probes.files[0]                            # (bytes,) uint8: a PNG file
    patterns(probes.image[1:], (0, 1))[1]      # (3, H, W), all white

The first file is a held-out image with which nothing can be done unnoticed: no two of its corners, axes or channels
are alike. The next are held-out images as they are. PNG, for decoding it is exact. The last three show the first one's
drawing as phones and drawing programs write it: a JPEG of a camera that was held upright, a gray picture, a transparent
one.

Patterns are unlike all that golden has: a branch that no held-out image takes, or a padding, is taken or seen there.
"""

import copy
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import nn
from torchvision.transforms.v2 import functional

from pipeline.data import Preparation, opaque
from pipeline.pictures import opened
from pipeline.tasks import Tensors
from records.golden import PATTERNS

PICTURES = 4
"""Held-out images beside the first."""
ORIENTATION = 6
"""EXIF's number for a camera that was held upright: what is stored lies on its left side.
https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf, tag 0x0112"""
QUALITY = 95
"""Of the JPEG. Its colours are stored as finely as its brightness (4:4:4): decoders that enlarge coarser ones otherwise
than libjpeg does are up to 83 steps of 1/255 apart, and an app that has one makes no error."""
TRANSPARENCY = (128, 255)
"""Least and greatest alpha, from left to right. A browser's canvas holds colours multiplied by alpha, and gives those
of 85 and more back to one step of 1/255, of 64 to two, of 8 to sixteen, and of 0 not at all (Chromium 156)."""
SQUARE = 3
"""Side of the checkerboard's squares in pixels: no stride of 2 falls upon their edges alone."""
SHIFT = 8
"""The picture is moved by one part in so many of its height, and twice as far to the right."""
ROUNDINGS = 3
"""Times that parameters and pixels are rounded otherwise, to see what a network makes of it."""


class ImageFiles:
    """`files`, K times (bytes,) uint8, and `image` (K, 3, H, W) float32 in [0, 1] as training prepares them."""

    def __init__(self, held_out: Sequence[Any], preparation: Preparation):
        """Prepare pictures, each a PIL image or (C, H, W) uint8, and the drawing that is made of the first.

        What training makes of a file is what it makes of that file once it is decoded: a JPEG is no longer its picture.
        """
        drawing, prepare = asymmetric(held_out[0], preparation), preparation.transform()
        files = [as_png(picture) for picture in (drawing, *held_out)]
        files += [as_jpeg(drawing), as_gray_png(drawing), as_transparent_png(drawing)]
        pictures = [opaque(opened(io.BytesIO(file))) for file in files]
        self.files = [np.frombuffer(file, np.uint8) for file in files]
        self.image = torch.stack([prepare(picture).as_subclass(torch.Tensor) for picture in pictures]).float() / 255


def patterns(samples: torch.Tensor, limits: tuple[float, float]) -> torch.Tensor:
    """Make the inputs that `PATTERNS` names, in its order: held-out (N, …) of any type → (5, …) of that type.

    limits: the least and the greatest value that they may have, which black and white are made of.
    """
    first = samples[0]
    least, greatest = limits
    shape = tuple(first.shape) or (1,)
    height, width = (1, *shape)[-2:]
    row, column = torch.arange(height)[:, None] // SQUARE, torch.arange(width)[None] // SQUARE
    squares = ((row + column) % 2).reshape((height, width) if len(shape) > 1 else (width,))
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    moves = {-2: height // SHIFT, -1: 2 * width // SHIFT} if len(shape) > 1 else {-1: max(1, width // SHIFT)}
    shares = {
        "black": torch.zeros(shape),
        "white": torch.ones(shape),
        "checkerboard": squares.to(torch.float32).expand(shape),
        "noise": noise,
    }
    made = {name: least + (greatest - least) * share for name, share in shares.items()}
    if not first.is_floating_point():
        made = {name: values.round() for name, values in made.items()}
    made["shifted"] = first.reshape(shape).roll(tuple(moves.values()), tuple(moves))
    return torch.stack([made[name].to(first.dtype).reshape(first.shape) for name in PATTERNS])


def doubled(inputs: Tensors) -> Tensors:
    """Return inputs with floats in double precision."""
    return {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}


def roundings(model: nn.Module, inputs: Tensors) -> Iterator[tuple[nn.Module, Tensors]]:
    """Yield float64 models and inputs (N, …) that are wrong by half of float32's last bit everywhere.

    On an image all alike a normalisation divides by next to nothing, and makes of that bit whatever it likes, which a
    single run in float32 may happen not to show.
    """
    generator = torch.Generator().manual_seed(0)

    def off(exact: torch.Tensor) -> torch.Tensor:
        uniform = torch.rand(exact.shape, generator=generator, dtype=torch.float64)
        return uniform.sub_(0.5).mul_(torch.finfo(torch.float32).eps)  # in place: of a large layer each is gigabytes

    for _ in range(ROUNDINGS):
        double = copy.deepcopy(model).double()
        with torch.no_grad():
            for parameter in double.parameters():
                parameter.mul_(off(parameter).add_(1))
        # Not relative to the pixel: normalised, black is no zero any more. Greater values have greater last bits.
        yield (
            double,
            {
                name: value.double() + off(value) * max(1.0, float(value.abs().max()))
                if value.is_floating_point()
                else value
                for name, value in inputs.items()
            },
        )
        del double


def asymmetric(picture: Any, preparation: Preparation) -> torch.Tensor:
    """Return a picture as (3, height, width) uint8, larger than it will be resized to, by another ratio on each axis.

    Its channels are darkened differently, its top left corner is red, and it is covered with fine stripes, which only
    antialiasing takes away. A drawing all of its own would be farther beyond the ranges that calibration has seen.
    """
    height, width = (round(ratio * size) + 1 for ratio, size in zip((2.3, 3.1), preparation.resize, strict=True))
    large = functional.resize(opaque(picture).as_subclass(torch.Tensor).float(), [height, width], antialias=True)
    stripes = 10 * (torch.arange(height)[:, None] % 3 + torch.arange(width)[None] % 4)  # 0 to 50
    pixels = (large * (205 / 255) + stripes) * torch.tensor([1, 0.75, 0.5])[:, None, None]
    pixels[:, : int(0.45 * height), : int(0.3 * width)] = torch.tensor([230.0, 20.0, 50.0])[:, None, None]
    return torch.as_tensor(pixels.round(), dtype=torch.uint8)


def as_png(picture: Any) -> bytes:
    """Return a PIL image or a (C, H, W) uint8 tensor as a PNG file, gray or RGB, with nothing in it but pixels."""
    return _saved(_image(picture), "PNG", optimize=True)


def as_jpeg(picture: Any) -> bytes:
    """Return a picture as the JPEG file of a camera that was held upright, with EXIF that says so."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = ORIENTATION
    stored = _image(picture).convert("RGB").transpose(Image.Transpose.ROTATE_90)
    return _saved(stored, "JPEG", quality=QUALITY, subsampling=0, exif=exif)


def as_gray_png(picture: Any) -> bytes:
    """Return a picture as a gray PNG file."""
    return _saved(_image(picture).convert("L"), "PNG", optimize=True)


def as_transparent_png(picture: Any) -> bytes:
    """Return a picture as a PNG file whose pixels are as transparent as `TRANSPARENCY` says, and have their colours."""
    transparent = _image(picture).convert("RGB")
    alpha = np.linspace(*TRANSPARENCY, transparent.width).round().astype(np.uint8)
    transparent.putalpha(Image.fromarray(np.tile(alpha, (transparent.height, 1))))
    return _saved(transparent, "PNG", optimize=True)


def _image(picture: Any) -> Image.Image:
    """Return a PIL image or a (C, H, W) uint8 tensor as a PIL image, gray or RGB."""
    pixels = opaque(picture).numpy()
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, 2))


def _saved(image: Image.Image, suffix: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, suffix, **options)
    return file.getvalue()
