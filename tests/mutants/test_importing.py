"""The validator's examination by a faulty importer: every fault is caught for its reason."""

from collections.abc import Iterator

import pytest

from tests.mutants.bench import Bench, Mutant
from tests.mutants.importing import CONTROLS, MODEL, MUTANTS, TARGETS
from tests.mutants.test_mutants import title
from tests.mutants.workplace import prepare

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    place = tmp_path_factory.mktemp("importing")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        with Bench(prepare(place, MODEL, TARGETS)) as found:
            yield found


@pytest.mark.parametrize("control", CONTROLS, ids=title)
def test_what_is_imported_without_a_fault_is_no_mutant(bench: Bench, control: Mutant) -> None:
    outcome = bench.examine(control)
    assert outcome.said == ""
    assert outcome.effect
    assert outcome.effect.own_db > 120


@pytest.mark.parametrize("mutant", MUTANTS, ids=title)
def test_a_fault_of_the_importer_is_caught_for_its_reason(bench: Bench, mutant: Mutant) -> None:
    outcome = bench.examine(mutant)
    assert outcome.caught, outcome.effect
    assert mutant.because in outcome.said
