"""Inputs that show one thing each: image files, which prove an app's way from a file to the input, and patterns.

    probes = ImageFiles(pictures, data.preparation)
    probes.files[0]                            # (bytes,) uint8: a PNG file
    patterns(probes.image[1:], (0, 1))[1]      # (3, H, W), all white

The first file is a held-out image with which nothing can be done unnoticed: no two of its corners, axes or channels
are alike. The others are held-out images as they are. PNG, for decoding it is exact.

Patterns are unlike all that golden has: a branch that no held-out image takes, or a padding, is taken or seen there.
"""

import copy
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.v2 import functional

from pipeline.data import Preparation, opaque
from pipeline.tasks import Tensors
from records.golden import PATTERNS

PICTURES = 4
"""Held-out images beside the first."""
SQUARE = 3
"""Side of the checkerboard's squares in pixels: no stride of 2 falls upon their edges alone."""
SHIFT = 8
"""The picture is moved by one part in so many of its height, and twice as far to the right."""
ROUNDINGS = 3
"""Times that parameters and pixels are rounded otherwise, to see what a network makes of it."""


class ImageFiles:
    """`files`, K times (bytes,) uint8, and `image` (K, 3, H, W) float32 in [0, 1] as training prepares them."""

    def __init__(self, held_out: Sequence[Any], preparation: Preparation):
        """Prepare pictures, each a PIL image or (C, H, W) uint8, and before them the drawing made of the first."""
        pictures = [asymmetric(held_out[0], preparation), *held_out]
        prepare = preparation.transform()
        self.files = [np.frombuffer(as_png(picture), np.uint8) for picture in pictures]
        self.image = (
            torch.stack([prepare(opaque(picture)).as_subclass(torch.Tensor) for picture in pictures]).float() / 255
        )


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
    pixels = opaque(picture).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, 2)).save(file, "PNG", optimize=True)
    return file.getvalue()
