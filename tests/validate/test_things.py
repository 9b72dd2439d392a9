"""A detector and a segmentation model go from torchvision's weights to every format, and what is found is compared."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from PIL import Image
from torch import nn

import anywhere
from export.run import Run
from measures import tasks
from pipeline.checkpoint import Checkpoint
from pipeline.config import DataConfig
from pipeline.datasets import scenes
from pipeline.datasets.scenes import Scenes
from records.golden import Actual
from records.tensor import Array
from tests.conftest import Said
from tests.pipeline.test_detectors import made
from validate import parity
from validate.judge.judge import result_of
from validate.measure import Options
from validate.plan import Row
from validate.report.records import Result
from validate.runtimes import runner
from validate.runtimes.job import Latency, Measured
from validate.settings import ValidateConfig

pytestmark = pytest.mark.slow
SIDE = 128
ROWS = ("onnx/float32 in onnxruntime", "saved_model/float32 in tensorflow plain", "tflite/float32 in litert xnnpack",
        "tfjs/float32 in node wasm", "torchscript/float32 in torch")  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty scenes as files."""
    folder = tmp_path_factory.mktemp("pictures")
    split = scenes.read(DataConfig("scenes", image_size=SIDE), "detection").test
    assert isinstance(split, Scenes)
    for number in range(30):
        Image.fromarray(split.scene(number).picture).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def detected(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of an SSDLite with random weights, which finds something everywhere, exported in float32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("detected"))
        model: Any = made("ssdlite320_mobilenet_v3_large")
        model.score_thresh, model.detections_per_img, model.topk_candidates = 0.1, 20, 100
        run = anywhere.adopt(
            model, images=pictures, task="detection", size=(SIDE, SIDE), labels=("a", "b", "c"), run="det",
            golden=20, calibration=8, tell=lambda _: None,
        )  # fmt: skip
        outcomes = run.export(to=["onnx", "torchscript", "saved_model", "tflite", "tfjs"], precision=["float32"])
        assert not [outcome for outcome in outcomes if outcome.status == "failed"], outcomes
        folder = run.folder.absolute()
        return Run(folder, Checkpoint.open(folder / "checkpoint"))


@pytest.mark.nightly
def test_halves_decide_by_constants_of_float32(detected: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of float16 throughout, TFLite's file suppressed nothing: of 4,736 boxes 2,768 were others."""
    monkeypatch.chdir(detected.folder.parents[1])
    outcomes = anywhere.Run("det").export(to=["tflite"], precision=["float16"])
    assert not [outcome.reason for outcome in outcomes if outcome.status == "failed"]
    only = ["tflite/float16 in litert builtin"]
    report = parity.check(Run.open("det"), runner.find(), Options(1, timed=1), settings=ValidateConfig(only=only))
    (result,) = report.results
    assert result.agreement and result.agreement.share > 0.95
    assert max(output.sqnr_db or 0 for output in result.outputs if output.name == "boxes") > 40


def test_every_format_finds_the_same(detected: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(detected.folder.parents[1])
    assert detected.checkpoint.golden().rivals["boxes"].shape == (16, 20, 4, 4)
    report = parity.check(Run.open("det"), runner.find(), Options(1, timed=1), settings=ValidateConfig(only=ROWS))
    assert {result.name: result.reason for result in report.results if result.status != "pass"} == {}
    assert len(report.results) == len(ROWS)
    for result in report.results:
        assert result.agreement and result.agreement.share == 1
        worst = {output.name: output.max_absolute for output in result.outputs}
        assert (worst["boxes"] or 0) < 0.01
        assert (worst["scores"] or 0) < 1e-4


def test_what_is_found_is_said_and_drawn(
    detected: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    monkeypatch.chdir(detected.folder.parents[1])
    picture = pictures / "05.png"
    said: Said = command("predict", "onnx/float32", str(picture), "--run", "det")
    assert said.status == 0, said.err
    drawn = np.asarray(Image.open(detected.folder / "predicted" / "05.png"))
    assert drawn.shape == (SIDE, SIDE, 3)
    assert (drawn != np.asarray(Image.open(picture))).any()


def judged(run: Run, change: Any) -> Result:
    """What is said of an artifact in ONNX whose outputs for golden are PyTorch's, but for a change."""
    proof = dataclasses.replace(run.checkpoint.proof(), probes=None, patterns=None)
    outputs = {name: values.copy() for name, values in proof.golden.outputs.items()}
    change(outputs)
    count = len(outputs["count"])
    few = {name: values[:2] for name, values in outputs.items()}
    first = {name: values[:1] for name, values in outputs.items()}
    actual = Actual(outputs, together=few, again=few, alone=few, last=first)
    row = Row(run.artifact("onnx/float32"), "onnx", "float32", "test", "", "")
    return result_of(row, Measured("1", count, Latency(1.0, 2.0, 3, 1, 1)), actual, proof)


def xywh(outputs: dict[str, Array]) -> None:
    outputs["boxes"][..., 2:] -= outputs["boxes"][..., :2]


def swapped(outputs: dict[str, Array]) -> None:
    outputs["boxes"] = outputs["boxes"][..., [1, 0, 3, 2]]


def normalised(outputs: dict[str, Array]) -> None:
    outputs["boxes"] /= SIDE


def shifted_labels(outputs: dict[str, Array]) -> None:
    outputs["labels"] += 1


def one_more(outputs: dict[str, Array]) -> None:
    outputs["count"][3] += 1


def one_less(outputs: dict[str, Array]) -> None:
    outputs["count"][3] -= 1


def half_a_pixel(outputs: dict[str, Array]) -> None:
    outputs["boxes"] += 0.5 * (outputs["scores"] > 0)[..., None]


def cut_at_five(outputs: dict[str, Array]) -> None:
    for name in ("boxes", "scores", "labels"):
        outputs[name][:, 5:] = 0
    outputs["count"] = np.minimum(outputs["count"], 5)


def higher_threshold(outputs: dict[str, Array]) -> None:
    kept = outputs["scores"] >= np.quantile(outputs["scores"][outputs["scores"] > 0], 0.2)
    for name in ("boxes", "scores", "labels"):
        outputs[name] = outputs[name] * (kept[..., None] if name == "boxes" else kept)
    outputs["count"] = kept.sum(axis=1).astype(np.int32)


def doubled(outputs: dict[str, Array]) -> None:
    for name in ("boxes", "scores", "labels"):
        outputs[name][:, 1::2] = outputs[name][:, ::2]


CHANGES = (
    xywh,
    swapped,
    normalised,
    shifted_labels,
    one_more,
    one_less,
    half_a_pixel,
    cut_at_five,
    higher_threshold,
    doubled,
)


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_wrong_with_boxes_is_seen(detected: Run, change: Any) -> None:
    result = judged(detected, change)
    assert result.status == "fail", result
    assert result.reason


def test_boxes_in_another_order_are_right(detected: Run) -> None:
    def turned(outputs: dict[str, Array]) -> None:
        for index, count in enumerate(outputs["count"]):
            for name in ("boxes", "scores", "labels"):
                outputs[name][index, :count] = outputs[name][index, :count][::-1].copy()

    assert judged(detected, turned).status == "pass"


@pytest.mark.nightly
def test_a_segmentation_model_is_adopted_and_every_pixel_is_compared(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=4
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    run = anywhere.adopt(
        model.eval(), images=pictures, task="segmentation", size=(64, 64), labels=tuple("abcd"), run="seg",
        golden=16, calibration=8, tell=lambda _: None,
    )  # fmt: skip
    run.export(to=["onnx"], precision=["float32"], tell=lambda _: None)
    settings = ValidateConfig(only=("onnx/float32 in onnxruntime",))
    (result,) = parity.check(Run.open("seg"), runner.find(), Options(1, timed=1), settings=settings).results
    assert (result.status, result.reason) == ("pass", "")
    assert tasks.load("segmentation").decide(run.checkpoint.golden().outputs).shape == (16, 64, 64)
