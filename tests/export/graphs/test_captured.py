"""A program becomes TorchScript that computes the same, whatever numbers are written in it."""

import math

import pytest
import torch
from torch import nn

from export.graphs.captured import scripted


class Filled(nn.Module):
    """What is positive becomes one number."""

    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 4) → (N, 4)."""
        return torch.where(x > 0, x * self.value, x).masked_fill(x == 0, self.value)


@pytest.mark.parametrize("value", [0.5, math.inf, -math.inf, math.nan])
def test_a_number_that_torchscript_has_no_word_for_is_computed(value: float) -> None:
    model, x = Filled(value), torch.tensor([[1.0, -1.0, 0.0, 2.0]] * 3)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert torch.equal(scripted(program)(x[:2]).nan_to_num(7), model(x[:2]).nan_to_num(7))
