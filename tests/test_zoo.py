"""The zoo of `make zoo`: its list, its own modules, the signal of random weights, and its table."""

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from benchmarks.zoo import modules
from benchmarks.zoo.checkpoints import bear_signal, configuration
from benchmarks.zoo.measure import measure, reasons, unwanted
from benchmarks.zoo.networks import NETWORKS, Network, named
from benchmarks.zoo.row import RUNTIMES, Row, judged, read, write
from benchmarks.zoo.table import render, status
from pipeline import models
from pipeline.models import Normalised
from validate.runtimes import runner

OWN = [network for network in NETWORKS if network.source == "own"]
GREEN = Row(
    name="resnet18",
    source="torchvision",
    size=64,
    parameters=11_181_642,
    floor_db=101.4,
    way="importer",
    seconds={"onnx": 9.24, "saved_model": 6.5, "tflite": 3.1, "tfjs": 2.0},
    transposes=1,
    sqnr_db=dict.fromkeys(RUNTIMES, 120.26) | {"tfjs in node wasm": 300.0},
    versions={"torch": "2.9.0", "tfjs in node wasm": "tfjs 4.22.0"},
)
TEN = (
    "EinsumAttention", "ShiftedWindows", "LstmRows", "GroupNormMish", "Interpolations",
    "tinynet_e", "mobilenetv4_conv_small", "deit_tiny_patch16_224", "squeezenet1_1", "mobilenet_v2",
)  # fmt: skip
"""Of every kind: attention, windows, recurrence, normalisation, resizing; and the small ones that apps use."""
SOME = {name: 120.0 for name in RUNTIMES if not name.startswith("tflite")}


def built(network: Network) -> Normalised:
    torch.manual_seed(0)
    return models.build(configuration(network), classes=10).eval()


def test_every_network_has_a_name_of_its_own_and_there_are_enough() -> None:
    names = [network.name for network in NETWORKS]
    assert len(set(names)) == len(names) >= 42
    assert len(OWN) >= 14
    assert sum(network.source == "timm" for network in NETWORKS) >= 10


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_the_pipeline_finds_every_network_by_its_name(network: Network) -> None:
    assert configuration(network).model.name == network.model
    if network.source == "timm":
        assert timm.is_model(network.model.partition(":")[2])
    if network.source == "own":
        assert issubclass(getattr(modules, network.model.partition(":")[2]), nn.Module)


@pytest.mark.parametrize("network", OWN, ids=lambda network: network.name)
def test_a_module_of_our_own_gives_each_image_its_logits_whatever_the_batch(network: Network) -> None:
    model, images = built(network), torch.rand(3, 3, network.size, network.size)
    with torch.no_grad():
        logits, alone = model(images), model(images[1:2])
    assert logits.shape == (3, 10)
    torch.testing.assert_close(alone, logits[1:2], rtol=1e-4, atol=1e-5)
    assert not torch.equal(logits[0], logits[1])


def test_a_head_of_zeros_and_statistics_of_nothing_get_a_signal() -> None:
    """As torchvision's vision transformers and timm's last normalisation of a branch start."""
    inner = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 10))
    nn.init.zeros_(inner[1].weight)
    nn.init.zeros_(inner[3].weight)
    model = Normalised(inner, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    images = torch.rand(64, 3, 8, 8)
    bear_signal(model, images, classes=10)
    with torch.no_grad():
        logits = model(images)
    assert float(logits.std(dim=0).mean()) == pytest.approx(1, rel=0.01)
    assert float(logits.mean(dim=0).abs().max()) < 0.01
    assert float(inner[1].running_mean.abs().max()) > 0


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(KeyError, match="resnet19"):
        named("resnet18,resnet19")


def test_the_table_states_numbers_status_and_versions() -> None:
    red = Row("GruRows", "own", 64, problems=("saved_model: no | way\nthrough", "tflite: x"))
    page = render([GREEN, red], known=5)
    assert "**1 of 2 green**; 3 not run" in page
    numbers = "64 | importer | 9.2 | 6.5 | 3.1 | 2.0 | 1 | 101 | 120 | 120 | 120 | 120 | 120 | equal | green |"
    assert f"| resnet18 | torchvision | 11.18 M | {numbers}" in page
    assert r"| saved_model: no \| way through (and 1 more) |" in page
    assert "Versions: torch 2.9.0; TF.js wasm tfjs 4.22.0." in page
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1


def test_a_row_with_anything_missing_is_not_green(tmp_path: Path) -> None:
    write(GREEN, tmp_path / "row.json")
    again = read(tmp_path / "row.json")
    assert again == GREEN
    assert judged(again).green
    without = Row(**{**GREEN.__dict__, "sqnr_db": {**GREEN.sqnr_db, "tflite in litert builtin": None}})
    assert judged(without).problems == ("tflite in litert builtin: was not compared",)
    unmade = Row(**{**GREEN.__dict__, "seconds": {"onnx": 9.24, "saved_model": 6.5, "tfjs": 2.0}, "sqnr_db": SOME})
    assert judged(unmade).problems == ("tflite: was not made",)
    by_image = Row(**{**GREEN.__dict__, "way": "one_by_one"})
    assert status(judged(by_image)) == "saved_model: a batch is computed image by image"


@pytest.mark.slow
def test_a_network_that_cannot_be_made_is_a_row_that_says_why(tmp_path: Path) -> None:
    row = measure(Network("resnet19", "resnet19"), tmp_path)
    assert row.problems[0].startswith("checkpoint: ") and "resnet19" in row.problems[0]


@pytest.mark.nightly
@pytest.mark.parametrize("network", named(",".join(TEN)), ids=lambda network: network.name)
def test_a_network_that_nobody_tuned_for_is_green(network: Network, tmp_path: Path) -> None:
    """`make zoo` does it with all of them."""
    row = judged(measure(network, tmp_path))
    assert row.green, row.problems


def test_why_a_target_is_missing_is_read_from_what_export_prints() -> None:
    printed = "tflite/float32: a note\nsaved_model/float32: no way: RuntimeError Log: runs/x/logs/a.log\n"
    assert reasons(printed, ["saved_model", "tfjs"]) == ("saved_model: no way: RuntimeError",)


def test_validate_runs_the_rows_of_the_table_and_leaves_out_all_others() -> None:
    """So that a runtime that is renamed does not fall out of the table unseen."""
    places = [(one.target, f"{one.runtime} {backend}".rstrip()) for one in runner.find() for backend in one.backends]
    assert {f"{target} in {place}" for target, place in places} >= set(RUNTIMES)
    left_out = {f"{target}/* in {place}" for target, place in places if f"{target} in {place}" not in RUNTIMES}
    assert set(unwanted()) == left_out
