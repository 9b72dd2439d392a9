"""Weights are all loaded or refused; what was taken off their names is said, and no pickle runs unless asked for."""

import argparse
import collections
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as numpy_file
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from pipeline.golden import to_numpy
from pipeline.weights import Loaded, load, read
from records.errors import BadInput


class Net(nn.Module):
    """Has parameters, statistics and a counter."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.fc = nn.Linear(4, classes)


class Tied(nn.Module):
    """Two names for one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.head.weight = self.embedding.weight


@pytest.fixture
def trained() -> Net:
    torch.manual_seed(1)
    return Net()


@pytest.fixture
def model() -> Net:
    torch.manual_seed(2)
    return Net()


def prefixed(model: nn.Module, prefix: str) -> dict[str, Any]:
    return {prefix + name: value for name, value in model.state_dict().items()}


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


FILES: dict[str, tuple[Callable[[Net], Any], str, str]] = {
    "plain": (lambda net: net.state_dict(), "", ""),
    "ddp": (lambda net: prefixed(net, "module."), "", "module."),
    "compiled": (lambda net: prefixed(net, "_orig_mod."), "", "_orig_mod."),
    "ddp of compiled": (lambda net: prefixed(net, "module._orig_mod."), "", "module._orig_mod."),
    "lightning": (lambda net: {"epoch": 9, "state_dict": prefixed(net, "model.")}, "state_dict", "model."),
    "with its optimizer": (lambda net: {"model": net.state_dict(), "optimizer": {"lr": 0.1}}, "model", ""),
    "average": (lambda net: AveragedModel(net).state_dict(), "", "module."),
}


@pytest.mark.parametrize("kind", FILES)
def test_weights_are_loaded_and_what_was_taken_off_is_said(tmp_path: Path, trained: Net, model: Net, kind: str) -> None:
    content, entry, removed = FILES[kind][0](trained), *FILES[kind][1:]
    torch.save(content, tmp_path / "my.pt")
    loaded = load(model, tmp_path / "my.pt")
    assert same(model, trained)
    assert (loaded.tensors, loaded.of, loaded.entry, loaded.removed) == (9, 9, entry, removed)
    assert f"{removed!r} was taken off" in loaded.told or not removed
    assert not loaded.trusted


def test_safetensors_are_read(tmp_path: Path, trained: Net, model: Net) -> None:
    state = trained.state_dict().items()
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state}
    save_file(halves, tmp_path / "my.safetensors")
    loaded = load(model, tmp_path / "my.safetensors")
    assert torch.allclose(model.fc.weight, trained.fc.weight, atol=1e-3)
    assert "stored as float16" in loaded.told


def test_what_was_trained_beside_the_model_is_left_out_and_said(tmp_path: Path, trained: Net, model: Net) -> None:
    values = prefixed(trained, "model.") | {"loss.weight": torch.ones(3)}
    torch.save({"state_dict": values}, tmp_path / "my.ckpt")
    loaded = load(model, tmp_path / "my.ckpt")
    assert loaded.left_out == ("loss.weight",)
    assert "1 other keys were left out (loss.weight)" in loaded.told


def test_a_part_that_was_compiled_alone_is_found(tmp_path: Path, trained: Net, model: Net) -> None:
    values = {name.replace("features.", "features._orig_mod."): value for name, value in trained.state_dict().items()}
    torch.save(values, tmp_path / "my.pt")
    load(model, tmp_path / "my.pt")
    assert same(model, trained)


def test_tied_weights_may_be_there_once(tmp_path: Path) -> None:
    values = {"embedding.weight": torch.arange(20.0).reshape(5, 4)}
    save_file(values, tmp_path / "my.safetensors")
    tied = Tied()
    load(tied, tmp_path / "my.safetensors")
    assert torch.equal(tied.head.weight, values["embedding.weight"])


def test_of_two_sets_that_fit_one_has_to_be_named(tmp_path: Path, trained: Net, model: Net) -> None:
    content = {"model": trained.state_dict(), "model_ema": Net().state_dict()}
    torch.save(content, tmp_path / "my.pt")
    with pytest.raises(BadInput, match=r"model, model_ema all fit this model\. Say which: --entry model"):
        load(model, tmp_path / "my.pt")
    assert load(model, tmp_path / "my.pt", entry="model_ema").entry == "model_ema"
    assert torch.equal(model.fc.weight, content["model_ema"]["fc.weight"])


WRONG: dict[str, tuple[Callable[[Net], Any], str]] = {
    "no common key": (
        lambda net: {"a.weight": torch.ones(2), "b": torch.ones(1)},
        "none of its 2 keys is the model's: it has a.weight, b, the model features.0.weight",
    ),
    "another head": (
        lambda net: Net(37).state_dict(),
        r"2 tensors have another shape \(fc.weight \(37, 4\) for \(3, 4\), fc.bias .* --option num_classes=N",
    ),
    "a missing key": (
        lambda net: {name: value for name, value in net.state_dict().items() if name != "fc.bias"},
        r"8 of 9 tensors fit; 1 of the model are not in the file \(fc.bias\)",
    ),
    "an unexpected key": (
        lambda net: {**net.state_dict(), "aux.weight": torch.ones(2)},
        r'1 of the file are not in the model \(aux.weight\).* --ignore "aux\*"',
    ),
    "no tensors": (lambda net: {"epoch": 3, "best": 0.5}, "no tensors by name, but a dict of epoch, best"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_loaded(
    tmp_path: Path, trained: Net, model: Net, kind: str
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save(WRONG[kind][0](trained), tmp_path / "my.pt")
    with pytest.raises(BadInput, match=WRONG[kind][1]):
        load(model, tmp_path / "my.pt")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_not_needed_can_be_ignored(tmp_path: Path, trained: Net, model: Net) -> None:
    torch.save({**trained.state_dict(), "aux.weight": torch.ones(2)}, tmp_path / "my.pt")
    loaded = load(model, tmp_path / "my.pt", ignore=["aux*"])
    assert loaded.left_out == ("aux.weight",)


def test_a_pickled_module_is_refused_until_it_is_trusted(tmp_path: Path, trained: Net, model: Net) -> None:
    torch.save(trained, tmp_path / "my.pt")
    with pytest.raises(BadInput, match=r"a pickle that holds .*Net, not only tensors.* add --trust"):
        load(model, tmp_path / "my.pt")
    loaded: Loaded = load(model, tmp_path / "my.pt", trust=True)
    assert loaded.trusted
    assert "PICKLE" in loaded.told
    assert same(model, trained)


BROKEN = {
    b"": "it is empty",
    b"version https://git-lfs.github.com/spec/v1\n": "pointer of Git LFS",
    b"<!DOCTYPE html><html>": "a web page",
    b"\x89HDF\r\n": "HDF5",
    b"PK\x03\x04 and no more": "truncated, or no file of PyTorch's",
}


@pytest.mark.parametrize("content", BROKEN)
def test_a_file_that_is_no_weights_says_what_it_is(tmp_path: Path, model: Net, content: bytes) -> None:
    (tmp_path / "my.pt").write_bytes(content)
    with pytest.raises(BadInput, match=BROKEN[content]):
        load(model, tmp_path / "my.pt")


def test_truncated_safetensors_are_one_sentence(tmp_path: Path, trained: Net, model: Net) -> None:
    save_file(trained.state_dict(), tmp_path / "my.safetensors")
    content = (tmp_path / "my.safetensors").read_bytes()
    (tmp_path / "my.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match="truncated or no safetensors"):
        load(model, tmp_path / "my.safetensors")


def test_torchscript_is_no_weights(tmp_path: Path, model: Net) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.*deprecated", FutureWarning)
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(tmp_path / "my.pt"))
    with pytest.raises(BadInput, match="it is TorchScript, a program with its weights"):
        load(model, tmp_path / "my.pt")


def test_what_stands_beside_weights_and_does_nothing_is_read_without_trust(
    tmp_path: Path, trained: Net, model: Net
) -> None:
    beside = {
        "args": argparse.Namespace(lr=0.1, out=Path("/somewhere")),
        "settings": types.SimpleNamespace(depth=3),
        "best": np.float64(0.93),
        "epoch": np.int64(7),
        "counts": collections.OrderedDict(a=1),
    }
    torch.save({"state_dict": trained.state_dict(), **beside}, tmp_path / "my.pt")
    loaded = load(model, tmp_path / "my.pt")
    assert same(model, trained)
    assert not loaded.trusted


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("{", "was truncated or altered"),
        ("[]", "is malformed"),
        ('{"weight_map": {"x": 1}}', "weight_map.x"),
        ('{"weight_map": {"x": "../other.safetensors"}}', "which lies elsewhere"),
    ],
)
def test_an_index_that_is_none_is_one_sentence(tmp_path: Path, index: str, said: str) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(BadInput, match=said):
        read(tmp_path, trust=False)
    (tmp_path / "model.safetensors.index.json").unlink()
    (tmp_path / "a.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BadInput, match="truncated or no safetensors"):
        read(tmp_path, trust=False)


def test_a_checkpoints_own_weights_are_read(tmp_path: Path, trained: Net, model: Net) -> None:
    """BatchNorm's counter is a number, and stays one."""
    trained.features(torch.rand(2, 3, 8, 8))
    numpy_file(to_numpy(trained.state_dict()), tmp_path / "weights.safetensors")
    load(model, tmp_path / "weights.safetensors")
    assert same(model, trained)
