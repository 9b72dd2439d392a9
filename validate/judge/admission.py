"""Whether a run can be judged at all: golden that says something, labels that fit, no artifact of unknown origin.

    warnings = check(run, golden)              # raises BadInput where parity would prove nothing

Parity on outputs that are constant, or on three images, is a pass that means nothing: refused before anything is run.
"""

from collections.abc import Iterable

import numpy as np

from export.artifact import Artifact
from export.run import EXPECTED, KEPT, Run
from measures import tasks
from measures.distance import varies
from records.errors import BadInput
from records.golden import Golden
from records.sealed import fingerprints
from records.tensor import Array
from validate.judge.judge import floor_of

SAMPLES = 16
"""Golden inputs that parity needs at least: one changed decision of fewer says nothing about a hundredth."""
NEAR_ZERO = 1e-6
"""Outputs below this vanish in float16, whose least normal number is 6e-5."""
SIGNAL = 1e4
"""Noise floors that outputs vary by from input to input, at least: less is noise. On thirteen networks 10⁵ to 10⁷."""


def check(run: Run, golden: Golden) -> list[str]:
    """Raises BadInput; → warnings of the whole."""
    retrain = "Train again: anywhere train --force."
    where, labels = f"run {run.name}", golden.truth["labels"]
    if len(labels) < SAMPLES:
        raise BadInput(
            f"golden of {where}: {len(labels)} samples; parity needs {SAMPLES}. Hold out more images, or a greater "
            "data.golden, and train again."
        )
    if len(np.unique(labels)) < 2:
        raise BadInput(
            f"golden of {where}: all {len(labels)} labels are one class, so a broken artifact could be right on all. "
            "Hold out images of every class and train again."
        )
    classes = len(run.checkpoint.labels)
    if labels.min() < 0 or labels.max() >= classes:
        raise BadInput(
            f"golden of {where}: label {int(labels.max())}, but there are {classes} classes "
            f"({', '.join(run.checkpoint.labels[:5])}…). {retrain}"
        )
    for tensor in run.checkpoint.outputs:
        values = golden.outputs[tensor.name]
        _check_output(f"golden {tensor.name} of {where}", values, golden.oracle[tensor.name])
        if tensor.layout == "NK" and values.shape[1] != classes:
            raise BadInput(
                f"golden {tensor.name} of {where}: {values.shape[1]} values, but {classes} labels. {retrain}"
            )
    _check_folder(run)
    _check_calibration(run, golden)
    if len(np.unique(tasks.load(run.checkpoint.task).decide(golden.outputs))) < 2:
        return ["PyTorch itself decides for one class on all golden inputs: agreement proves nothing here"]
    return []


def _check_output(what: str, values: Array, oracle: Array) -> None:
    if not np.isfinite(values).all():
        raise BadInput(f"{what}: has values that are no numbers. Train again: anywhere train --force.")
    if not varies(values):
        raise BadInput(
            f"{what}: the same for every input, so parity would prove nothing. Train longer, or another model."
        )
    greatest = float(np.abs(values).max())
    if greatest < NEAR_ZERO:
        raise BadInput(
            f"{what}: nothing beyond {greatest:.1e}, so everything is near it and parity would prove nothing. Train "
            "longer, or another model."
        )
    variation, floor = float(np.ptp(values, axis=0).max()), floor_of(values, oracle)
    if variation < SIGNAL * floor:
        raise BadInput(
            f"{what}: varies by {variation:.1e} from input to input, {variation / floor:.0f} noise floors "
            f"({SIGNAL:.0f} needed), so parity would compare noise. Train longer, or another model."
        )


def _check_folder(run: Run) -> None:
    """Nothing lies among the artifacts that no conversion of ours was asked for."""
    folder, known = run.folder / "artifacts", set(run.expected())
    for target in sorted(folder.iterdir()) if folder.is_dir() else []:
        if target.name in {EXPECTED, KEPT} or target.name.startswith("."):
            continue
        inside = sorted(target.iterdir()) if target.is_dir() else [target]  # empty, where the conversion failed
        for place in inside:
            name = str(place.relative_to(folder))
            if name not in known and not place.name.startswith("."):
                raise BadInput(
                    f"{place}: no conversion of this run made it, so nothing says what it is. Remove it, or convert "
                    f"it: anywhere export {run.name}."
                )


def _check_calibration(run: Run, golden: Golden) -> None:
    """No golden image set an integer range."""
    calibration = run.checkpoint.calibration()
    for tensor in run.checkpoint.inputs:
        name = tensor.name
        both = shared(fingerprints(calibration[name]), fingerprints(golden.inputs[name]))
        if both:
            raise BadInput(
                f"calibration of run {run.name}: {both} of its {len(calibration[name])} images are golden, too, so "
                "integers would be judged on what set their ranges. Train again: anywhere train --force."
            )


def check_provenance(run: Run, artifact: Artifact) -> None:
    """The ranges of an artifact were set by this checkpoint's calibration. Raises BadInput."""
    calibration = run.checkpoint.calibration()
    for name, marks in artifact.details.get("calibration_sha256", {}).items():
        if marks != fingerprints(calibration[name]):
            raise BadInput(
                f"artifact {artifact.folder}: its ranges were set by other samples than {run.checkpoint.folder} has "
                f"for calibration. Convert it again: anywhere export --force {run.name}."
            )


def shared(first: Iterable[str], second: Iterable[str]) -> int:
    """How many of the first are among the second."""
    known = set(second)
    return sum(one in known for one in first)
