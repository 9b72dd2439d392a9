"""The validator's own examination: every mutant is caught for its reason, and what is good passes.

`make mutants` prints the table. What cannot be told from rounding is a list in catalogue.py, and exact. `make test`
examines a sample that has every artifact and every reason, `make nightly` all of them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from export.target import find, plan
from tests.mutants import attacks
from tests.mutants.bench import Bench, Mutant
from tests.mutants.catalogue import CONTROLS, MUTANTS, PLACES, UNCAUGHT, sample
from tests.mutants.network import network
from tests.mutants.workplace import prepare
from validate.localise import localise

UNREADABLE = {"sigmoid for hard-swish: tflite/int8 in litert xnnpack"}
"""XNNPACK computes it; LiteRT's own kernels, which keep what is inside, refuse its scale."""
REFUSED = {"tflite/int8_int16 in tflite_runtime"}
"""2.14 resizes no int16."""
EVERY = (*MUTANTS, *attacks.MUTANTS)
CAUGHT = [mutant for mutant in EVERY if mutant.title not in UNCAUGHT]
SAID_TO_PASS = [mutant for mutant in EVERY if mutant.title in UNCAUGHT]


def artifact(mutant: Mutant) -> str:
    return mutant.artifact


def target(mutant: Mutant) -> str:
    return mutant.artifact.partition("/")[0]


def name(mutant: Mutant) -> str:
    return mutant.name


def because(mutant: Mutant) -> str:
    return mutant.because


def excuse(mutant: Mutant) -> str:
    return UNCAUGHT[mutant.title]


def tiered(mutants: Iterable[Mutant], chosen: set[str]) -> list[Any]:
    """Those that were not chosen are for `make nightly`."""
    return [
        pytest.param(mutant, marks=[pytest.mark.slow if mutant.title in chosen else pytest.mark.nightly])
        for mutant in mutants
    ]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    place = tmp_path_factory.mktemp("mutants")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        with Bench(prepare(place)) as found:
            yield found


def title(mutant: Mutant) -> str:
    return mutant.title


@pytest.mark.slow
def test_what_is_good_passes_in_every_runtime(bench: Bench) -> None:
    ran = {name: result for name, result in bench.good.items() if result.status != "not_run"}
    assert set(PLACES) == {name.partition(" in ")[0] for name in ran}
    assert {name: result.reason for name, result in ran.items() if result.status != "pass"}.keys() == REFUSED


@pytest.mark.parametrize("control", tiered(CONTROLS, sample(CONTROLS, target, name)), ids=title)
def test_an_artifact_taken_apart_and_put_together_again_is_no_mutant(bench: Bench, control: Mutant) -> None:
    outcome = bench.examine(control)
    assert outcome.said == ""
    assert outcome.effect
    assert outcome.effect.own_db > 120


@pytest.mark.parametrize("mutant", tiered(CAUGHT, sample(CAUGHT, artifact, because)), ids=title)
def test_a_mutant_is_caught_for_its_reason(bench: Bench, mutant: Mutant) -> None:
    outcome = bench.examine(mutant)
    assert outcome.caught, outcome.effect
    assert mutant.because in outcome.said


@pytest.mark.parametrize(
    "mutant",
    tiered([mutant for mutant in CAUGHT if mutant.localisable], sample(CAUGHT, artifact, because)),
    ids=title,
)
def test_the_layer_at_fault_is_found(bench: Bench, mutant: Mutant) -> None:
    outcome = bench.examine(mutant)
    assert outcome.localisation
    if outcome.localisation.problem:  # what cannot be loaded has no layers
        assert mutant.title in UNREADABLE or not outcome.effect
        return
    assert outcome.localised, outcome.localisation.culprit


@pytest.mark.parametrize("mutant", tiered(SAID_TO_PASS, sample(SAID_TO_PASS, excuse)), ids=title)
def test_what_is_said_to_pass_does_pass_and_is_another_artifact(bench: Bench, mutant: Mutant) -> None:
    """One that is caught by now is to be taken out of UNCAUGHT."""
    outcome = bench.examine(mutant)
    assert outcome.said == ""
    assert outcome.effect
    assert outcome.effect.own_db < 300


def test_the_mutants_are_of_every_target_and_precision() -> None:
    assert {one.artifact for one in EVERY} == {conversion.name for conversion in plan(find())} == set(PLACES)
    assert len(EVERY) >= 300


def test_the_sample_has_every_artifact_and_every_reason_and_is_a_part_only() -> None:
    chosen = sample(CAUGHT, artifact, because)
    examined = [mutant for mutant in CAUGHT if mutant.title in chosen]
    assert {mutant.artifact for mutant in examined} == set(PLACES)
    assert {mutant.because for mutant in examined} == {mutant.because for mutant in CAUGHT}
    assert {mutant.artifact.partition("/")[0] for mutant in examined if mutant.localisable} == set(localise.readable())
    assert len(chosen) < len(CAUGHT) / 4


def test_no_mutant_is_there_twice_and_none_that_is_said_to_pass_is_missing() -> None:
    titles = Counter(one.title for one in EVERY)
    assert [name for name, count in titles.items() if count > 1] == []
    assert set(UNCAUGHT) <= set(titles)


def test_every_layer_is_a_module_of_the_network() -> None:
    modules = dict(network(10).named_modules())
    assert {one.layer for one in EVERY if one.layer} <= set(modules)


def test_every_mutant_says_why_it_must_be_caught() -> None:
    assert [one.title for one in EVERY if not one.because] == []
