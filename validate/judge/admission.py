"""Decides whether a run can be judged: golden that says something, labels that fit, no artifact of unknown origin.

    warnings = check(run, golden)              # raises BadInput where parity would prove nothing

Parity on outputs that are constant, or on three images, is a pass that means nothing: refused before anything is run.
"""

from collections.abc import Iterable

import numpy as np

from export.artifact import Artifact
from export.interfaces import Interface, foreign
from export.run import RECORDS, Run
from measures import tasks
from measures.signal import SAMPLES, weakness
from records.errors import AGAIN, BadInput, shortened
from records.golden import Golden
from records.sealed import fingerprints
from records.tensor import Arrays


def check(run: Run, golden: Golden) -> list[str]:
    """Return warnings of the whole. Raises BadInput where parity would prove nothing."""
    task = tasks.load(run.checkpoint.task)
    if why := weakness(golden, task, run.checkpoint.labels, f"run {run.name}"):
        raise BadInput(why)
    _check_distinct(run, golden)
    _check_folder(run)
    _check_calibration(run, golden)
    decisions = task.decide(golden.outputs)
    if decisions.size and len(np.unique(decisions)) < 2:
        return ["PyTorch itself decides for one class on all golden inputs: agreement proves nothing here"]
    return []


def _check_distinct(run: Run, golden: Golden) -> None:
    """Check that there are enough golden samples unlike each other: the same one twice proves nothing more."""
    count = len(set(marks(golden.inputs, [tensor.name for tensor in run.checkpoint.inputs])))
    if count < SAMPLES:
        raise BadInput(
            f"golden of run {run.name}: {count} different samples of {len(next(iter(golden.inputs.values())))}; parity "
            f"needs {SAMPLES}. {AGAIN}."
        )


def _check_folder(run: Run) -> None:
    """Check that every artifact was asked for, so that its origin is known. Raises BadInput."""
    folder, expected = run.folder / "artifacts", set(run.expected())
    for target in sorted(folder.iterdir()) if folder.is_dir() else []:
        if target.name in RECORDS or target.name.startswith("."):
            continue
        inside = sorted(target.iterdir()) if target.is_dir() else [target]  # empty, where the conversion failed
        for place in inside:
            name = str(place.relative_to(folder))
            if name not in expected and not place.name.startswith("."):
                raise BadInput(
                    f"{place}: no conversion of this run made it, so nothing says what it is. Remove it, or convert "
                    f"it: anywhere export {run.name}."
                )


def _check_calibration(run: Run, golden: Golden) -> None:
    """Check that no golden sample set an integer range. Raises BadInput."""
    names = [tensor.name for tensor in run.checkpoint.inputs]
    calibration = marks(run.checkpoint.calibration(), names)
    if count := shared(calibration, marks(golden.inputs, names)):
        raise BadInput(
            f"calibration of run {run.name}: {count} of its {len(calibration)} images are golden, too, so "
            f"integers would be judged on what set their ranges. {AGAIN}."
        )


def marks(arrays: Arrays, names: Iterable[str]) -> list[str]:
    """Return a mark of each sample of (N, …), by what it has of all inputs of these names together."""
    return ["".join(each) for each in zip(*(fingerprints(arrays[name]) for name in names), strict=True)]


def check_provenance(run: Run, artifact: Artifact, interface: Interface) -> None:
    """Check that all that a runtime reads of an artifact is hashed, and that its ranges were set by this checkpoint's
    calibration. Raises BadInput.

    interface: what its file says of itself.
    """
    if beside := foreign(artifact, interface):
        raise BadInput(
            f"artifact {artifact.folder}: {artifact.entry} names {shortened(beside[0])}, which is none of its files. "
            f"Convert it again: anywhere export --force {run.name}."
        )
    calibration = run.checkpoint.calibration()
    for name, samples in (artifact.integers.calibration_sha256 if artifact.integers else {}).items():
        if samples != fingerprints(calibration[name]):
            raise BadInput(
                f"artifact {artifact.folder}: its ranges were set by other samples than {run.checkpoint.folder} has "
                f"for calibration. Convert it again: anywhere export --force {run.name}."
            )


def shared(first: Iterable[str], second: Iterable[str]) -> int:
    """Return how many of the first are among the second."""
    members = set(second)
    return sum(item in members for item in first)
