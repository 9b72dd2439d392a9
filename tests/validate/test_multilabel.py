"""A model of several labels is trained for seconds and goes to ONNX and TFLite; what is wrong with outputs is seen."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import anywhere
from export.run import Run
from measures import tasks
from pipeline import config as configs
from pipeline.checkpoint import Checkpoint
from pipeline.train import settle, train
from records.errors import BadInput
from records.golden import Actual
from records.tensor import Array
from tests.pipeline.test_multilabel import SIDE, SIGNS, signs, values
from validate import parity
from validate.judge.judge import result_of
from validate.measure import Options
from validate.plan import Row
from validate.report.records import Result
from validate.runtimes import runner
from validate.runtimes.job import Latency, Measured
from validate.settings import ValidateConfig

pytestmark = pytest.mark.nightly
ROWS = ("onnx/float32 in onnxruntime", "onnx/int8 in onnxruntime", "tflite/float32 in litert xnnpack",
        "tflite/int8 in litert xnnpack")  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`runs/signs`, trained on pictures of four signs and exported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("signs"))
        changes = {
            "model.name": "simple_cnn", "train.epochs": 16, "data.golden": 96, "data.calibration": 64,
            "train.learning_rate": 0.002, "train.weight_decay": 0.5,
        }  # fmt: skip
        asked = values(signs(Path("pictures"), 480).absolute(), **changes)
        folder = Path("runs/signs").absolute()
        checkpoint = train(settle(configs.read(None, asked)), folder, None, Console(quiet=True))
        outcomes = anywhere.Run("signs").export(
            to=["onnx", "saved_model", "tflite"], precision=["float32", "int8"], tell=lambda _: None
        )
        assert not [outcome for outcome in outcomes if outcome.status == "failed"], outcomes
        yield Run(folder, checkpoint)


def test_it_learns(trained: Run) -> None:
    assert trained.checkpoint.metrics["test_mAP"] > 0.9
    assert trained.checkpoint.metrics["test_F1"] > 0.8
    assert trained.checkpoint.labels == SIGNS
    assert trained.checkpoint.golden().truth["present"].shape == (96, 4)


def test_every_format_finds_the_same(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained.folder.parents[1])
    report = parity.check(Run.open("signs"), runner.find(), Options(1, timed=1), settings=ValidateConfig(only=ROWS))
    assert {result.name: result.reason for result in report.results if result.status != "pass"} == {}
    assert len(report.results) == len(ROWS)
    for result in report.results:
        assert result.agreement and result.metric
        assert (result.metric.name, result.agreement.share) == ("mAP", 1)


def judged(run: Run, name: str, change: Any) -> Result:
    """What is said of an artifact whose outputs for golden are PyTorch's, but for a change."""
    proof = dataclasses.replace(run.checkpoint.proof(), probes=None, patterns=None)
    logits = proof.golden.outputs["logits"]
    noise = np.random.default_rng(0).normal(0, 1, logits.shape) * (0.01 if name.endswith("int8") else 0)
    changed = {"logits": np.asarray(change(logits + noise), np.float32)}
    few = {"logits": changed["logits"][:2]}
    actual = Actual(changed, together=few, again=few, alone=few, last={"logits": changed["logits"][:1]})
    artifact = Run(run.folder, Checkpoint.open(run.folder / "checkpoint")).artifact(name)
    row = Row(artifact, artifact.target, artifact.precision, "test", "", "")
    return result_of(row, Measured("1", len(logits), Latency(1.0, 2.0, 3, 1, 1)), actual, proof)


def sigmoid(logits: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-logits)))


def lost(logits: Array) -> Array:
    return np.where(np.arange(4) == 2, -np.abs(logits), logits)


def faint(logits: Array) -> Array:
    """One class is found in half of its samples alone."""
    weaker = np.where(np.arange(len(logits))[:, None] % 2 == 0, -np.abs(logits), logits)
    return np.where(np.arange(4) == 2, weaker, logits)


CHANGES = {
    "one class is lost": lost,
    "one class is faint": faint,
    "classes have changed places": lambda logits: logits[:, [1, 0, 2, 3]],
    "classes are one off": lambda logits: np.roll(logits, 1, axis=1),
    "sigmoid is applied": sigmoid,
    "sigmoid is applied twice": lambda logits: sigmoid(sigmoid(logits)),
    "softmax is applied": lambda logits: np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True),
    "the sign is turned": lambda logits: -logits,
    "the threshold is elsewhere": lambda logits: logits - np.abs(logits).mean(),
    "samples have changed places": lambda logits: np.roll(logits, 1, axis=0),
}


@pytest.mark.parametrize("name", ["onnx/float32", "onnx/int8"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_wrong_with_labels_is_seen(trained: Run, name: str, change: str) -> None:
    result = judged(trained, name, CHANGES[change])
    assert result.status == "fail", result
    assert result.reason


@pytest.mark.parametrize("name", ["onnx/float32", "onnx/int8"])
def test_what_is_right_passes(trained: Run, name: str) -> None:
    result = judged(trained, name, lambda logits: logits)
    assert (result.status, result.reason) == ("pass", "")
    assert result.agreement
    assert result.agreement.share == 1


def test_a_lost_class_is_named(trained: Run) -> None:
    result = judged(trained, "onnx/float32", lost)
    assert any("class squares is never decided for" in flag for flag in result.flags)
    assert {(pair.golden, pair.actual) for pair in result.decisions if pair.golden != pair.actual} == {
        ("squares", "nothing")
    }


class Several(nn.Module):
    """A model of several labels that was trained elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 15 * 15, 4), nn.BatchNorm1d(4, affine=False)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.body(image - 0.47) * 20
        return logits


def test_a_model_of_several_labels_is_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    signs(tmp_path / "pictures", 32)
    (tmp_path / "pictures" / "signs.json").unlink()
    adopted: Any = {
        "images": tmp_path / "pictures", "size": (SIDE, SIDE), "golden": 16, "calibration": 8, "tell": lambda _: None
    }  # fmt: skip
    with pytest.raises(BadInput, match="4 classes, and there are 2 labels"):
        anywhere.adopt(Several().eval(), task="multilabel", labels=SIGNS[:2], run="bad", **adopted)
    run = anywhere.adopt(Several().eval(), task="multilabel", labels=SIGNS, run="several", **adopted)
    decided = tasks.load("multilabel").decide(run.checkpoint.golden().outputs)
    assert (run.checkpoint.task, decided.shape) == ("multilabel", (16, 4))
