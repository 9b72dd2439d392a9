"""One row of the table: what became of a network, kept as JSON beside the others so that a run can go on later.

row = read(Path("runs/zoo/rows/resnet18.json"))
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

TARGETS = ("onnx", "saved_model", "tflite", "tfjs")
"""What is exported, each from the one before it, or from the SavedModel."""
RUNTIMES = {
    "saved_model in tensorflow onednn": "TensorFlow oneDNN",
    "saved_model in tensorflow plain": "TensorFlow plain",
    "tflite in litert xnnpack": "LiteRT XNNPACK",
    "tflite in litert builtin": "LiteRT builtin",
    "tflite in tflite_runtime": "tflite_runtime",
    "tfjs in node wasm": "TF.js wasm",
}
"""Where it has to be the same network: name of validate's row → heading of the table."""
ONE_BY_ONE = "one_by_one"
"""The way of a SavedModel that computes a batch image by image."""


@dataclass(frozen=True)
class Row:
    """One network; what was not reached is missing."""

    name: str
    source: str
    """torchvision, timm or own."""
    size: int
    """Height and width of its input in pixels."""
    parameters: int = 0
    floor_db: float | None = None
    """SQNR of PyTorch's own float32 against float64: what no runtime can be expected to exceed."""
    way: str = ""
    """What made the SavedModel, by its manifest."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Of each conversion, by target."""
    transposes: int | None = None
    """Operators of the SavedModel's graph that only turn a tensor's axes."""
    sqnr_db: Mapping[str, float | None] = field(default_factory=dict)
    """By validate's row; None: a value is no number, or it did not run."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of packages, by name, and of runtimes, by validate's row."""
    problems: tuple[str, ...] = ()
    """Why it is not green, the first cause first."""

    @property
    def green(self) -> bool:
        """True if every target was made, for any batch, and every runtime passed."""
        return not self.problems


def judged(row: Row) -> Row:
    """Return the row, with a problem for each thing that is missing and that none of its problems says.

    Where a target was not made, that says why no runtime has run it.
    """
    missing = [f"{target}: was not made" for target in TARGETS if target not in row.seconds]
    missing += [
        f"{name}: was not compared"
        for name in RUNTIMES
        if name.partition(" ")[0] in row.seconds and row.sqnr_db.get(name) is None
    ]
    if row.way == ONE_BY_ONE:
        missing.append("saved_model: a batch is computed image by image")
    said = {problem.partition(":")[0] for problem in row.problems}
    new = [problem for problem in missing if problem.partition(":")[0] not in said]
    return dataclasses.replace(row, problems=(*row.problems, *new))


def write(row: Row, path: Path) -> None:
    """Put it in its place as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(dataclasses.asdict(row), indent=1))
    new.rename(path)


def read(path: Path) -> Row:
    """Undo `write`."""
    values = json.loads(path.read_text())
    return Row(**{**values, "problems": tuple(values["problems"])})
