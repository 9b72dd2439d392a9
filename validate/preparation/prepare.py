"""How an image file becomes a model's input: what the manifest says of that input, with Pillow and numpy alone.

    tensor = tensor_from(manifest["inputs"][0])
    image = prepare(Path("photo.png").read_bytes(), tensor.preparation)        # (1, 3, H, W) float32 in [0, 1]
    image = tensor.stored(image)                                               # its type and layout: tensor.py

This is for your app: copy it. prepare.mjs is the same in JavaScript.
"""

import io
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageOps

LARGEST = 8192  # pixels of a height or width that a preparation may ask for
MOST_PIXELS = 89_478_485  # of a picture, and of what it becomes on the way: 268 MB
SEVERAL_IN_ONE = {"MPO"}  # a phone's JPEG with a smaller copy in it; elsewhere a second frame is an animation
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}  # which browsers show alike
RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}  # Pillow always antialiases


def prepare(file: bytes, preparation: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return an encoded image as (1, 3, H, W) float32.

    Raises ValueError for a preparation that it does not know, and for a picture that training refuses.
    """
    resampling = RESAMPLING.get(preparation["interpolation"])
    if resampling is None or (preparation["antialias"], preparation["channels"]) != (True, "RGB"):
        raise ValueError(
            f"preparation {dict(preparation)}: only bilinear and bicubic with antialias to RGB are known here."
        )
    check_sizes(preparation)
    picture = ImageOps.exif_transpose(opened(file))  # as the camera held it
    if picture.mode.startswith("I;16"):  # gray of 16 bits, which Pillow would cut off at 255
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    picture = picture.convert("RGB")  # gray repeated, transparency dropped
    width, height = size_of(picture, preparation)
    if (most := width * max(height, picture.height)) > MOST_PIXELS:  # between the two steps below, or after them
        raise ValueError(
            f"a picture of {picture.height}×{picture.width} pixels, resized to {height}×{width}, takes {most:,} on the "
            f"way; at most {MOST_PIXELS:,} are known here."
        )
    # Rows first, as torchvision does it; Pillow alone begins with what costs less. The order shows, for in between
    # values are rounded and cut off at 0 and 255: in bicubic by up to 23 steps.
    picture = picture.resize((width, picture.height), resampling).resize((width, height), resampling)
    if preparation["crop"]:
        picture = central(picture, *preparation["crop"])
    pixels = (np.asarray(picture) * preparation["scale"]).astype(np.float32)  # (H, W, 3)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def opened(file: bytes) -> Image.Image:
    """Return an encoded image, not yet decoded. Raises ValueError for one that training refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # which the next lines do not
        try:
            picture = Image.open(io.BytesIO(file))
        except Image.DecompressionBombError as error:
            raise ValueError(
                f"a picture of too many pixels; at most {MOST_PIXELS:,} are known here: {error}"
            ) from error
    if picture.width * picture.height > MOST_PIXELS:
        raise ValueError(
            f"a picture of {picture.height}×{picture.width} pixels; at most {MOST_PIXELS:,} are known here: reduce it."
        )
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format not in SEVERAL_IN_ONE:
        raise ValueError(f"a file of {frames} frames, and a picture is one: save the one that counts by itself.")
    if picture.mode not in MODES and not picture.mode.startswith("I;16"):
        raise ValueError(f"a picture whose colours are {picture.mode}: save it as RGB.")
    return picture


def check_sizes(preparation: Mapping[str, Any]) -> None:
    """Raise ValueError for sizes that no memory has room for, and for a crop larger than what it is cut from."""
    resize, crop = preparation["resize"], preparation["crop"]
    if not all(1 <= side <= LARGEST for side in (*resize, *(crop or ()))):
        raise ValueError(
            f"preparation {dict(preparation)}: a height and a width of 1 to {LARGEST} pixels are known here."
        )
    if crop and (crop[0] > resize[0] or crop[1] > resize[1]):
        raise ValueError(f"preparation {dict(preparation)}: the crop is larger than what it is cut from.")


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
