"""How sure a fall is: by each sample's own change, and by their number."""

import numpy as np
import pytest

from measures.confidence import Fall, fall_of
from measures.tasks import classification


def scores(labels: np.ndarray, wrong: set[int]) -> dict[str, np.ndarray]:
    """Logits that decide for the labels but there."""
    decided = np.array([(label + (index in wrong)) % 3 for index, label in enumerate(labels)])
    return {"logits": np.eye(3, dtype=np.float32)[decided]}


def test_what_is_lost_and_gained_alike_is_no_fall_and_less_sure_than_what_is_lost_alone() -> None:
    labels = np.arange(200) % 3
    truth = {"labels": labels}
    first, *others = ({*range(10)}, {*range(10, 20)}, {*range(12)})
    even = fall_of(classification, scores(labels, first), scores(labels, others[0]), truth)
    assert (even.value, even.sure) == (0, 0)
    alone = fall_of(classification, scores(labels, set()), scores(labels, {1, 2}), truth)
    mixed = fall_of(classification, scores(labels, first), scores(labels, others[1] - {0}), truth)
    assert alone.value == pytest.approx(2 / 200)
    assert mixed.value == pytest.approx(1 / 200)
    assert 0 <= mixed.sure < alone.value


def test_the_number_that_would_tell_does_tell() -> None:
    fall = Fall(0.92, 0.9, 0.14, 100)
    assert fall.sure < 0.005
    enough = Fall(0.92, 0.9, 0.14, fall.needed(0.005))
    assert enough.sure == pytest.approx(0.005, rel=0.05)


def test_a_rise_is_no_fall() -> None:
    assert Fall(0.8, 0.9, 0.01, 50).sure == 0


def test_what_golden_is_worth_is_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def score(outputs: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> float:
        asked.append(len(truth["labels"]))
        return float((outputs["logits"].argmax(1) == truth["labels"]).mean())

    monkeypatch.setattr(classification, "score", score)
    labels = np.arange(7) % 3
    truth, golden = {"labels": labels}, scores(labels, {6})
    falls = [fall_of(classification, golden, scores(labels, {6, number}), truth) for number in range(5)]
    assert [fall.value for fall in falls] == pytest.approx([1 / 7] * 5)
    assert asked.count(7) == 6
    other = {"labels": (labels + 1) % 3}
    assert fall_of(classification, golden, scores(labels, {6, 0}), other).before == pytest.approx(1 / 7)
    assert asked.count(7) == 8
