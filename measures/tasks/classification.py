"""One label per image: the greatest logit decides."""

from collections.abc import Mapping
from typing import Any

import numpy as np

METRIC = "accuracy"


def decide(outputs: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Logits (N, K) → class (N,) int64; -1 where a logit is no number, which agrees with no class."""
    logits = outputs["logits"]
    return np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), -1)


def margin(outputs: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Logits (N, K) → the greatest less the second greatest (N,)."""
    two = np.sort(outputs["logits"], axis=1)[:, -2:]
    return np.asarray(two[:, -1] - two[:, 0])


def score(decisions: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """Classes (N,), labels (N,) → share that is right."""
    return float((decisions == labels).mean())
