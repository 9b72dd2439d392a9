"""What an artifact found is put in golden's order for whatever it was run on; golden's rivals are golden's alone."""

import numpy as np
import pytest

from measures import tasks
from measures.tasks import Fair
from records.golden import Actual, Golden, Patterns, Proof
from records.tensor import Array, Arrays
from tests.measures.test_boxes import FAIR, RIVAL, A, B, found, rivals
from validate.judge.pairing import paired


def twice(arrays: Arrays) -> dict[str, Array]:
    """Two samples alike."""
    return {name: np.concatenate([values, values]) for name, values in arrays.items()}


def test_rivals_are_of_golden_samples_alone() -> None:
    expected = twice(found(A, B))
    golden = Golden({}, expected, expected, {}, twice(rivals((RIVAL, A[1] - 5e-5))))
    proof = Proof(golden, patterns=Patterns({}, expected, expected, {}))
    swapped = found(B, (RIVAL, A[1] - 5e-5, A[2]))
    one = {"33": {name: values[:1] for name, values in twice(swapped).items()}}
    actual = Actual(
        golden=twice(swapped),
        together=swapped,
        again=swapped,
        alone=swapped,
        last=swapped,
        batches={f"33.{name}": values for name, values in one["33"].items()},
        pattern=twice(swapped),
    )
    ready, ties = paired(tasks.load("detection"), Fair(FAIR.noise, FAIR.thresholds), actual, proof, 2)
    assert ties.tolist() == [1, 1]
    batches = {name.partition(".")[2]: values for name, values in ready.batches.items()}
    for like in (ready.golden, ready.together, ready.again, ready.alone, ready.last, batches):
        assert like["boxes"][0, 0] == pytest.approx(np.array(A[0]), abs=1e-4)
    assert np.abs(ready.pattern["boxes"][0, 0] - np.array(A[0])).max() == pytest.approx(3)


def test_a_checkpoint_of_before_has_no_rivals() -> None:
    expected = found(A, B)
    golden = Golden.of(Golden({}, expected, expected, {}).arrays())
    assert not golden.rivals
    ready, ties = paired(tasks.load("detection"), FAIR, Actual(golden=found(B, A)), Proof(golden), 1)
    assert ties.tolist() == [0]
    assert np.array_equal(ready.golden["boxes"], expected["boxes"])
