"""Every torchvision classification model by name, the textbooks' CNN, and one's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from pipeline import config as configs
from pipeline import models
from pipeline.config import Config
from pipeline.rehearsal import rehearse
from pipeline.tasks import Batch
from pipeline.train import settle
from records.errors import BadInput


def config(name: str, **values: object) -> Config:
    return settle(configs.read(None, {"model.name": name, **{k.replace("__", "."): v for k, v in values.items()}}))


def on_cpu(function: Callable[..., object]) -> Callable[..., object]:
    def call(*args: object, **options: object) -> object:
        with torch.device("cpu"):
            return function(*args, **options)

    return call


def one_of_each_family() -> list[Any]:
    """Every model; but the first of a module of torchvision's, for `make test`."""
    met: set[str] = set()
    chosen = []
    for name in models.names():
        if name != "simple_cnn":
            family = torchvision.models.get_model_builder(name).__module__
            chosen.append(pytest.param(name, marks=[pytest.mark.slow] if family in met else []))
            met.add(family)
    return chosen


@pytest.mark.parametrize("name", one_of_each_family())
def test_every_torchvision_model_gets_a_head_for_the_labels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device: shapes are computed, nothing is allocated, so the largest takes no longer than the least."""
    params = torchvision.models.regnet.BlockParams
    monkeypatch.setattr(params, "from_init_params", on_cpu(params.from_init_params))  # it computes the widths
    size = 299 if name == "inception_v3" else 224
    with torch.device("meta"):
        model = models.build(config(name, data__image_size=size), classes=7, weights=False).eval()
        assert model(torch.zeros(2, 3, size, size)).shape == (2, 7)


@pytest.mark.parametrize("convolutions", [1, 2])
def test_simple_cnn_is_the_textbooks(convolutions: int) -> None:
    settled = config("simple_cnn", model__options={"convolutions": convolutions})
    model = models.build(settled, classes=10)
    assert settled.data.image_size == 28
    assert model(torch.rand(5, 3, 28, 28)).shape == (5, 10)
    assert [type(m).__name__ for m in model.model.children()] == ["Conv2d"] * convolutions + ["Linear"] * 2


def test_normalisation_is_inside_the_model() -> None:
    settled = config("simple_cnn", model__mean=[0.1, 0.2, 0.3], model__deviation=[0.5, 0.6, 0.7])
    model = models.build(settled, classes=3).eval()
    image = torch.rand(2, 3, 28, 28)
    by_hand = torchvision.transforms.v2.functional.normalize(image, [0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
    assert torch.allclose(model(image), model.model(by_hand), atol=1e-6)


def test_pretrained_weights_come_with_the_normalisation_they_were_trained_with() -> None:
    assert config("resnet18").model.mean == (0.5, 0.5, 0.5)
    pretrained = config("resnet18", model__pretrained=True).model
    assert (pretrained.mean, pretrained.deviation) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert config("resnet18", model__pretrained=True, model__mean=[0.1, 0.2, 0.3]).model.mean == (0.1, 0.2, 0.3)
    with torch.device("meta"):
        inner = models.build(config("googlenet", model__pretrained=True), classes=3, weights=False).model
    assert inner.transform_input is True


def test_batch_norm_forgets_fast_enough_for_a_short_run() -> None:
    model = models.build(config("mobilenet_v3_small"), classes=10)
    momenta = {module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)}
    assert momenta == {0.1}


@pytest.mark.parametrize(("name", "size"), [("vit_b_32", 64), ("maxvit_t", 448)])
def test_models_with_a_fixed_input_are_told_its_size(name: str, size: int) -> None:
    with torch.device("meta"):
        model = models.build(config(name, data__image_size=size), classes=3, weights=False).eval()
        assert model(torch.zeros(2, 3, size, size)).shape == (2, 3)


def test_a_model_of_ones_own_is_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_models.py").write_text(
        "from torch import nn\n"
        "def tiny(num_classes, width=4):\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), "
        "nn.Linear(width, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    model = models.build(config("my_models:tiny", model__options={"width": 6}), classes=3)
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    with pytest.raises(BadInput, match="no_such"):
        models.build(config("my_models:no_such"), classes=3)


def test_pretrained_weights_fill_all_but_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    source = torchvision.models.get_model("resnet18", weights=None)
    get_model = torchvision.models.get_model
    monkeypatch.setattr(
        torchvision.models, "get_model", lambda name, weights, **o: source if weights else get_model(name, **o)
    )
    model = models.build(config("resnet18", model__pretrained=True), classes=10).model
    assert torch.equal(model.get_parameter("layer4.1.conv2.weight"), source.layer4[1].conv2.weight)
    assert model.get_parameter("fc.weight").shape == (10, 512)


def test_pretrained_weights_that_cannot_be_had_are_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(BadInput, match=r"resnet18: its pretrained weights could not be downloaded .*Connect"):
        models.build(config("resnet18", model__pretrained=True), classes=10)
    for name in ("simple_cnn", "my_models:tiny"):
        with pytest.raises(BadInput, match="no pretrained weights"):
            config(name, model__pretrained=True)


def test_a_model_that_cannot_take_the_size_is_refused() -> None:
    settled = config("inception_v3", data__image_size=40)
    batch = Batch({"image": torch.rand(2, 3, 40, 40)}, {"labels": torch.tensor([0, 2])})
    with pytest.raises(BadInput, match="cannot take images of 40×40"):
        rehearse(models.build(settled, classes=3), settled, batch, ("a", "b", "c"))


@pytest.mark.parametrize("name", ["simple_cnn", "mobilenet_v3_small", "swin_t"])
def test_images_may_be_rectangular(name: str) -> None:
    size = (64, 96)
    settled = config(name, data__image_size=list(size))
    with torch.no_grad():
        assert models.build(settled, classes=3, weights=False).eval()(torch.rand(1, 3, *size)).shape == (1, 3)


def test_a_model_for_square_images_says_so() -> None:
    with pytest.raises(BadInput, match=r"vit_b_16: takes square images only, not 64×96. Set another data.image_size"):
        models.build(config("vit_b_16", data__image_size=[64, 96]), classes=3, weights=False)


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(BadInput, match=r"unknown model 'resnet81'. Nearest: resnet18"):
        models.build(config("resnet81"), classes=3)
    with pytest.raises(BadInput, match="unexpected keyword argument 'dropuot'"):
        models.build(config("resnet18", model__options={"dropuot": 1}), classes=3)
    with pytest.raises(BadInput, match="1 or 2 are allowed"):
        models.build(config("simple_cnn", model__options={"convolutions": 3}), classes=3)


@pytest.mark.parametrize(
    "name",
    ["mnasnet0_5", pytest.param("densenet121", marks=pytest.mark.slow), "googlenet", "squeezenet1_1", "simple_cnn"],
)
def test_weights_are_filled_in_by_name(name: str) -> None:
    """MNASNet's state_dict has a version, DenseNet's old names, GoogLeNet's further heads."""
    settled = config(name)
    model, other = models.build(settled, classes=3), models.build(settled, classes=3)
    models.fill(other, dict(model.state_dict()))
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())
    with pytest.raises(BadInput, match="only in the file or only in the model"):
        models.fill(other, {"odd": torch.zeros(1), **model.state_dict()})
