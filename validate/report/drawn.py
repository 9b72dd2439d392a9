"""What PyTorch decides drawn on a sample, and beside it what an artifact decides: of each row its worst samples.

    drawn = draw(report, run)
    drawn["tflite/int8 in litert xnnpack"][0].actual           # a JPEG file

A task draws, so there is nothing for one that decides what cannot be drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from export.run import Run
from measures import tasks
from records.golden import Golden, flat
from records.tensor import Array, Tensor
from validate.measure import outputs_file
from validate.report import sentences
from validate.report.pictures import jpeg, pixels
from validate.report.records import Report, Result, Sample

EACH = 3
"""Samples of a row that are drawn, at most."""
BYTES = 2_000_000
"""Size of all of them on a page, at most, as files: as text they are a third more."""
TOLD = 6
"""Decisions of a sample that are told in words, the surest."""


@dataclass(frozen=True)
class Drawn:
    """One sample, twice."""

    sample: Sample
    golden: bytes
    """PyTorch's decision drawn on the picture, a JPEG file."""
    actual: bytes
    """The artifact's."""
    words: tuple[str, str]
    """Both in words."""

    @property
    def size(self) -> int:
        """Return the bytes of both files."""
        return len(self.golden) + len(self.actual)


def image_of(inputs: Sequence[Tensor]) -> Tensor | None:
    """Return the input that is a picture; None: the model takes none."""
    return next((tensor for tensor in inputs if tensor.layout == "NCHW" and tensor.channels == "RGB"), None)


def draw(report: Report, run: Run, golden: Golden) -> dict[str, list[Drawn]]:
    """Return the worst samples of each row by its name, drawn; every row's worst first, as long as there is room.

    A row whose outputs are not there any more, or were measured anew since, has none, nor has a sample on which nothing
    is drawn.
    """
    image = image_of(run.checkpoint.inputs)
    if image is None:
        return {}
    written = datetime.fromisoformat(report.created).timestamp()
    found: dict[str, list[Drawn]] = {}
    room = BYTES
    for place in range(EACH):
        for result in sentences.ordered(report.results):
            drawn = _drawn(result, place, run, golden, golden.inputs[image.name], written)
            if drawn and drawn.size <= room:
                found.setdefault(result.name, []).append(drawn)
                room -= drawn.size
    return found


def _drawn(result: Result, place: int, run: Run, golden: Golden, pictures: Array, written: float) -> Drawn | None:
    """Return a row's sample of that place among its worst; None: there is nothing to draw."""
    if place >= len(result.worst) or not result.log:
        return None
    sample, task, labels = result.worst[place], tasks.load(run.checkpoint.task), run.checkpoint.labels
    file = outputs_file(run, result.log)
    if not file.is_file() or file.stat().st_mtime >= written + 1:  # `created` is in whole seconds
        return None
    actual = _outputs(file, sample.index, golden.outputs)
    if actual is None:
        return None
    expected = {name: values[sample.index] for name, values in golden.outputs.items()}
    picture = pixels(pictures[sample.index])
    both = [task.draw(picture, outputs, labels) for outputs in (expected, actual)]
    if all(np.array_equal(drawn, picture) for drawn in both):
        return None
    words = [", ".join(task.told(outputs, labels)[:TOLD]) or "nothing" for outputs in (expected, actual)]
    return Drawn(sample, jpeg(both[0]), jpeg(both[1]), (words[0], words[1]))


def _outputs(file: Path, index: int, golden: Mapping[str, Array]) -> dict[str, Array] | None:
    """Return what a row's runtime gave for a sample, (…) by name; None: that is not there, or of another shape."""
    try:
        with safe_open(file, "numpy") as arrays:
            found = {
                name: arrays.get_slice(key)[index : index + 1]
                for name, key in zip(golden, flat({"golden": golden}), strict=True)
            }
    except (OSError, SafetensorError):
        return None
    fits = all(found[name].shape == (1, *values.shape[1:]) for name, values in golden.items())
    return {name: values[0] for name, values in found.items()} if fits else None
