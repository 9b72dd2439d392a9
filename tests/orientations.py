"""Picture files as a camera writes them that was turned or mirrored: the pixels as they came, and EXIF that says so.

And as scanners write them: PNG of 16 bits a value.
"""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

ORIENTATIONS = range(1, 9)
_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What the camera made of an upright picture, by orientation: JEITA CP-3451, tag 0x0112."""


def exif(orientation: int, order: str = "<") -> bytes:
    """A TIFF without a picture, which has this orientation alone. order: < for little endian, > for big."""
    mark = b"II" if order == "<" else b"MM"
    return struct.pack(f"{order}2sHIHHHIHHI", mark, 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def taken(
    upright: Image.Image,
    orientation: int,
    suffix: str = "PNG",
    order: str = "<",
    said: bytes | None = None,
    **options: Any,
) -> bytes:
    """The file of a camera that was held so, which shows the same as an upright picture. said: instead of its EXIF."""
    stored = upright.transpose(_STORED[orientation]) if orientation in _STORED else upright
    before = b"Exif\0\0" if suffix == "JPEG" else b""
    file = io.BytesIO()
    stored.save(file, suffix, exif=before + (said or exif(orientation, order)), **options)
    return file.getvalue()


def noise(height: int, width: int) -> Image.Image:
    """A picture of which no two parts are alike."""
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8))


def deep(values: np.ndarray[Any, Any]) -> bytes:
    """A PNG file of (H, W, 1 to 4) uint16, which Pillow writes of gray alone. https://www.w3.org/TR/png-3/."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
