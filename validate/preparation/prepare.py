"""How an image file becomes a model's input: what the manifest says of that input, with Pillow and numpy alone.

    tensor = tensor_from(manifest["inputs"][0])
    image = prepare(Path("photo.png").read_bytes(), tensor.preparation)        # (1, 3, H, W) float32 in [0, 1]
    image = tensor.stored(image)                                               # its type and layout: tensor.py

This is for your app: copy it. prepare.mjs is the same in JavaScript.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageOps

RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}  # Pillow always antialiases


def prepare(file: bytes, preparation: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return an encoded image as (1, 3, H, W) float32. Raises ValueError for a preparation that it does not know."""
    resampling = RESAMPLING.get(preparation["interpolation"])
    if resampling is None or (preparation["antialias"], preparation["channels"]) != (True, "RGB"):
        raise ValueError(
            f"preparation {dict(preparation)}: only bilinear and bicubic with antialias to RGB are known here."
        )
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))  # as the camera held it
    if picture.mode.startswith("I;16"):  # gray of 16 bits, which Pillow would cut off at 255
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    picture = picture.convert("RGB")  # gray repeated, transparency dropped
    width, height = size_of(picture, preparation)
    # Rows first, as torchvision does it; Pillow alone begins with what costs less. The order shows, for in between
    # values are rounded and cut off at 0 and 255: in bicubic by up to 23 steps.
    picture = picture.resize((width, picture.height), resampling).resize((width, height), resampling)
    if preparation["crop"]:
        picture = central(picture, *preparation["crop"])
    pixels = (np.asarray(picture) * preparation["scale"]).astype(np.float32)  # (H, W, 3)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def size_of(picture: Image.Image, preparation: Mapping[str, Any]) -> tuple[int, int]:
    """Return the width and height it is resized to: as given, or with a crop in its own ratio, to cover them."""
    height, width = preparation["resize"]
    if not preparation["crop"]:
        return width, height
    if height * picture.width >= width * picture.height:  # the height decides
        return height * picture.width // picture.height, height
    return width, width * picture.height // picture.width


def central(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Return the central part of a picture, cut off equally left and right, above and below."""
    left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
    return picture.crop((left, top, left + width, top + height))
