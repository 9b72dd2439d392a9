"""What cannot be trained or compared is a sentence before the first step."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.config import Config
from pipeline.models import Normalised
from pipeline.rehearsal import rehearse
from pipeline.tasks import Batch
from records.errors import BadInput

LABELS = ("a", "b", "c")


class Ordinary(nn.Module):
    """A network that is as it should be, but for what a test makes of its output."""

    def __init__(self, classes: int = len(LABELS)):
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3, classes)

    def forward(self, image: torch.Tensor) -> Any:
        return self.head(self.dropout(self.norm(image).mean((2, 3))))


class Twice(Ordinary):
    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> Any:  # type: ignore[override]
        return super().forward(image * mask)


class Pairs(Ordinary):
    def forward(self, image: torch.Tensor) -> Any:
        return super().forward(image), image


class Named(Ordinary):
    def forward(self, image: torch.Tensor) -> Any:
        return {"logits": super().forward(image), "aux": image}


class Nothing(Ordinary):
    def forward(self, image: torch.Tensor) -> Any:
        super().forward(image)


class Raises(Ordinary):
    def forward(self, image: torch.Tensor) -> Any:
        raise KeyError("weights")


class Maps(Ordinary):
    def forward(self, image: torch.Tensor) -> Any:
        return image


class Whole(Ordinary):
    def forward(self, image: torch.Tensor) -> Any:
        return super().forward(image).argsort(1)


class AlwaysOn(Ordinary):
    def forward(self, image: torch.Tensor) -> Any:
        return functional.dropout(super().forward(image), 0.5, training=True)


class Detached(Ordinary):
    def forward(self, image: torch.Tensor) -> Any:
        return super().forward(image).detach()


@pytest.fixture
def config(small: Config) -> Config:
    return small.with_values("model", name="own:Model")


def normalised(model: nn.Module) -> Normalised:
    return Normalised(model, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def batch() -> Batch:
    return Batch({"image": torch.rand(2, 3, 32, 32)}, {"labels": torch.tensor([0, 2])})


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Twice(), r"forward takes 2 inputs \(image, mask\), and a training gives one image. Wrap it"),
        (Pairs(), r"forward returns a tuple of 2 \(Tensor, Tensor\), the task wants one tensor, logits"),
        (Named(), "forward returns a dict of logits, aux, the task wants one tensor, logits"),
        (Nothing(), "forward returns nothing"),
        (Raises(), r"cannot take images of 32×32 \(KeyError: 'weights'\)"),
        (Maps(), r"logits has shape \(2, 3, 32, 32\) for 2 images; a row for each image is needed, \(2, 3\)"),
        (Ordinary(2), "logits has 2 values for each image, and the data has 3 classes"),
        (Ordinary(12), "logits has 12 values for each image, and the data has 3 classes"),
        (Whole(), "logits is of int64, and floats are needed"),
        (AlwaysOn(), "another one for the same input in eval mode.* dropout always on"),
        (Detached(), "cannot be trained .* detach"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_cannot_be_trained_says_why_and_what_to_do(config: Config, model: nn.Module, said: str) -> None:
    with pytest.raises(BadInput, match=said) as raised:
        rehearse(normalised(model), config, batch(), LABELS)
    assert str(raised.value).startswith("model own:Model: ")


def test_a_good_model_and_the_random_numbers_are_left_as_they_were(config: Config) -> None:
    model = normalised(Ordinary()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given, state = batch(), torch.get_rng_state()
    rehearse(model, config, given, LABELS)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
