"""Numbers in, a result out: what each of them does to the verdict."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.artifact import Artifact
from measures.distance import floor_of
from records.golden import Actual, Fresh, Golden, Proof
from records.tensor import Tensor
from validate.judge.judge import result_of
from validate.plan import Row
from validate.report.records import Result
from validate.runtimes.job import Latency, Measured

CLASSES = 4
FLOOR = 1e-6


def artifact(precision: str) -> Artifact:
    logits = Tensor("logits", "float32", ("batch", CLASSES), "NK")
    names: dict[str, Any] = dict.fromkeys(("source", "source_sha256", "checkpoint_sha256", "recipe", "toolchain"), "")
    return Artifact(
        **names,
        folder=Path("nowhere"),
        sha256="0" * 64,
        target="onnx",
        precision=precision,
        entry="model.onnx",
        task="classification",
        labels=("ant", "bee", "cat", "dog"),
        inputs=(),
        outputs=(logits,),
        normalisation={},
        findings=(),
        details={},
        seconds=0.0,
        peak_memory=0,
        files={},
    )


@pytest.fixture
def golden() -> Golden:
    """128 samples, each decided for its label by a wide margin; the oracle is one noise floor off."""
    random = np.random.default_rng(0)
    labels = np.arange(128) % CLASSES
    scores = random.normal(size=(128, CLASSES)).astype(np.float32)
    scores[np.arange(128), labels] += 8
    return Golden({}, {"logits": scores}, {"logits": scores.astype(np.float64) + FLOOR}, {"labels": labels})


FEW = {"together": 2, "again": 2, "alone": 2, "last": 1}
"""Samples that are computed in other ways, too."""


def judged(
    golden: Golden,
    actual: np.ndarray[Any, Any],
    precision: str = "float32",
    details: dict[str, Any] | None = None,
    **beside: np.ndarray[Any, Any],
) -> Result:
    few = {way: actual[:number] for way, number in FEW.items()} | beside
    arrays = Actual({"logits": actual}, **{way: {"logits": value} for way, value in few.items()})
    made = dataclasses.replace(artifact(precision), details=details or {})
    row = Row(made, "onnx", precision, "test", "", "anywhere validate")
    return result_of(row, measured(len(actual)), arrays, Proof(golden))


def measured(samples: int, **changes: Any) -> Measured:
    """What a harness says of so many golden inputs."""
    return Measured("1", samples, Latency(1.0, 2.0, 3, 1, 1), **changes)


def noisy(scores: np.ndarray[Any, Any], ratio_db: float) -> np.ndarray[Any, Any]:
    """With noise of that SQNR."""
    noise = np.random.default_rng(1).normal(size=scores.shape)
    noise *= np.sqrt(np.square(scores).sum() / np.square(noise).sum()) * 10 ** (-ratio_db / 20)
    return (scores + noise).astype(np.float32)


@pytest.mark.parametrize(("halves_db", "enough"), [(25.0, None), (22.0, 256), (19.0, 512), (24.0, 162)])
def test_two_halves_of_the_calibration_far_apart_say_how_many_samples_would_do(
    golden: Golden, halves_db: float, enough: int | None
) -> None:
    details = {"calibration_samples": 128, "calibration_halves_sqnr_db": halves_db}
    result = judged(golden, golden.outputs["logits"].copy(), "int8", details)
    said = [warning for warning in result.warnings if warning.startswith("little calibration: ")]
    assert len(said) == (enough is not None)
    if enough:
        assert f"two halves of its 128 samples give models {halves_db:.1f} dB apart (25 needed)" in said[0]
        assert said[0].endswith(
            f"about {enough} samples would do: train with data.calibration = {enough}, or adopt with more samples"
        )


def test_equal_outputs_pass(golden: Golden) -> None:
    result = judged(golden, golden.outputs["logits"].copy())
    assert (result.status, result.outcome, result.reason, result.flags) == ("pass", "pass", "", [])
    assert result.headroom == pytest.approx(1)


@pytest.mark.parametrize(
    ("precision", "ratio", "status"), [("int8", 26, "pass"), ("int8", 24, "fail"), ("float16", 39, "fail")]
)
def test_noise_is_judged_by_the_precisions_row(golden: Golden, precision: str, ratio: float, status: str) -> None:
    result = judged(golden, noisy(golden.outputs["logits"], ratio), precision)
    assert result.status == status
    assert ("sqnr_db" in result.reason) is (status == "fail")


def with_strange(golden: Golden, count: int) -> tuple[Golden, np.ndarray[Any, Any]]:
    """Samples with scores fifty times as great, and what eight bits make of them: they cut them off."""
    scores = golden.outputs["logits"].copy()
    scores[:count] *= 50
    actual = noisy(scores / np.where(np.arange(128) < count, 50, 1)[:, None], 35)
    return dataclasses.replace(golden, outputs={"logits": scores}, oracle={"logits": scores + FLOOR}), actual


def test_strange_samples_of_integers_are_left_to_their_decisions_and_named(golden: Golden) -> None:
    strange, actual = with_strange(golden, 6)
    result = judged(strange, actual, "int8")
    assert result.status == "pass" and result.outcome == "tight"
    assert [
        said for said in result.warnings if said.startswith("logits: 6 of 128 samples have outputs more than 10 ti")
    ]
    turned = actual.copy()
    turned[:6] = turned[:6, ::-1]
    assert judged(strange, turned, "int8").status == "fail"
    assert judged(*with_strange(golden, 7), "int8").status == "fail", "more than a twentieth"
    assert judged(strange, noisy(strange.outputs["logits"], 15), "int8").status == "fail", "the others are far off"
    assert not judged(golden, golden.outputs["logits"], "int8").warnings


def test_strange_samples_of_an_output_that_decides_nothing_count(golden: Golden) -> None:
    """Though the task decides by another one."""
    strange, actual = with_strange(golden, 6)
    logits = strange.outputs["logits"]
    both = Golden({}, {"logits": logits, "beside": logits}, {"logits": logits, "beside": logits}, strange.truth)
    arrays = Actual(
        dict.fromkeys(both.outputs, actual),
        **{way: dict.fromkeys(both.outputs, actual[:n]) for way, n in FEW.items()},
    )
    made = artifact("int8")
    made = dataclasses.replace(made, outputs=(*made.outputs, dataclasses.replace(made.outputs[0], name="beside")))
    result = result_of(Row(made, "onnx", "int8", "test", "", ""), measured(128), arrays, Proof(both))
    assert [output.name for output in result.outputs if not output.judgements[0].within] == ["beside"]


def test_of_outputs_that_decide_nothing_strange_samples_count_as_all_others(golden: Golden) -> None:
    strange, actual = with_strange(golden, 6)
    arrays = Actual({"logits": actual}, **{way: {"logits": actual[:n]} for way, n in FEW.items()})
    made = dataclasses.replace(artifact("int8"), task="regression")
    row = Row(made, "onnx", "int8", "test", "", "anywhere validate")
    proof = Proof(dataclasses.replace(strange, truth={}))
    assert result_of(row, measured(128), arrays, proof).status == "fail"


@pytest.mark.parametrize(("floor", "status"), [(1e-6, "fail"), (1e-5, "pass")])
def test_float16_is_judged_by_how_hard_the_network_is_on_float32(golden: Golden, floor: float, status: str) -> None:
    golden.oracle["logits"] = golden.outputs["logits"] + floor
    result = judged(golden, noisy(golden.outputs["logits"], 50), "float16")
    assert result.status == status
    assert result.reason.startswith("logits: max_absolute") is (status == "fail")


def test_a_ties_other_outcome_is_counted_apart(golden: Golden) -> None:
    """Golden decides sample 0 by less than its own noise floor."""
    golden.outputs["logits"][0] = golden.oracle["logits"][0] = [1 + FLOOR / 4, 1, -5, -5]
    actual = golden.outputs["logits"].copy()
    actual[0, 1] += FLOOR
    result = judged(golden, actual)
    assert result.status == "pass", result.reason
    assert result.agreement
    assert (result.agreement.share, result.agreement.ties) == (1.0, 1)
    assert [(one.golden, one.actual) for one in result.decisions if one.golden != one.actual] == [("ant", "bee")]


@pytest.mark.parametrize(("margin", "ties"), [(0.3, 4), (2.0, 0)])
def test_integers_may_turn_over_what_their_allowed_noise_explains(golden: Golden, margin: float, ties: int) -> None:
    """25 dB of outputs of 4 are 0.23 of noise on each, and 0.64 twice on a difference."""
    actual = noisy(golden.outputs["logits"], 40)
    for sample in range(4):
        golden.outputs["logits"][sample] = golden.oracle["logits"][sample] = [8 + margin, 8, 0, 0]
        actual[sample] = [8, 8 + margin / 2, 0, 0]
    result = judged(golden, actual, "int8")
    assert result.agreement
    assert (result.agreement.ties, result.agreement.share) == (ties, 1.0 if ties else 1 - 4 / 128)
    assert ("4 of 128 decisions differ" in result.reason) is not bool(ties)
    assert [(one.golden, one.actual, one.count) for one in result.decisions if one.golden != one.actual]  # and are told


@pytest.mark.parametrize(("lost", "outcome"), [(0, "pass"), (2, "tight"), (9, "blocking")])
def test_a_fall_of_the_metric_is_judged_by_how_sure_it_is(golden: Golden, lost: int, outcome: str) -> None:
    """Where golden is right by a hair's breadth, a flip is fair, and yet the label is lost."""
    actual = noisy(golden.outputs["logits"], 40)
    for sample in range(lost):
        label = golden.truth["labels"][sample]
        golden.outputs["logits"][sample] = golden.oracle["logits"][sample] = np.eye(CLASSES)[label] * 0.1 + 8
        actual[sample] = 8.1 - np.eye(CLASSES)[label] * 0.1
    result = judged(golden, actual, "int8")
    assert result.metric
    assert result.metric.change == pytest.approx(-lost / 128)
    assert result.outcome == outcome, (result.reason, result.warnings)
    told = [warning for warning in result.warnings if "samples are too few to tell whether more" in warning]
    assert bool(told) is (outcome == "tight")
    assert result.metric.needed is None or result.metric.needed > 128


def test_one_decision_of_few_may_differ_and_two_may_not(golden: Golden) -> None:
    """One of four is a quarter; the share allowed is a hundredth."""
    for changed, status in ((1, "pass"), (2, "fail")):
        actual = noisy(golden.outputs["logits"], 90)[:4]
        golden.truth["labels"][:changed] = 3
        for sample in range(changed):
            golden.outputs["logits"][sample] = actual[sample] = [0, 0, 1.0, 1.004]
            golden.oracle["logits"][sample] = golden.outputs["logits"][sample]
            actual[sample, 2] = 1.006
        result = judged(golden, actual, "float16")
        assert result.agreement
        assert result.agreement.share == 1 - changed / 4
        assert result.status == status, result.reason


def test_decisions_are_lost_and_won_but_only_losses_count(golden: Golden) -> None:
    golden.truth["labels"][:8] = (golden.truth["labels"][:8] + 1) % CLASSES
    actual = golden.outputs["logits"].copy()
    actual[:8] = np.roll(actual[:8], 1, axis=1)
    result = judged(golden, actual, "int8")
    assert result.metric
    assert result.metric.change > 0
    assert result.metric.judgement.within
    assert "8 of 128 decisions differ from golden's" in result.reason


def test_a_constant_output_fails_by_a_flag(golden: Golden) -> None:
    result = judged(golden, np.repeat(golden.outputs["logits"][:1], 128, axis=0), "int8")
    assert result.flags[0] == "logits is the same for all 128 inputs, whatever they are"
    assert result.flags[0] in result.reason
    assert result.flags[1].startswith("3 of 4 classes that golden decides for are never decided for: bee (32 times), ")


def test_a_flag_alone_fails_what_is_within_all_tolerances(golden: Golden) -> None:
    exact = golden.outputs["logits"].copy()
    result = judged(golden, exact, "int8")
    assert all(one.within for output in result.outputs for one in output.judgements)
    assert (result.status, result.outcome) == ("fail", "blocking")
    assert result.reason == "logits is exact to 300 dB, which int8 cannot be: the artifact is float32"


def test_what_is_not_repeatable_fails(golden: Golden) -> None:
    exact = golden.outputs["logits"].copy()
    result = judged(golden, exact, again=exact[:2] + 1)
    assert result.status == "fail"
    assert "logits changes by 1 between two runs of the same input" in result.reason


def test_what_was_not_run_twice_is_not_known_to_be_repeatable(golden: Golden) -> None:
    exact = golden.outputs["logits"].copy()
    row = Row(artifact("float32"), "onnx", "float32", "test", "", "anywhere validate")
    result = result_of(row, measured(128), Actual({"logits": exact}), Proof(golden))
    assert "logits: was not run a second time" in result.reason


@pytest.mark.parametrize(("precision", "distance", "status"), [("float32", 1e-3, "fail"), ("int8", 0.01, "pass")])
def test_a_batch_gives_the_rows_that_its_images_give_alone(
    golden: Golden, precision: str, distance: float, status: str
) -> None:
    actual = golden.outputs["logits"].copy() if precision == "float32" else noisy(golden.outputs["logits"], 35)
    result = judged(golden, actual, precision, alone=actual[:2] + np.float32(distance))
    assert result.status == status, result.reason
    assert ("a batch of 2 gives other rows than its images one by one" in result.reason) is (status == "fail")


def test_a_value_that_is_no_number_fails_and_decides_for_nothing(golden: Golden) -> None:
    actual = golden.outputs["logits"].copy()
    actual[5, 2] = np.nan
    result = judged(golden, actual)
    assert "logits: 1 values are NaN or infinite, the first at (5, 2)" in result.reason
    assert (result.worst[0].index, result.worst[0].actual) == (5, "no number")
    assert result.worst[0].difference is not None
    assert math.isnan(result.worst[0].difference)


def test_the_noise_floor_is_no_less_than_what_float32_can_say() -> None:
    values = np.array([[1000.0, 1.0]], np.float32)
    assert floor_of(values, values.astype(np.float64)) == pytest.approx(1000 * np.finfo(np.float32).eps)
    assert floor_of(values, values + 0.5) == pytest.approx(0.5)


def test_little_headroom_is_a_warning_of_a_pass(golden: Golden) -> None:
    close = judged(golden, noisy(golden.outputs["logits"], 26), "int8")
    assert (close.status, len(close.warnings)) == ("pass", 1)
    assert close.warnings[0].startswith("little headroom: sqnr_db 26")
    assert judged(golden, noisy(golden.outputs["logits"], 40), "int8").warnings == []


def test_a_batch_of_another_size_gives_the_same_rows(golden: Golden) -> None:
    exact = golden.outputs["logits"]
    wrong = judged_with(golden, batches={"3.logits": exact[:3].copy(), "33.logits": exact[:33] * np.float32(1.01)})
    assert "a batch of 33 gives other rows than the same inputs in other batches" in wrong.reason
    assert "a batch of 3 " not in wrong.reason
    lost = judged_with(golden, batches={"7.logits": exact[:6].copy()})
    assert (
        "a batch of 7 gives other rows than the same inputs in other batches (shape (6, 4) for (7, 4))" in lost.reason
    )


def test_the_last_timed_call_gives_what_the_first_did(golden: Golden) -> None:
    exact = golden.outputs["logits"]
    assert judged_with(golden, last={"logits": exact[:1].copy()}).status == "pass"
    assert "the last of the timed calls gives other" in judged_with(golden, last={"logits": exact[:1] + 1}).reason
    assert "the last timed call left no outputs" in judged_with(golden, last={}).reason


def judged_with(golden: Golden, **changed: Any) -> Result:
    """Golden's own outputs everywhere but there."""
    exact = golden.outputs["logits"].copy()
    ways: dict[str, Any] = {way: {"logits": exact[:2]} for way in ("together", "again", "alone")}
    actual = Actual({"logits": exact}, **ways | {"last": {"logits": exact[:1]}} | changed)
    row = Row(artifact("float32"), "onnx", "float32", "test", "", "anywhere validate")
    return result_of(row, measured(128), actual, Proof(golden))


def fresh(golden: Golden, precision: str, factor: float, noise_db: float | None = None) -> Result:
    """Golden's outputs, and for inputs made anew PyTorch's own, times a factor or with noise."""
    exact = golden.outputs["logits"].copy()
    reference = np.random.default_rng(5).normal(scale=3, size=(8, CLASSES)).astype(np.float32)
    given = reference * np.float32(factor) if noise_db is None else noisy(reference, noise_db)
    ways: dict[str, Any] = {way: {"logits": exact[:2]} for way in ("together", "again", "alone")}
    actual = Actual({"logits": exact}, **ways, last={"logits": exact[:1]}, fresh={"logits": given})
    inputs = Fresh({}, {"logits": reference}, {"logits": reference.astype(np.float64)}, 7)
    row = Row(artifact(precision), "onnx", precision, "test", "", "anywhere validate")
    return result_of(row, measured(128), actual, Proof(golden, fresh=inputs))


@pytest.mark.parametrize(
    ("precision", "factor", "noise_db", "status"),
    [
        ("float32", 1, None, "pass"),
        ("float32", 1.01, None, "fail"),
        ("float32", 0, None, "fail"),
        ("int8", 1, 20, "pass"),
        ("int8", 1, 8, "fail"),
        ("int8", np.nan, None, "fail"),
    ],
)
def test_inputs_made_anew_are_judged_beside_golden(
    golden: Golden, precision: str, factor: float, noise_db: float | None, status: str
) -> None:
    result = fresh(golden, precision, factor, noise_db)
    found = "made anew by seed 7: logits: " in result.reason
    assert found is (status == "fail"), result.reason
    assert [probe.name for probe in result.probes] == ["made anew"]


def test_inputs_made_anew_that_no_runtime_was_given_are_a_failure(golden: Golden) -> None:
    inputs = Fresh({}, dict(golden.outputs), dict(golden.oracle), 7)
    exact = golden.outputs["logits"].copy()
    few = {"logits": exact[:2]}
    row = Row(artifact("float32"), "onnx", "float32", "test", "", "anywhere validate")
    actual = Actual({"logits": exact}, together=few, again=few, last={"logits": exact[:1]})
    result = result_of(row, measured(128), actual, Proof(golden, fresh=inputs))
    assert "made anew by seed 7: logits: none was run" in result.reason


@pytest.mark.parametrize(("built", "warned"), [(36.0, False), (40.0, True), (None, False)])
def test_integers_that_are_worse_than_where_they_were_made_are_warned_of(
    golden: Golden, built: float | None, warned: bool
) -> None:
    exact = golden.outputs["logits"]
    actual = noisy(exact, 35)
    ways: dict[str, Any] = {way: {"logits": actual[:2]} for way in ("together", "again", "alone")}
    ways["last"] = {"logits": actual[:1]}
    details = {} if built is None else {"built_sqnr_db": built}
    row = Row(dataclasses.replace(artifact("int8"), details=details), "onnx", "int8", "test", "", "")
    result = result_of(row, measured(128), Actual({"logits": actual}, **ways), Proof(golden))
    assert any("unlike its conversion: 3" in warning for warning in result.warnings) is warned
    assert (result.status, result.outcome == "tight") == ("pass", warned)
