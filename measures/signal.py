"""Judges whether held-out samples can prove anything: parity on constants, or on three images, means nothing.

why = weakness(checkpoint.golden(), tasks.load("classification"), checkpoint.labels, "run digits")
"""

from collections.abc import Sequence

import numpy as np

from measures.distance import floor_of, varies
from measures.tasks import Task
from records.errors import AGAIN
from records.golden import Golden
from records.tensor import Array

SAMPLES = 16
"""Golden inputs that parity needs at least: one changed decision of fewer says nothing about a hundredth."""
NEAR_ZERO = 1e-6
"""Outputs below this vanish in float16, whose least normal number is 6e-5."""
SIGNAL = 1e4
"""Noise floors that outputs vary by from input to input, at least: less is noise. On thirteen networks 10⁵ to 10⁷."""

FOUND = 1e3
"""The same of what is found in any place: what moves a box by a ten-thousandth of a pixel moves the edge of its mask,
where all of a probability may lie within one pixel. A Mask R-CNN with random weights had 6·10³."""


def weakness(golden: Golden, task: Task, labels: Sequence[str], where: str) -> str:
    """Say why parity on these samples would prove nothing, and what to do; empty: it would prove something.

    where: whose samples they are, for the sentence.
    """
    count = min(len(values) for values in golden.outputs.values())
    if count < SAMPLES:
        return (
            f"golden of {where}: {count} samples; parity needs {SAMPLES}. Hold out more images, or a greater "
            "data.golden, and train again, or adopt with more samples."
        )
    if why := task.weakness(golden, labels):
        return f"golden of {where}: {why}"
    for name, values in golden.outputs.items():
        if not task.IN_PLACE and not np.issubdtype(values.dtype, np.floating):  # as many things may be found in all
            continue
        if why := _of_output(values, golden.oracle[name], SIGNAL if task.IN_PLACE else FOUND):
            return f"golden {name} of {where}: {why}"
    return ""


def _of_output(values: Array, oracle: Array, least: float) -> str:
    if not np.isfinite(values).all():
        return f"has values that are no numbers. {AGAIN}."
    if not varies(values):
        return (
            "the same for every input, so parity would prove nothing. Train longer, or another model, or give other "
            "samples."
        )
    if not np.issubdtype(values.dtype, np.floating):
        return ""
    greatest = float(np.abs(values).max())
    if greatest < NEAR_ZERO:
        return (
            f"nothing beyond {greatest:.1e}, so everything is near it and parity would prove nothing. Train longer, or "
            "another model."
        )
    variation, floor = float(np.ptp(values, axis=0).max()), floor_of(values, oracle)
    if variation < least * floor:
        return (
            f"varies by {variation:.1e} from input to input, {variation / floor:.0f} noise floors ({least:.0f} "
            "needed), so parity would compare noise. Train longer, or another model."
        )
    return ""
