"""Image files and what training makes of them: with these an app's way from a file to the input is proved.

    probes = Probes(data, numbers)
    probes.arrays()["file.0"]                  # the bytes of a PNG file

The first is a held-out image with which nothing can be done unnoticed: no two of its corners, axes or channels are
alike. The others are held-out images as they are. PNG, for decoding it is exact.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from pipeline.data import Data, Preparation, opaque

PICTURES = 4
"""Held-out images beside the first."""


class Probes:
    """Files, and `image` (K, 3, H, W) float32 in [0, 1] as training prepares them."""

    def __init__(self, data: Data, numbers: Sequence[int]):
        """numbers: of the test split; the first `PICTURES` are taken."""
        held_out = [data.test.picture(number) for number in numbers[:PICTURES]]
        pictures = [asymmetric(held_out[0], data.preparation), *held_out]
        prepare = data.preparation.transform()
        self.files = [as_png(picture) for picture in pictures]
        self.image = torch.stack([prepare(picture).as_subclass(torch.Tensor) for picture in pictures]).float() / 255

    def arrays(self) -> dict[str, torch.Tensor]:
        """The files as `file.<i>` (bytes,) uint8."""
        return {
            f"file.{index}": torch.frombuffer(bytearray(file), dtype=torch.uint8)
            for index, file in enumerate(self.files)
        }


def asymmetric(picture: Any, preparation: Preparation) -> torch.Tensor:
    """A picture → (3, height, width) uint8, larger than what it will be resized to, by another ratio on each axis.

    Its channels are darkened differently, its top left corner is red, and it is covered with fine stripes, which only
    antialiasing takes away. A drawing all of its own would be farther beyond the ranges that calibration has seen.
    """
    height, width = (round(ratio * size) + 1 for ratio, size in zip((2.3, 3.1), preparation.resize, strict=True))
    large = functional.resize(opaque(picture).as_subclass(torch.Tensor).float(), [height, width], antialias=True)
    stripes = 10 * (torch.arange(height)[:, None] % 3 + torch.arange(width)[None] % 4)  # 0 to 50
    found = (large * (205 / 255) + stripes) * torch.tensor([1, 0.75, 0.5])[:, None, None]
    found[:, : int(0.45 * height), : int(0.3 * width)] = torch.tensor([230.0, 20.0, 50.0])[:, None, None]
    return torch.as_tensor(found.round(), dtype=torch.uint8)


def as_png(picture: Any) -> bytes:
    """A PIL image or a (C, H, W) uint8 tensor as a file, gray or RGB; nothing but pixels is in it."""
    pixels = opaque(picture).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, 2)).save(file, "PNG", optimize=True)
    return file.getvalue()
