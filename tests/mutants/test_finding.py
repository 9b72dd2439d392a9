"""The validator's examination by detectors and segmentation models that were altered: every one is caught.

`make test` examines a few detectors in ONNX, `make nightly` all, in every format that has a share.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.mutants import finding
from tests.mutants.bench import Bench, Mutant

ONNX = finding.TARGETS[:1]
DAILY = {"suppressed from 0.5, not 0.55", "sizes coded by another scale"}
"""Detectors that `make test` examines."""
EVERY = [(task, mutant) for task in finding.TABLES for mutant in finding.mutants(task)]
CONTROLS = [(task, control) for task in finding.TABLES for control in finding.controls(task)]
Benches = Callable[[str, tuple[str, ...]], Bench]


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Benches]:
    """A bench of a task with some targets, made when it is first asked for."""
    with ExitStack() as stack:

        @functools.cache
        def of(task: str, targets: tuple[str, ...]) -> Bench:
            return stack.enter_context(Bench(finding.prepare(tmp_path_factory.mktemp(task), task, targets)))

        yield of


def named(value: str | Mutant) -> str:
    return value if isinstance(value, str) else value.title


def caught(bench: Bench, mutant: Mutant) -> None:
    outcome = bench.examine(mutant)
    assert outcome.caught, outcome.effect
    assert mutant.because in outcome.said


def no_mutant(bench: Bench, control: Mutant) -> None:
    outcome = bench.examine(control)
    assert outcome.said == ""
    assert outcome.effect
    assert outcome.effect.own_db > 120


@pytest.mark.slow
def test_a_few_altered_detectors_are_caught_and_the_good_one_passes(benches: Benches) -> None:
    bench = benches("detection", ONNX)
    assert [result.status for result in bench.good.values() if result.status != "not_run"] == ["pass"]
    for mutant in finding.mutants("detection"):
        if mutant.name in DAILY and mutant.artifact in ONNX:
            caught(bench, mutant)


@pytest.mark.nightly
@pytest.mark.parametrize(("task", "control"), CONTROLS, ids=named)
def test_a_model_that_is_not_altered_is_no_mutant(benches: Benches, task: str, control: Mutant) -> None:
    no_mutant(benches(task, finding.TARGETS), control)


@pytest.mark.nightly
@pytest.mark.parametrize(("task", "mutant"), EVERY, ids=named)
def test_an_altered_model_is_caught_for_its_reason(benches: Benches, task: str, mutant: Mutant) -> None:
    caught(benches(task, finding.TARGETS), mutant)


def test_there_are_enough_mutants_and_of_each_target_and_task() -> None:
    names = {name for table in finding.TABLES.values() for name in table}
    assert sum(len(table) for table in finding.TABLES.values()) >= 30
    assert names >= DAILY
    for task in finding.TABLES:
        assert {mutant.artifact for mutant in finding.mutants(task)} == set(finding.TARGETS)
