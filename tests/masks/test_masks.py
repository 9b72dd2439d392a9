"""A task and a data set that are not in the house move in by a file in each folder, and nothing else is touched.

Masks of ink on rectangular pictures: outputs are (N, C, H, W), a decision is made for every pixel.
"""

import dataclasses
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import measures.tasks
import pipeline.datasets
import pipeline.tasks
from export.artifact import Artifact
from export.quantize import repair
from export.run import Run
from export.targets import onnx as target
from measures.signal import weakness
from pipeline import config as configs
from pipeline.checkpoint import Checkpoint
from pipeline.train import settle, train
from records.golden import Actual
from records.tensor import Arrays
from validate.judge.judge import result_of
from validate.plan import Row
from validate.report import publish
from validate.report.page_decisions import confusion
from validate.report.records import Model, Report, Result
from validate.runtimes import runner
from validate.runtimes.job import Budget, Job, Latency, Measured

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
HEIGHT, WIDTH = 16, 24


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    """A network of masks, trained on the digits; the task is known only as long as this module runs."""
    with pytest.MonkeyPatch.context() as patch:
        for package, folder in (
            (measures.tasks, "measures"),
            (pipeline.tasks, "pipeline"),
            (pipeline.datasets, "datasets"),
        ):
            patch.setattr(package, "__path__", [*package.__path__, str(HERE / folder)])
        values = {
            "task": "masks", "data.dataset": "inked", "data.image_size": [HEIGHT, WIDTH], "data.golden": 32,
            "data.calibration": 16, "model.name": "inked:net", "train.epochs": 2, "train.learning_rate": 0.02,
        }  # fmt: skip
        folder = tmp_path_factory.mktemp("masks") / "runs" / "masks"
        yield train(settle(configs.read(None, values)), folder, None, Console(quiet=True))
    for name in ("measures.tasks.masks", "pipeline.tasks.masks", "pipeline.datasets.inked"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def golden(checkpoint: Checkpoint) -> Arrays:
    return checkpoint.golden().outputs


def result(checkpoint: Checkpoint, scores: np.ndarray[Any, Any]) -> Result:
    """What is said of an artifact in ONNX's float32 that gives these scores for golden."""
    names: dict[str, Any] = dict.fromkeys(("source", "source_sha256", "checkpoint_sha256", "recipe", "toolchain"), "")
    artifact = Artifact(
        **names, folder=Path("nowhere"), sha256="0" * 64, target="onnx", precision="float32", entry="model.onnx",
        task=checkpoint.task, labels=checkpoint.labels, inputs=(), outputs=checkpoint.outputs, normalisation={},
        findings=(), details={}, seconds=0.0, peak_memory=0, files={},
    )  # fmt: skip
    few = {"scores": scores[:2]}
    actual = Actual({"scores": scores}, together=few, again=few, alone=few, last={"scores": scores[:1]})
    row = Row(artifact, "onnx", "float32", "test", "", "")
    measured = Measured("1", len(scores), Latency(1.0, 2.0, 3, 1, 1))
    return result_of(row, measured, actual, dataclasses.replace(checkpoint.proof(), probes=None, patterns=None))


def test_it_is_trained_and_its_truth_is_turned_with_its_pictures(checkpoint: Checkpoint) -> None:
    assert checkpoint.metrics["test_pixel accuracy"] > 0.9
    (image,), (scores,) = checkpoint.inputs, checkpoint.outputs
    assert (image.shape, scores.shape) == (("batch", 3, HEIGHT, WIDTH), ("batch", 2, HEIGHT, WIDTH))
    assert (scores.layout, scores.dtype) == ("NCHW", "float32")
    assert checkpoint.golden().truth["mask"].shape == (32, HEIGHT, WIDTH)
    assert weakness(checkpoint.golden(), measures.tasks.load("masks"), checkpoint.labels, "run masks") == ""


def test_the_real_exporter_and_runtime_take_it(checkpoint: Checkpoint, tmp_path: Path) -> None:
    made = target.convert(checkpoint.folder, checkpoint.folder, "float32", tmp_path)
    (file,) = (one for one in runner.find() if one.name == "onnx_in_onnxruntime")
    manifest = {
        key: [dataclasses.asdict(tensor) for tensor in getattr(checkpoint, key)] for key in ("inputs", "outputs")
    }
    job = Job(
        file.file, tmp_path / made["entry"], manifest, checkpoint.folder / "golden.safetensors", tmp_path / "out",
        samples=32, threads=1, budget=Budget(timed=1),
    )  # fmt: skip
    measured = runner.measure(**job.record())
    from safetensors.numpy import load_file

    outcome = result(checkpoint, Actual.of(load_file(tmp_path / "out")).golden["scores"])
    assert (measured["samples"], outcome.status, outcome.reason) == (32, "pass", "")
    assert outcome.agreement
    assert outcome.agreement.share == 1


def test_a_shifted_mask_fails_by_its_decisions_in_the_tasks_words(checkpoint: Checkpoint, golden: Arrays) -> None:
    outcome = result(checkpoint, np.roll(golden["scores"], 1, axis=3))
    assert outcome.status == "fail"
    assert "decisions differ from golden's" in outcome.reason
    assert {(pair.golden, pair.actual) for pair in outcome.decisions} == {
        (before, after) for before in ("paper", "ink") for after in ("paper", "ink")
    }
    assert sum(pair.count for pair in outcome.decisions) == 32 * HEIGHT * WIDTH
    assert "ink" in outcome.worst[0].golden
    assert "%" in outcome.worst[0].golden
    assert 0 < outcome.worst[0].agreement < 1


def test_a_class_that_is_never_decided_for_is_named(checkpoint: Checkpoint, golden: Arrays) -> None:
    lost = golden["scores"].copy()
    lost[:, 1] = lost[:, 0] - 1
    assert any("class ink is never decided for" in flag for flag in result(checkpoint, lost).flags)


def test_a_repair_counts_its_decisions(golden: Arrays) -> None:
    task = measures.tasks.load("masks")
    half = {"scores": np.concatenate([golden["scores"][:16], -golden["scores"][16:]])}
    assert repair.score(half, golden, task, 1).agreement == pytest.approx(0.5, abs=1e-3)


def test_the_page_says_its_words_and_draws_its_decisions(checkpoint: Checkpoint, golden: Arrays) -> None:
    outcome = result(checkpoint, np.roll(golden["scores"], 1, axis=3))
    model = Model("net", list(checkpoint.labels), {}, {})
    report: Any = Report.__new__(Report)
    object.__setattr__(report, "model", model)
    table = confusion(report, outcome)
    text = "".join(table.itertext()) if not isinstance(table, (str, type(None))) else ""
    assert "paper" in text
    assert "ink" in text
    (index, file), *_ = publish.images(Run(checkpoint.folder.parent, checkpoint), [3], checkpoint.golden()).items()
    drawn = np.asarray(Image.open(io.BytesIO(file)))
    assert (index, drawn.shape) == (3, (HEIGHT, WIDTH, 3))
    red = (drawn == (255, 0, 0)).all(axis=2)
    assert np.array_equal(red, measures.tasks.load("masks").decide(golden)[3] == 1)
