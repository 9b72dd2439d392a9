"""Picture files, opened as their camera held them: training and adoption open all of them here.

    opened(Path("photo.jpg")).size             # (3024, 4032), though the camera lay on its side
    damaged(files)                             # {17: "not an image"}

What Pillow opens and is no still picture, or is one that fills memory, is refused by name. An app has to turn a picture
alike: validate/preparation/ does, in every language.
"""

import os
import re
import struct
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from records.errors import BadInput
from records.preparation import MOST_PIXELS

SIDEWAYS = range(5, 9)
"""EXIF orientations of pictures whose height and width are exchanged."""
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for a file that is no picture, ends too early, or has EXIF that is none."""
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
"""Pillow's names of the colours that it makes RGB of as a browser does. CMYK is one of them: at most one step of 1/255
apart from Chromium 156, which is told to follow no colour profile, as training follows none; with a profile or without.
"""
SEVERAL_IN_ONE = {"MPO"}
"""Formats that have several pictures by their nature, of which the first is the one to see: a phone's JPEG that has a
smaller copy or its brightness in it."""
NAMED = 3
"""Damaged files that a sentence names."""

# What it warns of is refused here, in a sentence. For all of the process, as a filter of one thread is everybody's.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Unfit(ValueError):
    """The error of a picture that can be decoded and cannot be trained on: why, and as `remedy` what to do."""

    def __init__(self, reason: str, remedy: str):
        super().__init__(reason)
        self.remedy = remedy


def opened(file: str | os.PathLike[str] | IO[bytes]) -> Image.Image:
    """Return a picture, turned as its EXIF orientation says.

    Raises BadInput for one that cannot be decoded, has several frames, or has too many pixels.
    """
    try:
        return _decoded(file)
    except Unfit as error:
        raise BadInput(f"image {file}: {error}. {error.remedy}") from error
    except UNDECODABLE as error:
        raise BadInput(f"image {file}: cannot be decoded ({error}). Remove it, or copy it again.") from error


def size_of(file: Path) -> tuple[int, int]:
    """Return height and width of an image that can be decoded, turned as its EXIF orientation says."""
    with Image.open(file) as picture:
        turned = picture.getexif().get(ExifTags.Base.Orientation, 1) in SIDEWAYS
        return (picture.width, picture.height) if turned else (picture.height, picture.width)


def damaged(files: Sequence[Path]) -> dict[int, str]:
    """Return the number of each file that cannot be decoded, and why. All are decoded, several at a time."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {number: reason for number, reason in enumerate(pool.map(_damage, files)) if reason}


def counted(files: Sequence[Path], reasons: Mapping[int, str]) -> str:
    """Return in words how many of the files are `damaged`, the first of them by name."""
    named = ", ".join(f"{files[number]} ({reason})" for number, reason in list(reasons.items())[:NAMED])
    more = f" and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return f"{len(reasons)} of {len(files)} images cannot be read: {named}{more}"


def refusal(where: str, damage: str, option: str) -> BadInput:
    """Return the error for damaged files that are `counted`. option: what leaves them out instead."""
    return BadInput(f"{where}: {damage}. Mend or remove them, or leave them out with {option}.")


def _decoded(file: str | os.PathLike[str] | IO[bytes]) -> Image.Image:
    try:
        picture = Image.open(file)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(next(int(word) for word in re.findall(r"\d+", str(error)))) from error
    with picture:
        _check(picture)
        turned = ImageOps.exif_transpose(picture)
        turned.load()
    if turned.mode in {"I", "F"}:
        raise ValueError("32 bits a value; 8 and 16 are known here")
    return of_eight_bits(turned)


def _check(picture: Image.Image) -> None:
    """Raise Unfit for a file that is no still picture of a size and colours that are known, before it is decoded."""
    if picture.width * picture.height > MOST_PIXELS:
        raise _too_large(picture.width * picture.height)
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format not in SEVERAL_IN_ONE:
        raise Unfit(
            f"it has {frames} frames, and a picture is one", "Save the one that counts as a file of its own, as PNG."
        )
    if picture.mode not in MODES | {"I", "F"} and not picture.mode.startswith("I;16"):
        raise Unfit(f"its colours are {picture.mode}, which no browser shows", "Save it as RGB.")


def _too_large(pixels: int) -> Unfit:
    return Unfit(f"it has {pixels:,} pixels, and at most {MOST_PIXELS:,} are read", "Reduce it, or cut it into parts.")


def of_eight_bits(picture: Image.Image) -> Image.Image:
    """Return a gray picture of 16 bits a value with the upper 8, as other readers have it; Pillow would cut it off at
    255. Any other picture as it is.
    """
    if not picture.mode.startswith("I;16"):
        return picture
    return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))


def _damage(file: Path) -> str:
    """Return why a file cannot be decoded; empty: it can."""
    try:
        _decoded(file)
    except UnidentifiedImageError:
        return "not an image"
    except UNDECODABLE as error:
        return str(error) or type(error).__name__
    return ""
