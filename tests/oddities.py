"""Picture files that Pillow opens, and that are no still picture, or one that fills memory."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

FRAMES = [Image.fromarray(np.full((20, 24, 3), shade, np.uint8)) for shade in (30, 120, 210)]


def animated(suffix: str, frames: int = 3) -> bytes:
    """A file of so many frames, or of one: GIF, PNG, WEBP or TIFF."""
    first, *others = FRAMES[:frames]
    file = io.BytesIO()
    first.save(file, suffix, save_all=True, append_images=others)
    return file.getvalue()


def of_a_phone() -> bytes:
    """A JPEG with a smaller copy behind it, as phones write them (MPO), which shows the first."""
    file = io.BytesIO()
    FRAMES[1].save(file, "MPO", save_all=True, append_images=[FRAMES[0].resize((12, 10))])
    return file.getvalue()


def blank(height: int, width: int) -> bytes:
    """A PNG file of a black picture of one bit a pixel, which is small whatever its size."""
    packed = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packed.compress(row) for _ in range(height)) + packed.flush()
    parts = {b"IHDR": struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), b"IDAT": data, b"IEND": b""}
    chunks = (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
