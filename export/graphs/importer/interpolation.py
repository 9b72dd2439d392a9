"""Which old pixels a new one is made of when an axis is resized, and how much each counts."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from records.tensor import Array


@dataclass(frozen=True)
class Axis:
    """How one axis is resized."""

    before: int
    after: int
    scale: float
    """after by before, as the model says it, which is not always the sizes' ratio."""
    start: float = 0.0
    end: float = 1.0
    """Of the part that `tf_crop_and_resize` takes."""


@dataclass(frozen=True)
class Rule:
    """What is the same for all axes."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    exclude_outside: bool
    antialias: bool
    outside: float
    """For `tf_crop_and_resize`."""


def coordinates(axis: Axis, rule: Rule) -> Array:
    """Return (after,) float64: where in the old axis each new place lies.

    Corners are aligned over the pixels that there are, as PyTorch and ONNX Runtime do it; ONNX's own reference does it
    over scale × before, which need not be a whole number.
    """
    new = np.arange(axis.after, dtype=np.float64)
    match rule.coordinates:
        case "asymmetric":
            return new / axis.scale
        case "align_corners":
            return new * (axis.before - 1) / max(axis.after - 1, 1)
        case "pytorch_half_pixel" if axis.after <= 1:
            return new * 0
        case "half_pixel_symmetric":
            moved = axis.before / 2 * (1 - axis.after / (axis.scale * axis.before))
            return moved + (new + 0.5) / axis.scale - 0.5
        case "tf_crop_and_resize":
            first, last = axis.start * (axis.before - 1), axis.end * (axis.before - 1)
            return first + new * (last - first) / (axis.after - 1) if axis.after > 1 else new * 0 + (first + last) / 2
    return (new + 0.5) / axis.scale - 0.5


ROUNDING: dict[str, Callable[[Any, Any], Any]] = {
    "round_prefer_floor": lambda place, maths: maths.ceil(place - 0.5),
    "round_prefer_ceil": lambda place, maths: maths.floor(place + 0.5),
    "floor": lambda place, maths: maths.floor(place),
    "ceil": lambda place, maths: maths.ceil(place),
}
"""ONNX's `nearest_mode` → the pixel of a place, by numpy or by TensorFlow's functions of the same names."""


def places(axis: Axis, rule: Rule) -> Array:
    """Return (after,) int: which old pixel each new one is."""
    rounded = ROUNDING[rule.nearest](coordinates(axis, rule), np)
    return np.asarray(rounded.clip(0, axis.before - 1).astype(np.int64))


def weights(axis: Axis, rule: Rule) -> tuple[Array, Array]:
    """Return (after, before) float64, and (after,) bool: true for places outside of all old ones."""
    place = coordinates(axis, rule)
    shrink = min(axis.scale, 1.0) if rule.antialias else 1.0
    support = (1 if rule.mode == "linear" else 2) / shrink
    matrix = np.zeros((axis.after, axis.before))
    for row, centre in enumerate(place):
        taps = np.arange(math.floor(centre - support) + 1, math.ceil(centre + support) + 1)
        parts = shares((taps - centre) * shrink, rule)
        inside = (taps >= 0) & (taps < axis.before)
        if rule.exclude_outside:
            parts = parts * inside
        if parts.sum():
            parts = parts / parts.sum()
        np.add.at(matrix[row], taps.clip(0, axis.before - 1), parts)
    beyond = (place < 0) | (place > axis.before - 1)
    return matrix, beyond if rule.coordinates == "tf_crop_and_resize" else np.zeros_like(beyond)


def shares(apart: Any, rule: Rule, maths: Any = np) -> Any:
    """Return how much a pixel counts that lies so far away; cubic: R. Keys, 1981, with a = `cubic_coeff_a`.

    maths: numpy, or TensorFlow's functions of the same names.
    """
    far, a = maths.abs(apart), rule.cubic
    none = far * 0
    if rule.mode == "linear":
        return maths.maximum(1 - far, none)
    near = ((a + 2) * far - (a + 3)) * far * far + 1
    next_to = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    return maths.where(far <= 1, near, maths.where(far < 2, next_to, none))
