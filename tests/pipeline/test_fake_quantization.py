"""Layers on integer steps in the last epochs, and an ordinary checkpoint after them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.checkpoint import TRAINING, WEIGHTS, Checkpoint
from pipeline.config import Config
from pipeline.fake_quantization import FOLLOWING, FakeQuantization, fake_activation, fake_weight, freeze_statistics
from pipeline.train import Interrupted, quantized_from, train
from records.errors import BadInput
from records.tensor import Array
from tests.conftest import Said
from tests.pipeline.test_train import QUIET, interrupt_at, weights

NETS = """
import torch
from torch import nn

def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, bias=False), nn.BatchNorm2d(outputs), nn.Hardswish())

class Tiny(nn.Sequential):
    def __init__(self, num_classes):
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(16, num_classes)
        super().__init__(block(3, 8), block(8, 16), *head)

class Layerless(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.own = nn.Parameter(torch.rand(3, num_classes))

    def forward(self, x):
        return x.mean((2, 3)) @ self.own
"""
LAYERS = ("first", "second", "last")


class Net(nn.Module):
    """A convolution with batch normalisation and ReLU, one that is added, one that is gated, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.second, self.other = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.last = nn.Linear(4, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return (N, 2) for an image (N, 3, H, W)."""
        x = functional.relu(self.norm(self.first(image)), inplace=True)
        y = self.other(self.second(x))
        y += x
        x = functional.relu(y)
        logits: torch.Tensor = self.last(functional.hardswish(x).mean((2, 3)))
        return logits


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.norm.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
        net.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return net


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def on_steps(values: Array, least: float, greatest: float) -> Array:
    """uint8 as a quantizer makes it, and back."""
    step = values.dtype.type((greatest - least) / 255)
    zero = np.round(-least / step)
    return np.asarray((np.clip(np.round(values / step) + zero, 0, 255) - zero) * step)


def spanned(values: torch.Tensor) -> torch.Tensor:
    """The same between the values' own ends."""
    return torch.from_numpy(on_steps(values.numpy(), min(0, float(values.min())), max(0, float(values.max()))))


def weight_on_steps(weight: Array) -> Array:
    """int8 for each of the first axis, and back."""
    steps = np.abs(weight).reshape(len(weight), -1).max(axis=1).reshape(-1, *[1] * (weight.ndim - 1)) / 127
    return np.asarray(np.clip(np.round(weight / steps), -127, 127) * steps)


@pytest.mark.parametrize("shape", [(6, 5), (6, 3, 3, 3), (4, 1, 5)])
def test_a_weight_has_int8_for_each_output_channel(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weight[1] *= 100
    np.testing.assert_allclose(fake_weight(weight), weight_on_steps(weight.numpy()), rtol=1e-6)
    assert len(fake_weight(weight)[1].unique()) > 2


def test_an_output_channel_of_zeros_stays() -> None:
    weight = torch.tensor([[0.0, 0.0], [1.0, -0.3]])
    assert fake_weight(weight)[0].tolist() == [0, 0]


def test_a_transposed_convolution_has_its_outputs_on_the_second_axis_of_each_group() -> None:
    weight = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0))  # 3 groups of 2 inputs, 2 outputs
    faked = fake_weight(weight, groups=3)
    for group in range(3):
        for output in range(2):
            rows = slice(2 * group, 2 * group + 2)
            expected = weight_on_steps(weight[rows, output].reshape(1, -1).numpy()).reshape(2, 3, 3)
            np.testing.assert_allclose(faked[rows, output], expected, rtol=1e-6)


@pytest.mark.parametrize("ends", [(-1.3, 2.7), (0.0, 5.0), (-3.0, 0.0)])
def test_an_activation_has_uint8_between_its_ends(ends: tuple[float, float]) -> None:
    step = (ends[1] - ends[0]) / 255
    places = np.random.default_rng(0).uniform(-0.4, 0.4, 400) + np.arange(-60, 340)  # none halfway between two steps
    values = (np.round(ends[0] / step) + places) * step
    faked = fake_activation(torch.from_numpy(values).float(), torch.tensor(ends))
    np.testing.assert_allclose(faked, on_steps(values, *ends), atol=1e-5)
    assert len(faked.unique()) == 256
    assert 0 in faked


@pytest.mark.parametrize(("ends", "wide"), [((1.0, 3.0), (0.0, 3.0)), ((-3.0, -1.0), (-3.0, 0.0))])
def test_zero_is_a_step_of_values_that_never_reach_it(ends: tuple[float, float], wide: tuple[float, float]) -> None:
    values = torch.linspace(-3, 3, 101)
    np.testing.assert_array_equal(fake_activation(values, torch.tensor(ends)), on_steps(values.numpy(), *wide))


def test_values_that_are_all_zero_stay() -> None:
    assert fake_activation(torch.zeros(3), torch.zeros(2)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("factor", [torch.nan, torch.inf])
def test_what_is_no_number_stays_none(net: Net, image: torch.Tensor, factor: float) -> None:
    """The integer of a NaN would be a number, and hide from the loss that a training diverges."""
    with FakeQuantization(net, "net", [image]):
        assert not net(image * factor).isfinite().any()


def test_activations_keep_their_type_under_autocast(net: Net, image: torch.Tensor) -> None:
    faked = FakeQuantization(net, "net", [image])
    with torch.autocast("cpu", torch.bfloat16), faked:
        outputs = net(image)
    assert outputs.dtype == torch.bfloat16
    outputs.float().sum().backward()
    assert net.first.weight.grad is not None and net.first.weight.grad.abs().sum() > 0
    assert all(ends.dtype == torch.float32 for ends in faked.ends.values())


def test_the_gradient_passes_straight_through_and_ends_beyond_the_ends() -> None:
    weight = torch.randn(4, 3, requires_grad=True)
    factors = torch.randn(4, 3)
    (fake_weight(weight) * factors).sum().backward()
    assert weight.grad is not None and weight.grad.equal(factors)
    values = torch.tensor([-2.0, -0.5, 0.013, 0.9, 1.5], requires_grad=True)
    (fake_activation(values, torch.tensor([-1.0, 1.0])) * torch.arange(1.0, 6)).sum().backward()
    assert values.grad is not None and values.grad.tolist() == [0, 2, 3, 4, 0]


def test_inputs_of_layers_and_results_that_are_stored_are_on_steps(net: Net, image: torch.Tensor) -> None:
    """A ReLU and a normalisation are computed together with the layer before."""
    assert FakeQuantization(net, "net", [image]).ends.keys() == {
        "first.weight.input",
        "second.weight.input",
        "other.running_mean.output",
        "last.weight.input",
        "last.weight.output",
    }


def test_a_network_computes_what_its_integers_would(net: Net, image: torch.Tensor) -> None:
    faked = FakeQuantization(net.train(), "net", [image])
    assert net.training
    freeze_statistics(net)
    with faked:
        actual = net(image)
    weight = {name: torch.from_numpy(weight_on_steps(getattr(net, name).weight.detach().numpy())) for name in LAYERS}
    with torch.no_grad():
        x = functional.relu(net.norm(functional.conv2d(spanned(image), weight["first"], net.first.bias)))
        x = spanned(x)
        y = spanned(net.other(functional.conv2d(x, weight["second"])))
        x = spanned(functional.hardswish(functional.relu(y + x)).mean((2, 3)))
        expected = spanned(functional.linear(x, weight["last"], net.last.bias))
    np.testing.assert_allclose(actual.detach(), expected, atol=1e-5)
    assert not np.allclose(actual.detach(), net(image).detach(), atol=1e-4)


def test_ends_follow_the_batches_of_a_training_only(net: Net, image: torch.Tensor) -> None:
    faked = FakeQuantization(net, "net", [image])
    ends = faked.ends["first.weight.input"]
    for factor in (1, 3):
        with faked:
            net(image * factor)
    least, greatest = float(image.min()), float(image.max())
    assert ends.tolist() == pytest.approx([least * (1 + 2 * FOLLOWING), greatest * (1 + 2 * FOLLOWING)])
    with faked, torch.no_grad():
        net(image * 100)
    assert ends.tolist() == pytest.approx([least * (1 + 2 * FOLLOWING), greatest * (1 + 2 * FOLLOWING)])


def test_frozen_statistics_are_used_and_not_changed(net: Net, image: torch.Tensor) -> None:
    before = {name: value.clone() for name, value in net.named_buffers()}
    freeze_statistics(net.train())
    net(image * 9).sum().backward()
    assert all(value.equal(before[name]) for name, value in net.named_buffers())
    assert net.norm.weight.grad is not None


def test_nothing_is_left_on_a_model(net: Net, image: torch.Tensor) -> None:
    keys, attributes = list(net.state_dict()), {name: set(vars(module)) for name, module in net.named_modules()}
    expected = net.eval()(image)
    faked = FakeQuantization(net, "net", [image])
    with faked:
        net(image).sum().backward()
    assert list(net.state_dict()) == keys
    assert {name: set(vars(module)) for name, module in net.named_modules()} == attributes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert net(image).equal(expected)


def test_rounded_weights_are_a_copy_on_the_steps_of_integers_after_folding_too(net: Net, image: torch.Tensor) -> None:
    faked = FakeQuantization(net, "net", [image])
    before = net.first.weight.detach().clone()
    plain = faked.rounded(net)
    assert not plain.first.weight.equal(before)
    assert net.first.weight.equal(before)
    assert isinstance(plain, Net)
    assert plain.norm.running_var is not None
    folded = plain.first.weight.detach() * (
        plain.norm.weight.detach() / (plain.norm.running_var + 1e-5).sqrt()
    ).reshape(-1, 1, 1, 1)
    steps = folded.abs().amax((1, 2, 3), keepdim=True) / 127
    assert float((folded / steps - (folded / steps).round()).abs().max()) < 1e-4
    assert float((before / steps - (before / steps).round()).abs().max()) > 0.1


def test_weights_given_by_name_are_on_steps_too(net: Net) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = nn.Parameter(torch.randn(2, 3, generator=torch.Generator().manual_seed(0)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.linear(x, weight=self.own)

    named = Named()
    faked = FakeQuantization(named, "named", [torch.eye(3)])
    with faked:
        actual = named(torch.eye(3))
    np.testing.assert_allclose(actual.detach().T, weight_on_steps(named.own.detach().numpy()), atol=0.02)


@pytest.fixture
def aware(small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A module of a user's own, of two convolutions with batch normalisation, that is trained for three epochs."""
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return small.with_values("model", name="nets:Tiny").with_values("train", quantize_aware=True)


@pytest.mark.parametrize(
    ("epochs", "share", "first"), [(12, 0.4, 7), (5, 0.4, 3), (1, 0.4, 0), (3, 1.0, 0), (9, 0.01, 8)]
)
def test_one_epoch_at_least_is_quantized(small: Config, epochs: int, share: float, first: int) -> None:
    values = small.with_values("train", epochs=epochs, quantize_aware_share=share)
    assert quantized_from(values.train) == first


def test_a_training_ends_in_an_ordinary_checkpoint(aware: Config, tmp_path: Path) -> None:
    plain = train(aware.with_values("train", quantize_aware=False), tmp_path / "plain", None, QUIET)
    saved = train(aware, tmp_path / "aware", None, QUIET)
    assert saved.finished
    assert weights(saved) != weights(plain)
    assert saved.arrays(WEIGHTS).keys() == plain.arrays(WEIGHTS).keys()
    programs = [[f"{node.op} {node.target}" for node in one.program().graph.nodes] for one in (saved, plain)]
    assert programs[0] == programs[1]
    assert saved.program().state_dict.keys() == plain.program().state_dict.keys()
    golden = saved.golden()
    with torch.no_grad():
        actual = saved.model().eval()(torch.from_numpy(golden.inputs["image"]))
    np.testing.assert_allclose(actual, golden.outputs["logits"], atol=1e-5)


def statistics(saved: Checkpoint) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in saved.arrays(WEIGHTS).items() if "running" in name}


def test_weights_are_on_steps_and_statistics_are_kept(
    aware: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an average, a checkpoint's statistics are those of its last step."""
    asked = aware.with_values("train", ema=0.0)
    with monkeypatch.context() as patched:
        interrupt_at(patched, quantized_from(asked.train), 0)
        with pytest.raises(Interrupted):
            train(asked, tmp_path / "run", None, QUIET)
    cut = Checkpoint.open(tmp_path / "run" / "checkpoint")
    before, state = statistics(cut), cut.arrays(TRAINING)
    arrays = (finished := train(asked, tmp_path / "run", cut, QUIET)).arrays(WEIGHTS)
    layers = [name for name, values in arrays.items() if name.endswith("weight") and values.ndim > 1]
    assert len(layers) == 3
    for name in layers:
        np.testing.assert_allclose(arrays[name], weight_on_steps(arrays[name]), rtol=1e-5)
        trained = state[f"model.{name}"]  # which small steps of the optimizer still move
        assert not np.allclose(trained, weight_on_steps(trained), rtol=1e-5)
    assert before and statistics(finished) == before


def test_a_training_from_random_weights_finds_its_statistics_first(aware: Config, tmp_path: Path) -> None:
    found = statistics(train(aware.with_values("train", epochs=1), tmp_path / "run", None, QUIET))
    assert all(set(values) != {0.0} and set(values) != {1.0} for values in found.values())


@pytest.mark.parametrize("step", [(1, 3), (2, 1)])
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(
    aware: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[int, int]
) -> None:
    """Before the quantized epochs, and in the midst of them."""
    assert quantized_from(aware.train) == 2
    whole = train(aware, tmp_path / "whole", None, QUIET)
    with monkeypatch.context() as patched:
        interrupt_at(patched, *step)
        with pytest.raises(Interrupted):
            train(aware, tmp_path / "cut", None, QUIET)
    resumed = train(aware, tmp_path / "cut", Checkpoint.open(tmp_path / "cut" / "checkpoint"), QUIET)
    assert weights(resumed) == weights(whole)


def test_a_state_without_ends_is_another_trainings(
    aware: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(monkeypatch, 0, 1)
    with pytest.raises(Interrupted):
        train(aware.with_values("train", quantize_aware=False), tmp_path / "cut", None, QUIET)
    with pytest.raises(BadInput, match="is not of this training"):
        train(aware, tmp_path / "cut", Checkpoint.open(tmp_path / "cut" / "checkpoint"), QUIET)


def test_a_network_without_a_layer_is_refused(aware: Config, tmp_path: Path) -> None:
    asked = aware.with_values("model", name="nets:Layerless")
    with pytest.raises(BadInput, match=r"nets:Layerless: has no convolution.*Train it without --quantize-aware"):
        train(asked, tmp_path / "run", None, QUIET)


def test_the_option_sets_the_key(
    command: Callable[..., Said], images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command(
        "train", "--folder", str(images), "--model", "simple_cnn", "--image-size", "28", "--epochs", "1",
        "--run", "aware", "--quantize-aware", "--set", "data.golden=8", "--set", "data.calibration=8",
    )  # fmt: skip
    assert said.status == 0, said.err
    config = (tmp_path / "runs" / "aware" / "checkpoint" / "config.toml").read_text(encoding="utf-8")
    assert "quantize_aware = true" in config
