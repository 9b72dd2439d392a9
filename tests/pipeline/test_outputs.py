"""Whatever a model takes and returns has names and an order, or is refused in one sentence."""

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.outputs import Interface, named_outputs, parameters
from records.errors import BadInput

A, B, C = torch.zeros(2, 1), torch.ones(2, 2), torch.arange(2)


@dataclass
class Found:
    """As a detector returns it."""

    boxes: torch.Tensor
    scores: torch.Tensor
    mask: torch.Tensor | None = None


Pair = namedtuple("Pair", ["mean", "variance"])  # as users have them


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        (A, ["output"]),
        ((A, B), ["output_0", "output_1"]),
        ([A, None, C], ["output_0", "output_2"]),
        ({"logits": A, "aux": (B, C)}, ["logits", "aux_0", "aux_1"]),
        ({"a.b": A, 7: B}, ["a_b", "output_7"]),
        (Found(A, B), ["boxes", "scores"]),
        (Pair(A, B), ["mean", "variance"]),
        ({"head": {"small": A, "large": [B]}}, ["head_small", "head_large_0"]),
    ],
)
def test_outputs_have_names_in_order(returned: Any, names: list[str]) -> None:
    assert list(named_outputs(returned)) == names


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "forward returns nothing and no tensor"),
        ((), "forward returns a tuple of 0 and no tensor"),
        ({"logits": A, "loss": 0.5}, "forward returns loss: a float, which is no tensor"),
        ("cat", "forward returns a str, which is no tensor"),
        ({"a.b": A, "a_b": B}, "two outputs of the name a_b"),
    ],
)
def test_what_is_no_tensor_is_refused(returned: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        named_outputs(returned)


class Many(nn.Module):
    """Inputs with and without a default."""

    def forward(self, image: torch.Tensor, age: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
        total = image.mean((1, 2, 3)) + age
        return {"total": total, "masked": None if mask is None else total * mask}


def test_inputs_are_forwards_parameters() -> None:
    assert parameters(Many()) == (["image", "age", "mask"], ["image", "age"])


def test_a_model_is_called_by_name_or_in_order_and_pictures_are_normalised_once() -> None:
    image, age = torch.rand(2, 3, 4, 4), torch.arange(2.0)
    means = {"image": ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))}
    turned = Interface(Many(), ["age", "image"], True, means)
    in_order = Interface(Many(), ["image", "age"], False, {})
    normal = (image - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
    assert torch.equal(turned(age, image)[0], in_order(normal, age)[0])
    assert len(in_order(image, age)) == 1
