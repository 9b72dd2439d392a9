"""Inputs of other heights and widths than golden's, for a model that is to take any."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from pipeline import samples
from pipeline.data import Preparation
from pipeline.samples import Pictures, Samples
from records.errors import BadInput
from records.tensor import Tensor

MAPS = "NCHW"
"""Layout of floats of four axes: formats that have channels last turn them."""
SIZED = 4
"""Golden samples that are run at other heights and widths, too."""
HEIGHT, WIDTH = "height", "width"
"""Names of the axes of any length beside the batch."""


def resized(
    given: Samples, chosen: Sequence[int], golden: Mapping[str, torch.Tensor], size: tuple[int, int]
) -> dict[str, torch.Tensor]:
    """Return the first golden samples at another height and width, by input.

    Pictures are prepared for it. Arrays that are maps of golden's height and width are repeated, or cut off; other
    inputs stay as they are. Raises BadInput where there is nothing of that kind.
    """
    if isinstance(given, Pictures):
        other = replace(given, preparation=Preparation(size, None, given.preparation.interpolation))
        return samples.batch(other, chosen).inputs
    maps = [name for name, value in golden.items() if layout(value) == MAPS]
    if not maps:
        raise BadInput(f"--other-size {sides(size)}: no input has a height and width (N, C, H, W). Leave it out.")
    usual = golden[maps[0]].shape[2:]
    few = {name: value[:SIZED] for name, value in golden.items()}
    return few | {name: _tiled(few[name], size) for name in maps if golden[name].shape[2:] == usual}


def _tiled(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Repeat or cut maps (N, C, H, W) to a height and width."""
    rows, columns = (torch.arange(length) % values.shape[axis] for axis, length in zip((2, 3), size, strict=True))
    return values[:, :, rows][:, :, :, columns].contiguous()


def of_any_size(tensor: Tensor, sizes: Sequence[torch.Tensor]) -> Tensor:
    """Return an input with names for height and width if it has others in `sizes`."""
    first, *rest = tensor.shape
    if all(list(other.shape[1:]) == rest for other in sizes):
        return tensor
    return replace(tensor, shape=(first, rest[0], HEIGHT, WIDTH))


def layout(values: torch.Tensor) -> str:
    """Return a letter for each axis; empty: nobody knows, and no format turns it."""
    if values.ndim == 4 and values.is_floating_point():
        return MAPS
    return ""


def sides(size: tuple[int, int]) -> str:
    """Return height and width as people read them: 96×160."""
    return f"{size[0]}×{size[1]}"
