"""False alarms: good artifacts of ten models that the validator fails.

    python -m tests.mutants --models 3

What is good is not the validator's to say. Here an artifact in a runtime is good where an app would not notice: on
four times the test split (as it is, and thrice turned, scaled and shifted), all its outputs are numbers, at most one
decision in a hundred is not PyTorch's, its accuracy is at most one point lower, and its confidence (softmax) in what
PyTorch decides for is on average at most one point off. No tolerances, no SQNR, and not golden's samples alone.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from safetensors.numpy import load_file, save_file

from export.convert import convert
from export.run import Run
from export.target import find, plan
from pipeline import config as configs
from pipeline import data, tasks
from pipeline.checkpoint import Checkpoint
from pipeline.train import settle, train
from records.golden import Actual
from records.tensor import Array
from tests.mutants.bench import ELSEWHERE, Workers
from validate import parity
from validate.measure import Options, job
from validate.plan import Runtime
from validate.report.records import Result
from validate.runtimes import runner
from validate.runtimes.job import Budget
from validate.settings import ValidateConfig
from workers.worker import WorkerFailed

MODELS: Mapping[str, tuple[int, int]] = {
    "simple_cnn": (28, 4),
    "mobilenet_v3_small": (48, 8),
    "resnet18": (32, 4),
    "shufflenet_v2_x1_0": (64, 6),
    "mobilenet_v2": (48, 8),
    "mnasnet1_0": (64, 6),
    "regnet_y_400mf": (64, 5),
    "efficientnet_b0": (48, 6),
    "googlenet": (64, 4),
    "densenet121": (64, 3),
}
"""Image size and epochs: minutes each, and most of the digits right."""
COPIES = 3
"""Of every held-out image, turned, scaled and shifted each time otherwise."""
CHANGED, FALL, UNSURE = 0.01, 0.01, 0.01
"""Of decisions, accuracy and confidence: what a good artifact may lose."""
COLLECT_S, LIMIT_S = 8.0, 300.0
SLOW = (*ELSEWHERE, "* in node cpu")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One artifact in one runtime, judged twice."""

    model: str
    result: Result
    """The validator's."""
    samples: int
    changed: float
    """Share of the decisions that are not PyTorch's; NaN: there are no numbers."""
    fall: float
    """Of accuracy."""
    unsure: float
    """Mean absolute difference of the confidence in what PyTorch decides for."""

    @property
    def good(self) -> bool:
        """By the criterion of this file."""
        return self.changed <= CHANGED and self.fall <= FALL and self.unsure <= UNSURE

    @property
    def false_alarm(self) -> bool:
        """Good, and failed."""
        return self.good and self.result.status == "fail"

    @property
    def title(self) -> str:
        """`resnet18 tflite/int8 in litert xnnpack`."""
        return f"{self.model} {self.result.name}"


def made(name: str, place: Path) -> Run:
    """A run of a model in `place/runs`, trained and exported unless it is there."""
    folder = place / "runs" / name
    if not (folder / "checkpoint").exists():
        size, epochs = MODELS[name]
        wanted = {"model.name": name, "data.image_size": size, "train.epochs": epochs}
        train(settle(configs.read(None, wanted)), folder, None, Console(quiet=True))
    run = Run(folder, Checkpoint.open(folder / "checkpoint"))
    outcomes = convert(run, plan(find()), 2, force=False, report=lambda _: None)
    for one in outcomes:
        if one.artifact is None:
            print(f"{name} {one.conversion.name}: {one.reason}")
    return run


def held_out(run: Run, file: Path) -> tuple[Array, Array]:
    """All of the test split and its copies, written as a runner takes its inputs; → PyTorch's scores, labels."""
    config = configs.read(run.checkpoint.folder / "config.toml")
    split = data.load(config).test
    turned = tasks.load(config.task).transforms("affine", config.data.size)
    split.augment = data.v2.Compose([*turned, data.v2.RGB()])
    indices = [*range(len(split)), *((copy, number) for copy in range(COPIES) for number in range(len(split)))]
    pairs = [split[index] for index in indices]
    images, labels = torch.stack([image for image, _ in pairs]), np.array([label for _, label in pairs])
    (tensor,) = run.checkpoint.inputs
    save_file({f"input.{tensor.name}": np.ascontiguousarray(images.numpy())}, file)
    model = run.checkpoint.model()
    with torch.no_grad():
        scores = torch.cat([model(part) for part in images.split(32)])
    return scores.numpy(), labels


def rows(run: Run, scratch: Path) -> Iterator[Row]:
    """Every artifact of a run in every runtime, but those that are slow."""
    workers = Workers(run.folder / "logs" / "false_alarms.log")
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        settings = ValidateConfig(leave_out=SLOW)
        report = parity.check(run, runner.find(), Options(1, start=workers.start), workers.toolchains, settings)
        file = scratch / "held_out.safetensors"
        scores, labels = held_out(run, file)
        for result in report.results:
            if result.status in {"pass", "fail"}:
                found = _decided(run, result, workers, file, scratch / "outputs.safetensors")
                yield _row(run.name, result, found, scores, labels)
    finally:
        workers.close()
        shutil.rmtree(scratch)


def _decided(run: Run, result: Result, workers: Workers, inputs: Path, out: Path) -> Array:
    """Outputs of as many inputs as there is time for; none where the runtime fails."""
    one = next(found for found in runner.find() if found.runtime == result.runtime and found.target == result.target)
    artifact = run.artifact(f"{result.target}/{result.precision}")
    place = Runtime(one, result.backend, workers.toolchains[one.toolchain])
    asked = job(run, artifact, place, out, Options(1, timed=3))
    asked = dataclasses.replace(asked, golden=inputs, samples=10**6, budget=Budget(collect_s=COLLECT_S))
    try:
        with workers.start(place, run.folder / "logs" / "held_out.log", 1) as worker:
            worker.call(one.harness, "measure", asked.record(), run.folder / "logs" / "held_out.log", LIMIT_S)
    except WorkerFailed as error:
        print(f"{result.name}: {error}")
        return np.full((1, 2), np.nan)
    return Actual.of(load_file(out)).golden[artifact.outputs[0].name]


def _row(model: str, result: Result, scores: Array, theirs: Array, labels: Array) -> Row:
    count = len(scores)
    if not np.isfinite(scores).all():
        return Row(model, result, count, *[float("nan")] * 3)
    theirs, true = theirs[:count], labels[:count]
    ours, decided = scores.argmax(1), theirs.argmax(1)
    return Row(
        model,
        result,
        count,
        changed=float((ours != decided).mean()),
        fall=float((decided == true).mean() - (ours == true).mean()),
        unsure=float(np.abs(_confidence(scores, decided) - _confidence(theirs, decided)).mean()),
    )


def _confidence(scores: Array, classes: Array) -> Array:
    """Of (N, K) and (N,): the softmax of each sample's class."""
    powers = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
    found: Array = powers[np.arange(len(scores)), classes] / powers.sum(1)
    return found


def measure(count: int, place: Path, tell: Tell) -> list[Row]:
    """The first `count` models, one after the other; each is removed when it is done."""
    found: list[Row] = []
    for name in list(MODELS)[:count]:
        tell(f"{name}: training and exporting …")
        run = made(name, place)
        tell(f"{name}: validating …")
        ours = list(rows(run, place / "scratch"))
        found += ours
        tell(
            f"{name}: {sum(row.good for row in ours)} of {len(ours)} rows are good, "
            f"{sum(row.false_alarm for row in ours)} of them failed"
        )
        shutil.rmtree(run.folder)
    return found
