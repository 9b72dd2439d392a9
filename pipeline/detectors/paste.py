"""Masks of boxes, a few cells wide each, become pictures: what a Mask R-CNN ends with."""

import torch
from torch import nn

PADDING = 1
"""Cells of nothing around a mask, as torchvision's: it fades out beyond the box."""


class Paste(nn.Module):
    """Puts masks of boxes into pictures of one height and width."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size

    def forward(self, masks: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Return masks (K, M, M) of boxes (K, 4) as pictures (K, H, W), 0 outside of their box.

        It is torchvision's `paste_masks_in_image`, whose boxes end with whole pixels; its bilinear interpolation is a
        matrix along each axis.
        """
        cells = masks.shape[-1]
        # In torchvision's order: another one rounds some boxes to other pixels.
        half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * (float(cells + 2 * PADDING) / cells)
        centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
        first, last = ((centre + side).to(torch.int32).to(boxes.dtype) for side in (-half, half))
        columns, lines = (_weights(first[:, axis], last[:, axis], self.size[1 - axis], cells) for axis in (0, 1))
        return torch.bmm(torch.bmm(lines, masks), columns.transpose(1, 2))


def _weights(first: torch.Tensor, last: torch.Tensor, pixels: int, cells: int) -> torch.Tensor:
    """Return by how much each pixel of an axis is each cell of a mask that goes from a first to a last pixel.

    first, last: (K,) whole numbers. Returns (K, pixels, cells).
    """
    first, last = first[:, None, None], last[:, None, None]
    pixel = torch.arange(pixels, dtype=first.dtype, device=first.device)[None, :, None]
    cell = torch.arange(cells, dtype=first.dtype, device=first.device)[None, None] + float(PADDING)
    padded = float(cells + 2 * PADDING)
    place = (pixel - first + 0.5) * (padded / (last - first + 1.0).clamp(min=1.0)) - 0.5
    place = place.clamp(min=0.0).clamp(max=padded - 1.0)
    inside = ((pixel >= first) & (pixel <= last)).to(first.dtype)
    return (1.0 - (place - cell).abs()).clamp(min=0.0) * inside
