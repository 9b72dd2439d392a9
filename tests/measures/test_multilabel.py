"""Several labels of an image: what is decided of each, and mean average precision as scikit-learn has it."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from measures import flags
from measures.confidence import fall_of
from measures.distance import NOTHING, agreement
from measures.tasks import load, multilabel
from measures.tasks.multilabel import UNKNOWN, UNSAID
from records.golden import Golden
from records.tensor import Array

LABELS = ("cat", "dog", "hen", "cow", "pig")


def samples(count: int = 120, seed: int = 0) -> tuple[dict[str, Array], dict[str, Array]]:
    """Logits that are mostly right, and what is right."""
    random = np.random.default_rng(seed)
    present = (random.random((count, len(LABELS))) < [0.1, 0.3, 0.5, 0.7, 0.2]).astype(np.uint8)
    logits = (2.0 * present - 1 + random.normal(0, 1.2, present.shape)).astype(np.float32)
    return {"logits": logits}, {"present": present}


@pytest.mark.parametrize("decimals", [7, 1, 0])
def test_average_precision_is_scikit_learns_with_and_without_equal_logits(decimals: int) -> None:
    outputs, truth = samples()
    logits = outputs["logits"].round(decimals)
    expected = [average_precision_score(truth["present"][:, label], logits[:, label]) for label in range(len(LABELS))]
    assert multilabel.average_precision(logits, truth["present"]) == pytest.approx(expected, abs=1e-12)
    assert multilabel.score({"logits": logits}, truth) == pytest.approx(np.mean(expected), abs=1e-12)


def test_f1_is_that_of_all_decisions_together() -> None:
    outputs, truth = samples()
    expected = f1_score(truth["present"], outputs["logits"] > 0, average="micro")
    assert multilabel.scores(outputs, truth)["F1"] == pytest.approx(expected)


def test_a_class_that_no_sample_has_counts_nowhere() -> None:
    outputs, truth = samples()
    truth["present"][:, 2] = 0
    each = multilabel.average_precision(outputs["logits"], truth["present"])
    assert np.isnan(each[2])
    assert multilabel.score(outputs, truth) == pytest.approx(np.delete(each, 2).mean())
    assert np.isnan(multilabel.score(outputs, {"present": np.zeros_like(truth["present"])}))


def test_what_is_unknown_counts_nowhere() -> None:
    outputs, truth = samples()
    unknown = {"present": truth["present"].copy()}
    unknown["present"][:40, 1] = UNKNOWN
    known = {name: values[40:] for name, values in (outputs | truth).items()}
    expected = multilabel.average_precision(outputs["logits"], truth["present"])
    expected[1] = average_precision_score(known["present"][:, 1], known["logits"][:, 1])
    assert multilabel.average_precision(outputs["logits"], unknown["present"]) == pytest.approx(expected)
    wrong = {"logits": outputs["logits"].copy()}
    wrong["logits"][:40, 1] *= -1
    assert multilabel.scores(wrong, unknown) == multilabel.scores(outputs, unknown)


def test_a_class_is_there_whose_logit_is_above_0() -> None:
    logits = np.array([[0.1, -0.1, 0.0], [np.nan, 3.0, -np.inf]], np.float32)
    assert multilabel.decide({"logits": logits}).tolist() == [[0, NOTHING, NOTHING], [-1, 1, -1]]
    assert multilabel.margin({"logits": logits[:1]}).tolist() == [pytest.approx([0.1, 0.1, 0.0])]
    truth = {"present": np.array([[1, 0, UNKNOWN]], np.uint8)}
    assert multilabel.labelled(truth).tolist() == [[0, NOTHING, UNSAID]]
    assert set(multilabel.labelled(truth).ravel().tolist()) <= set(multilabel.names(LABELS))


def test_classes_that_are_not_there_are_nothing_to_agree_on() -> None:
    golden = multilabel.decide({"logits": np.array([[2.0, -2.0, -2.0, -2.0]])})
    assert agreement(multilabel.decide({"logits": np.array([[2.0, 2.0, -2.0, -2.0]])}), golden) == 0.5


def test_a_class_that_is_never_found_is_named() -> None:
    outputs, _ = samples()
    lost = outputs["logits"].copy()
    lost[:, 3] = -1
    decided = multilabel.decide({"logits": lost})
    (flag,) = flags.decisions(decided, multilabel.decide(outputs), np.zeros(lost.shape, bool), multilabel.names(LABELS))
    assert "class cow is never decided for" in flag


def test_a_fall_is_measured_on_groups_of_samples() -> None:
    outputs, truth = samples(256)
    worse = {"logits": outputs["logits"] + np.random.default_rng(1).normal(0, 3, outputs["logits"].shape)}
    fall = fall_of(load("multilabel"), outputs, worse, truth)
    assert fall.value == pytest.approx(multilabel.score(outputs, truth) - multilabel.score(worse, truth))
    assert fall.sure > 0.05


def weakness(outputs: dict[str, Array], truth: dict[str, Array], labels: Any = LABELS) -> str:
    return multilabel.weakness(Golden({}, outputs, outputs, truth), labels)


def test_samples_that_prove_nothing_are_told() -> None:
    outputs, truth = samples()
    assert weakness(outputs, truth) == ""
    assert weakness(outputs, {}) == ""
    assert "finds the same 0 of 5 classes in all 120 samples" in weakness({"logits": outputs["logits"] - 99}, truth)
    assert "finds the same 5 of 5 classes" in weakness({"logits": outputs["logits"] + 99}, truth)
    assert "5 values, but 2 labels" in weakness(outputs, truth, ("cat", "dog"))
    assert "no class is in some of 120 samples" in weakness(outputs, {"present": np.ones_like(truth["present"])})
    assert "present has the value 7" in weakness(outputs, {"present": truth["present"] * 7})
    assert "one for each class" in weakness(outputs, {"present": truth["present"][:, :3]})


def test_what_is_there_is_said_and_drawn() -> None:
    outputs = {"logits": np.array([0.5, -1.0, 3.0, -2.0, -3.0], np.float32)}
    assert multilabel.told(outputs, LABELS) == ["hen 0.95", "cat 0.62"]
    picture = np.zeros((64, 64, 3), np.uint8)
    drawn = multilabel.draw(picture, outputs, LABELS)
    assert drawn[:30].any()
    assert not drawn[30:].any()
    assert not multilabel.draw(picture, {"logits": -np.ones(5, np.float32)}, LABELS).any()
