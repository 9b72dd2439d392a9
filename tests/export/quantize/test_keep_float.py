"""The fewest layers in float32 that meet the tolerance, and what they cost."""

from collections.abc import Collection

import numpy as np
import pytest

from export.quantize import keep_float
from export.quantize.keep_float import Score
from measures import tasks

CLASSES = tasks.load("classification")
WEIGHTS = {"a": 100, "b": 100_000, "c": 0, "d": 5_000}
NOISE_DB = {"a": 40.0, "b": 8.0, "c": 10.0, "d": 12.0}


def alone(layer: str) -> float:
    return NOISE_DB[layer]


def attempt(kept: Collection[str]) -> Score:
    """Noise of single layers adds up; a layer in float32 takes four times its bytes."""
    noise = sum(10 ** (-ratio / 10) for layer, ratio in NOISE_DB.items() if layer not in kept)
    size = sum(weights * (4 if layer in kept else 1) for layer, weights in WEIGHTS.items())
    return Score(float(-10 * np.log10(noise)) if noise else 300.0, 1.0, 64, size)


def test_the_fewest_layers_are_kept_the_most_harmful_for_their_size_first() -> None:
    found = keep_float.repair(WEIGHTS, alone, attempt)
    assert found.kept == ("c", "d", "b")
    assert found.after.meets
    assert not attempt(("c", "d")).meets
    assert found.before == attempt(())
    assert "3 of 4 layers stay in float32: SQNR on calibration samples" in found.sentence
    assert "size 0.11 → 0.42 MB" in found.sentence


def test_what_meets_the_tolerance_is_left_as_it_is() -> None:
    found = keep_float.repair({"a": 100}, alone, lambda kept: Score(40.0, 1.0, 64, 1))
    assert found.kept == ()


def test_where_no_layer_is_to_blame_it_says_so() -> None:
    with pytest.raises(ValueError, match="integers are not what is wrong"):
        keep_float.repair(WEIGHTS, alone, lambda kept: Score(20.0, 1.0, 64, 1))


def test_decisions_count_as_much_as_noise() -> None:
    assert not Score(40.0, 0.9, 64, 1).meets
    assert Score(40.0, 63 / 64, 64, 1).meets  # one sample is no hundredth
    assert not Score(float("nan"), 1.0, 64, 1).meets


def test_a_score_counts_decisions_and_survives_what_is_no_number() -> None:
    reference = {"logits": np.eye(4, dtype=np.float32)}
    turned = {"logits": np.eye(4, dtype=np.float32)[[0, 1, 3, 2]]}
    assert keep_float.score(turned, reference, CLASSES, 7) == Score(pytest.approx(0.0), 0.5, 4, 7)
    assert not keep_float.score({"logits": np.full((4, 4), np.nan, np.float32)}, reference, CLASSES, 7).meets


def test_halves_share_no_sample() -> None:
    first, second = keep_float.divided({"image": np.arange(7)})
    assert sorted([*first["image"], *second["image"]]) == list(range(7))
