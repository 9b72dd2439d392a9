"""What spoils a comparison is said before anything is computed; what nothing can be made of is refused."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from pipeline.scan import scan
from records.errors import BadInput


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3)
    )
    model(torch.rand(8, 3, 6, 6))  # so that its statistics are not a new model's
    return model.eval()


@pytest.fixture(autouse=True)
def precision() -> Iterator[None]:
    yield
    torch.set_float32_matmul_precision("highest")


def test_of_a_sound_model_nothing_is_said() -> None:
    assert scan(network()) == []


def training(model: nn.Sequential) -> None:
    model.train()


def mixed(model: nn.Sequential) -> None:
    model[1].train()


def one_in_training(model: nn.Sequential) -> None:
    model[5].train()


def without_statistics(model: nn.Sequential) -> None:
    model[1] = nn.BatchNorm2d(4, track_running_stats=False).eval()


def new_statistics(model: nn.Sequential) -> None:
    model[1].reset_running_stats()


def halved(model: nn.Sequential) -> None:
    model.half()


def zero_head(model: nn.Sequential) -> None:
    nn.init.zeros_(model[5].weight)


def tf32(model: nn.Sequential) -> None:
    torch.set_float32_matmul_precision("high")


FINDINGS: dict[Callable[[nn.Sequential], None], str] = {
    training: "the model was in training mode; it was put into eval mode",
    mixed: "1 of 2 BatchNorms were in training mode and the others were not",
    one_in_training: "1 modules were in training mode (5)",
    without_statistics: "1 BatchNorms keep no statistics (1)",
    new_statistics: "1 of 2 BatchNorms have the statistics of a new model (1)",
    halved: "weights were torch.float16; all is computed in float32",
    zero_head: "a head of zeros: 5",
    tf32: "TF32 was allowed",
}


@pytest.mark.parametrize("change", FINDINGS)
def test_what_spoils_a_comparison_is_said_and_mended(change: Callable[[nn.Sequential], None]) -> None:
    model = network()
    change(model)
    (finding,) = scan(model)
    assert finding.startswith(FINDINGS[change])
    assert not any(module.training for module in model.modules())
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert torch.get_float32_matmul_precision() == "highest"


def test_weights_without_values_are_refused() -> None:
    with torch.device("meta"):
        model = nn.Linear(2, 2)
    with pytest.raises(BadInput, match=r"2 of the model's 2 tensors have no values, only shapes \(weight, bias\)"):
        scan(model)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    model = network()
    with torch.no_grad():
        model[5].bias[1] = value
    with pytest.raises(BadInput, match=r"1 of the model's tensors hold NaN or infinity \(5.bias\)"):
        scan(model)
