"""The sizes that a preparation may ask for: what a memory has room for, and no cut larger than what it is cut from.

    misfit({"resize": [100000, 100000], "crop": None, …})       # "resize 100000×100000: a height and width of 1 to …"

Whoever prepares a picture looks here first: a size that somebody wrote into a record is memory before it is a picture.
`prepare.py` and `prepare.mjs`, which apps copy, have the same limits.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from records.errors import BadInput
from records.tensor import Tensor

LARGEST = 8192
"""Pixels of a prepared picture's height and width, each, at most: 200 MB as bytes, 800 MB as an input of float32."""
MOST_PIXELS = 89_478_485
"""Pixels of a picture file at most, and of what it becomes while it covers a size: 268 MB as RGB. Pillow, too, begins
to warn here of files that were made to fill memory."""


def misfit(preparation: Mapping[str, Any], shape: Sequence[int | str] = ()) -> str:
    """Return why a preparation's sizes are none to follow; empty: they are.

    shape: the input's, (N, 3, height, width), which what is prepared has to have; empty, or names: any.
    """
    resize, crop = preparation.get("resize"), preparation.get("crop")
    for name, size in {"resize": resize, "crop": crop or (1, 1)}.items():
        if not _is_size(size):
            said = "×".join(map(str, size)) if isinstance(size, list | tuple) else repr(size)
            return f"{name} {said}: a height and a width of 1 to {LARGEST} pixels are allowed"
    assert resize
    if crop and (crop[0] > resize[0] or crop[1] > resize[1]):
        return f"crop {crop[0]}×{crop[1]} is larger than resize {resize[0]}×{resize[1]}, which it is cut from"
    given = crop or resize
    if any(isinstance(axis, int) and axis != side for axis, side in zip(shape[2:], given, strict=False)):
        return f"it gives {given[0]}×{given[1]} pixels, and the input takes {'×'.join(map(str, shape[2:]))}"
    return ""


def check_preparations(tensors: Iterable[Tensor], where: str, remedy: str, whole: bool = False) -> None:
    """Raise BadInput for an input whose preparation cannot be followed.

    where: which record, and remedy: what to do about it; for the sentence. whole: what is prepared must have the
    input's own height and width, too. An artifact's has those of its checkpoint, and is compared with that.
    """
    for tensor in tensors:
        shape = tensor.shape if whole else ()
        if tensor.preparation is not None and (reason := misfit(tensor.preparation, shape)):
            raise BadInput(f"{where}: preparation of {tensor.name}: {reason}. {remedy}")


def _is_size(size: Any) -> bool:
    """True for two whole numbers from 1 to `LARGEST`."""
    two = isinstance(size, list | tuple) and len(size) == 2
    return two and all(type(side) is int and 1 <= side <= LARGEST for side in size)
