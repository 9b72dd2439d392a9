"""Mutants of a detector and of a segmentation model: decoding, suppression and masks broken on purpose.

    folder = prepare(Path("/tmp/finding"), "detection")         # …/runs/detection, adopted and exported

What a converter, or whoever writes the decoding of an app anew, gets wrong: another function of the same weights, taken
to each format by the project's own conversion, under a manifest that is in order.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

import anywhere
from export.target import find, plan
from pipeline.config import DataConfig
from pipeline.datasets import scenes
from pipeline.datasets.scenes import Scenes
from tests.kept import bring
from tests.mutants import finders
from tests.mutants.bench import Change, Mutant, Opened
from tests.mutants.catalogue import of

BOXES = "decisions differ from golden's"
DETECTION = {
    "boxes as corner and size": "boxes",
    "boxes as centre and size": BOXES,
    "boxes from 0 to 1": BOXES,
    "x and y swapped": "boxes",
    "boxes half a pixel off": "boxes",
    "labels one too great": BOXES,
    "two classes swapped": BOXES,
    "the background is a class": BOXES,
    "a softmax over things alone": "scores",
    "a sigmoid for the softmax": "scores",
    "no suppression": BOXES,
    "suppression across classes": BOXES,
    "suppressed from 0.5, not 0.55": BOXES,
    "a higher threshold of scores": BOXES,
    "room for half as many boxes": BOXES,
    "one box more than there is": BOXES,
    "as many boxes as there is room for": BOXES,
    "anchors a tenth larger": "boxes",
    "anchors of the other order": "boxes",
    "sizes coded by another scale": "boxes",
    "boxes that leave the picture": "boxes",
    "another mean": "scores",
    "BGR for RGB": "scores",
}
"""Mutant → what must be among the reasons."""
SEGMENTATION = {
    "a mask half a pixel off": "logits",
    "decided before it is resized": "logits",
    "corners aligned": "logits",
    "nearest pixel": "logits",
    "one class lost": "logits",
    "classes one place on": "logits",
    "rows and columns swapped": "logits",
    "a softmax at the end": "logits",
    "another mean": "logits",
    "BGR for RGB": "logits",
}
TABLES = {"detection": DETECTION, "segmentation": SEGMENTATION}
TARGETS = ("onnx/float32", "torchscript/float32", "saved_model/float32", "tflite/float32")
ELSEWHERE = TARGETS[1:]
"""Formats of which each has a part of the mutants; ONNX has all."""


def write_pictures(folder: Path, task: str, count: int) -> None:
    """Scenes as PNG files."""
    split = scenes.read(DataConfig("scenes", image_size=finders.SIDE), task).test
    assert isinstance(split, Scenes)
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(split.scene(number).picture).save(folder / f"{number:02}.png")


def prepare(place: Path, task: str, targets: Collection[str] = TARGETS) -> Path:
    """A run in `place/runs`, adopted and exported the first time, then from the cache."""
    conversions = [one for one in plan(find()) if one.name in targets]
    bring(task, {"task": task}, place, conversions, [Path(finders.__file__), Path(__file__)], adopted)
    return place / "runs" / task


def adopted(run: str, values: Mapping[str, Any]) -> None:
    """A model of finders.py, with scenes as samples."""
    task = values["task"]
    write_pictures(Path("pictures"), task, 60)
    anywhere.adopt(
        finders.MADE[task](), images="pictures", task=task, size=(finders.SIDE, finders.SIDE), run=run,
        labels=finders.NAMES[task], mean=finders.MEAN, deviation=finders.DEVIATION, golden=24, calibration=8,
        tell=lambda _: None,
    )  # fmt: skip


def broken(alteration: str, task: str) -> Change:
    """Converted anew, of an altered model."""

    def change(opened: Opened) -> None:
        target, checkpoint = opened.artifact.target, str(opened.run.checkpoint.folder.absolute())
        out = str(opened.artifact.folder.absolute())
        known = {"alteration": alteration, "task": task, "checkpoint": checkpoint}
        if target in {"onnx", "torchscript"}:
            opened.call("finding.py", "convert", **known, target=target, out=out)
            return
        source = opened.scratch / "altered"
        source.mkdir(exist_ok=True)
        opened.call("finding.py", "convert", **known, target="onnx", out=str(source.absolute()))
        good = str((opened.scratch / "good" / "saved_model/float32").absolute())
        file = str((source / "model.onnx").absolute())
        opened.call(
            "imported.py", "convert", fault="nothing", source=file, checkpoint=checkpoint, good=good,
            target=target, out=out, name=alteration,
        )  # fmt: skip

    return change


def mutants(task: str) -> tuple[Mutant, ...]:
    """All of them in ONNX, and each in one more format."""
    found = []
    for number, (name, because) in enumerate(TABLES[task].items()):
        change = broken(name, task)
        found += [of(name, artifact, change, because) for artifact in (TARGETS[0], ELSEWHERE[number % len(ELSEWHERE)])]
    return tuple(found)


def controls(task: str) -> tuple[Mutant, ...]:
    """Nothing broken."""
    return tuple(of("nothing", artifact, broken("nothing", task), "") for artifact in TARGETS)
