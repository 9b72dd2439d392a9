"""Probes see what golden does not: a branch that no held-out image takes; and accuse nothing that is good."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.numpy import load_file, save_file

from export.convert import convert
from export.run import Run
from export.target import find, plan
from measures import flags
from measures.distance import floor_of
from pipeline import config as configs
from pipeline.checkpoint import Checkpoint
from pipeline.torchscript import trace
from pipeline.train import settle, train
from records.golden import PATTERNS, Actual, Golden, Patterns, Probes, Proof
from tests.modules import built
from tests.pipeline import branches
from tests.validate.judge.test_judge import artifact, measured
from tests.validate.test_parity import own, reseal
from validate import parity
from validate.judge.judge import result_of
from validate.measure import Options
from validate.plan import Row
from validate.report.records import Result
from validate.runtimes import runner
from validate.settings import ValidateConfig

CLASSES = 4
FLOOR = 1e-6


@pytest.fixture(scope="module")
def golden() -> Golden:
    random = np.random.default_rng(0)
    labels = np.arange(64) % CLASSES
    scores = random.normal(size=(64, CLASSES)).astype(np.float32)
    scores[np.arange(64), labels] += 8
    return Golden({}, {"logits": scores}, {"logits": scores.astype(np.float64) + FLOOR}, {"labels": labels})


@pytest.fixture
def patterns() -> Patterns:
    """Five outputs like golden's; on white rounding alone leads to a hundred times more."""
    scores = np.random.default_rng(1).normal(size=(5, CLASSES)).astype(np.float32)
    floors = np.array([FLOOR, 100 * FLOOR, FLOOR, FLOOR, FLOOR])
    return Patterns({}, {"logits": scores}, {}, {"logits": floors})


def judged(
    golden: Golden, patterns: Patterns | None, given: np.ndarray[Any, Any] | None, precision: str = "float32"
) -> Result:
    """Golden's own outputs but for noise that the precision is allowed, and these for the patterns."""
    noise = {"float32": 1e-7, "float16": 1e-4}.get(precision, 0.05)
    scores = golden.outputs["logits"] + np.float32(noise) * np.random.default_rng(2).normal(size=(64, CLASSES))
    few = {way: {"logits": scores[:2]} for way in ("together", "again", "alone")}
    few["last"] = {"logits": scores[:1]}
    pattern = {} if given is None else {"logits": given}
    actual = Actual({"logits": scores.astype(np.float32)}, **few, pattern=pattern)
    row = Row(artifact(precision), "onnx", precision, "test", "", "anywhere validate")
    return result_of(row, measured(64), actual, Proof(golden, None, patterns))


def off(patterns: Patterns, **by: float) -> np.ndarray[Any, Any]:
    """PyTorch's outputs, on these probes so far off."""
    found = patterns.outputs["logits"].copy()
    for name, distance in by.items():
        found[PATTERNS.index(name), 1] += np.float32(distance)
    return found


def test_a_probe_that_is_beyond_fails_and_is_named_with_its_numbers(golden: Golden, patterns: Patterns) -> None:
    result = judged(golden, patterns, off(patterns, noise=0.5))
    assert (result.status, result.outcome) == ("fail", "blocking")
    assert result.reason.startswith("probe noise: logits: probe_absolute 0.5 (at most 6.4e-05 allowed), SQNR ")
    assert [one.name for one in result.probes if one.judgement and not one.judgement.within] == ["noise"]
    assert result.headroom is not None
    assert result.headroom < 0


@pytest.mark.parametrize(("name", "status"), [("white", "pass"), ("black", "fail")])
def test_a_probe_is_judged_by_its_own_noise_floor(golden: Golden, patterns: Patterns, name: str, status: str) -> None:
    assert judged(golden, patterns, off(patterns, **{name: 1e-3})).status == status


def test_little_headroom_on_a_probe_is_a_warning_that_names_the_worst(golden: Golden, patterns: Patterns) -> None:
    result = judged(golden, patterns, off(patterns, noise=4e-5, shifted=5e-5))
    assert result.status == "pass"
    (said,) = result.warnings
    assert said.startswith("little headroom on probe shifted: probe_absolute 5")


@pytest.mark.parametrize(("distance", "status"), [(2e-2, "pass"), (5e-2, "fail")])
def test_float16_may_be_farther_off_on_a_probe(
    golden: Golden, patterns: Patterns, distance: float, status: str
) -> None:
    assert judged(golden, patterns, off(patterns, shifted=distance), "float16").status == status


def test_integers_may_be_far_off_but_not_without_a_number(golden: Golden, patterns: Patterns) -> None:
    assert judged(golden, patterns, off(patterns, white=3.0), "int8").reason == ""
    result = judged(golden, patterns, off(patterns, white=np.nan), "int8")
    assert result.reason == "probe white: logits: 1 values are NaN or infinite"
    assert all(one.judgement is None for one in result.probes)


def test_integers_that_collapse_fail(golden: Golden, patterns: Patterns) -> None:
    result = judged(golden, patterns, np.repeat(patterns.outputs["logits"][:1], 5, axis=0), "int8")
    assert result.reason == "logits is the same for all 5 probes, whatever they are"
    saturated = np.where(patterns.outputs["logits"] > 0, np.float32(20), np.float32(-20))
    assert judged(golden, patterns, saturated, "int8").reason == (
        "logits: every value is -20 or 20 on all 5 probes: saturated"
    )


def test_what_pytorch_hardly_tells_apart_need_not_be_told_apart() -> None:
    """A network that normalises its input takes black and white for the same."""
    golden, usual = np.random.default_rng(0).normal(size=(2, CLASSES)) * 1e-3, np.eye(CLASSES)
    assert flags.collapsed("logits", np.zeros((2, CLASSES)), golden, usual, noise=0.1) == []
    assert flags.collapsed("logits", np.zeros((2, CLASSES)), golden, usual, noise=1e-4) != []


def test_what_is_at_its_ends_where_pytorch_is_too_is_not_saturated() -> None:
    two = np.array([[0.0], [9.0]])
    assert flags.collapsed("score", two, two + 0.1, np.array([[3.0]]), noise=0.1) == []


def test_probes_that_were_not_run_fail_and_two_are_enough(golden: Golden, patterns: Patterns) -> None:
    for given in (None, patterns.outputs["logits"][:1], patterns.outputs["logits"][:, :2]):
        result = judged(golden, patterns, given)
        assert result.reason.startswith("probes: logits: ")
        assert result.reason.endswith("2 probes are needed")
    result = judged(golden, patterns, patterns.outputs["logits"][:2])
    assert (result.status, [one.name for one in result.probes]) == ("pass", ["black", "white"])


def test_a_checkpoint_from_before_is_judged_without(golden: Golden) -> None:
    result = judged(golden, None, None)
    assert (result.status, result.probes) == ("pass", [])


def test_nothing_is_asked_where_pytorch_gives_no_number(golden: Golden, patterns: Patterns) -> None:
    patterns.outputs["logits"][0] = patterns.floors["logits"][0] = np.nan
    result = judged(golden, patterns, off(patterns, black=1.0))
    assert (result.status, [one.name for one in result.probes]) == ("pass", list(PATTERNS[1:]))
    files = Probes((np.zeros(1),), {}, {}, {})
    (said,) = parity.unproved(Proof(golden, files, patterns), ())
    assert said == "PyTorch itself gives values that are no numbers on probe black, so nothing is proved there"


def test_outputs_that_are_all_nought_leave_nothing_to_divide_by(golden: Golden, patterns: Patterns) -> None:
    nought = Patterns({}, {"logits": np.zeros((5, CLASSES), np.float32)}, {}, {"logits": np.zeros(5)})
    assert judged(golden, nought, nought.outputs["logits"]).status == "pass"


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run of the network that does something else on bright images, of which golden has none; TorchScript of it."""
    place = tmp_path_factory.mktemp("bright")
    (place / "branches.py").write_text(Path(branches.__file__).read_text())
    values = {
        "model.name": "branches:Bright", "data.image_size": 16, "train.epochs": 3, "data.golden": 64,
        "data.calibration": 32,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.syspath_prepend(str(place))
        folder = place / "runs" / "bright"
        train(settle(configs.read(None, values)), folder, None, Console(quiet=True))
        run = Run(folder, Checkpoint.open(folder / "checkpoint"))
        (outcome,) = convert(run, plan(find(), ["torchscript"]), 1, False, lambda _: None)
        assert outcome.artifact, outcome.reason
        yield run


def checked(run: Run) -> Result:
    (result,) = parity.check(run, own(), Options(1, timed=3), settings=ValidateConfig()).results
    return result


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.*deprecated:FutureWarning")
def test_golden_does_not_see_a_branch_that_a_trace_lost_and_white_does(bright: Run) -> None:
    assert bright.checkpoint.golden().inputs["image"].mean((1, 2, 3)).max() < 0.5
    good = checked(bright)
    assert (good.status, good.reason, [one.name for one in good.probes]) == ("pass", "", list(PATTERNS))
    place = bright.place("torchscript/float32")
    kept = (place / "model.pt").read_bytes()
    try:
        traced, *_ = trace(built(bright.checkpoint), bright.checkpoint.example())
        torch.jit.save(traced, str(place / "model.pt"))
        reseal(place)
        result = checked(bright)
    finally:
        (place / "model.pt").write_bytes(kept)
        reseal(place)
    assert result.outputs[0].sqnr_db is not None
    assert result.outputs[0].sqnr_db > 120
    assert result.status == "fail"
    assert result.reason.startswith("probe white: logits: probe_absolute ")
    assert "probe black" not in result.reason
    found = {one.name: one for one in result.probes}
    assert found["white"].sqnr_db is not None
    assert found["white"].sqnr_db < 20


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "count"), [(10.0, 5), (0.0, 2)])
def test_a_slow_runtime_takes_black_and_white_and_what_there_is_time_for(
    bright: Run, tmp_path: Path, seconds: float, count: int
) -> None:
    made, patterns = bright.artifact("torchscript/float32"), bright.checkpoint.patterns()
    assert patterns
    manifest = {side: [dataclasses.asdict(one) for one in getattr(made, side)] for side in ("inputs", "outputs")}
    infer = runner._load(runner.FOLDER / "torchscript_in_torch.py").activate(made.path, manifest, 1, "")
    shapes = []

    def noted(inputs: Any) -> Any:
        shapes.append(inputs["image"].shape[0])
        return infer(inputs)

    session = runner.Session(noted, made.inputs, made.outputs)
    found = session.collect(session.stored(patterns.inputs), seconds, runner.LEAST_PATTERNS, batch=1)[0]["logits"]
    assert shapes == [1] * count
    assert np.abs(found - patterns.outputs["logits"][:count]).max() <= 4 * floor_of(found, found)
    save_file({"input.image": patterns.inputs["image"]}, tmp_path / "older")
    assert runner._beside(tmp_path / "older", made.inputs)[2] == {}


@pytest.mark.slow
def test_the_report_of_an_older_checkpoint_says_what_is_not_proved(bright: Run) -> None:
    proof = dataclasses.replace(bright.checkpoint.proof(), patterns=None)
    assert parity.unproved(proof, bright.checkpoint.inputs) == [parity.UNPATTERNED]
    assert "anywhere train --force" in parity.UNPATTERNED
    assert load_file(bright.checkpoint.folder / "probes.safetensors").keys() >= {"file.image.0", "pattern.floor.logits"}
