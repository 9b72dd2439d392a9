"""Outputs that vary little beside their noise prove nothing; of what is found in any place a little less is asked."""

import numpy as np
import pytest

from measures import tasks
from measures.signal import FOUND, SAMPLES, SIGNAL, weakness
from records.golden import Golden
from records.tensor import Array


def golden(task: str, floors: float) -> Golden:
    """Scores from 0 to 1 that vary by that many of their own noise floors, with what else the task gives."""
    random = np.random.default_rng(0)
    scores = random.random((SAMPLES, 4)).astype(np.float32)
    scores[:2, 0] = 0, 1
    outputs: dict[str, Array] = {"logits": scores}
    if task == "detection":
        corner = random.random((SAMPLES, 4, 2)).astype(np.float32) * 40
        outputs = {
            "boxes": np.concatenate([corner, corner + 20], axis=2),
            "scores": scores,
            "labels": np.zeros((SAMPLES, 4), np.int32),
            "count": np.full(SAMPLES, 4, np.int32),
        }
    name = "scores" if task == "detection" else "logits"
    oracle: dict[str, Array] = {key: values.astype(np.float64) for key, values in outputs.items()}
    oracle[name][0, 1] += 1 / floors
    return Golden({}, outputs, oracle, {})


@pytest.mark.parametrize(("task", "least"), [("regression", SIGNAL), ("detection", FOUND)])
def test_outputs_vary_by_so_many_noise_floors_at_least(task: str, least: float) -> None:
    said = weakness(golden(task, least / 2), tasks.load(task), ("a",), "run r")
    assert f"({least:.0f} needed), so parity would compare noise" in said
    assert weakness(golden(task, least * 2), tasks.load(task), ("a",), "run r") == ""
