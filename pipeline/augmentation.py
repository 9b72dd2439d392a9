"""Random transforms of pictures on which things lie: boxes and masks are changed along with their picture.

steps = of_scenes("photographs", (320, 320))
"""

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from measures.tasks.segmentation import VOID
from records.errors import unknown


def of_scenes(augmentation: str, size: tuple[int, int], crop: bool = True) -> list[Any]:
    """Return the transforms of that name, which give pictures and their truth of a height and width. Raises BadInput.

    What a crop leaves outside of the picture is `VOID` in a mask. crop False: where the truth is of the whole picture.
    """
    fill = {tv_tensors.Image: 127, tv_tensors.Mask: VOID}
    resized = v2.Resize(list(size), antialias=True)
    known = {
        "none": [],
        "light": [resized, v2.ColorJitter(0.2, 0.2, 0.2)],
        "photographs": [
            v2.RandomPhotometricDistort(p=0.5),
            v2.RandomZoomOut(fill=fill, side_range=(1.0, 2.0), p=0.5),
            *([Crop()] if crop else []),
            resized,
            v2.RandomHorizontalFlip(),
            Sanitize(),
        ],
    }
    if augmentation not in known:
        raise unknown("augmentation", augmentation, known)
    return known[augmentation]


class Crop(v2.Transform):  # type: ignore[misc]  # torchvision has no annotations
    """Cut out a random part of a picture, at least 0.3 of each side; boxes are cut off where it ends."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Return place and size of the part, as torchvision's v2 asks for them before `transform`."""
        height, width = v2.functional.get_size(flat_inputs[0])
        share = 0.3 + 0.7 * torch.rand(2)
        high, wide = (max(1, round(float(part) * side)) for part, side in zip(share, (height, width), strict=True))
        top, left = (int(float(torch.rand(1)) * room) for room in (height - high + 1, width - wide + 1))
        return {"top": top, "left": left, "height": high, "width": wide}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cut one part of a sample."""
        return self._call_kernel(v2.functional.crop, inpt, **params)


class Sanitize(v2.Transform):  # type: ignore[misc]  # likewise
    """Take out things of which a crop left less than a pixel, or less than a fifth of what they measured."""

    def forward(self, *inputs: Any) -> Any:
        """Return a picture and its truth, of which boxes that are too small are gone."""
        picture, truth = inputs
        if not isinstance(truth, dict):
            return picture, truth
        boxes = v2.functional.clamp_bounding_boxes(truth["boxes"])
        seen = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
        areas = [(each[:, 2] - each[:, 0]) * (each[:, 3] - each[:, 1]) for each in (boxes, truth["boxes"])]
        seen &= areas[0] >= 0.2 * areas[1].clamp(min=1e-6)
        kept = tv_tensors.wrap(boxes[seen], like=truth["boxes"])
        return picture, {**{name: value[seen] for name, value in truth.items()}, "boxes": kept}
