"""Picture files, opened as their camera held them: training and adoption open all of them here.

    opened(Path("photo.jpg")).size             # (3024, 4032), though the camera lay on its side
    damaged(files)                             # {17: "not an image"}

An app has to turn a picture alike: validate/preparation/ does, in every language.
"""

import os
import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from records.errors import BadInput

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
UNDECODABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for a file that is no picture, ends too early, or has EXIF that is none."""
NAMED = 3
"""Damaged files that a sentence names."""


def opened(file: str | os.PathLike[str]) -> Image.Image:
    """Return a picture, turned as its EXIF orientation says. Raises BadInput for one that cannot be decoded."""
    try:
        return _decoded(file)
    except UNDECODABLE as error:
        raise BadInput(f"image {file}: cannot be decoded ({error}). Remove it, or copy it again.") from error


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


def _decoded(file: str | os.PathLike[str]) -> Image.Image:
    with Image.open(file) as picture:
        turned = ImageOps.exif_transpose(picture)
        turned.load()
    if turned.mode in {"I", "F"}:
        raise ValueError("32 bits a value; 8 and 16 are known here")
    return of_eight_bits(turned)


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
