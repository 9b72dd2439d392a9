"""What lies in boxes is read one point of a cell after the other: all at once take as many times the room."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import MultiScaleRoIAlign

from pipeline.detectors.pooling import Pooling

SIZE, CHANNELS, SIDE, BOXES = (64, 96), 8, 14, 40
SHAPES = {"0": (16, 24), "1": (8, 12)}


class Greatest(TorchDispatchMode):
    """Keeps the number of values of the greatest tensor that an operator gave."""

    values = 0

    def __torch_dispatch__(self, operator: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = operator(*arguments, **(options or {}))
        if isinstance(result, torch.Tensor):
            self.values = max(self.values, result.numel())
        return result


def test_no_tensor_is_greater_than_what_is_given() -> None:
    pool = MultiScaleRoIAlign(list(SHAPES), SIDE, 2)
    torch.manual_seed(0)
    features = {name: torch.rand(2, CHANNELS, *shape) for name, shape in SHAPES.items()}
    corners = torch.rand(2, BOXES, 2) * 30
    boxes = torch.cat([corners, corners + 5 + torch.rand(2, BOXES, 2) * 30], 2)
    with Greatest() as seen:
        maps = Pooling(pool, SHAPES, SIZE)(features, boxes)
    assert maps.shape == (2 * BOXES, CHANNELS, SIDE, SIDE)
    assert seen.values == maps.numel()
    theirs = pool(features, list(boxes), [SIZE] * 2)
    assert (maps - theirs).abs().max() < 1e-5
