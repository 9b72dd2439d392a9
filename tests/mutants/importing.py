"""Mutants by a faulty importer, of a network in which an axis that is taken for another has the same size.

SavedModels, and the TFLite files that are made of them: what an importer gets wrong is wrong in both.
"""

from collections.abc import Iterable

from tests.mutants.bench import Change, Mutant, Opened
from tests.mutants.catalogue import EXACT, VALUES, of

MODEL = "Stored"
"""Of network.py."""
TARGETS = ("onnx/float32", "saved_model/float32", "tflite/float32")
FAULTS = {
    "Softmax over another axis": VALUES,
    "ReduceMean over another axis": VALUES,
    "flattened as it is stored": VALUES,
    "a constant as it is stored": VALUES,
    "floor for ceil in pooling": VALUES,
    "padding counted in a mean": VALUES,
    "variance in one pass": EXACT,
}
"""What is broken → the measure that tells it."""


def imported(fault: str) -> Change:
    """Converted anew from the same ONNX file."""

    def change(opened: Opened) -> None:
        opened.call(
            "imported.py",
            "convert",
            fault=fault,
            source=str(opened.run.artifact("onnx/float32").path.absolute()),
            checkpoint=str(opened.run.checkpoint.folder.absolute()),
            good=str((opened.scratch / "good" / "saved_model/float32").absolute()),
            target=opened.artifact.target,
            out=str(opened.artifact.folder.absolute()),
        )

    return change


def mutants() -> Iterable[Mutant]:
    for artifact in ("saved_model/float32", "tflite/float32"):
        for fault, because in FAULTS.items():
            yield of(fault, artifact, imported(fault), because)


MUTANTS = tuple(mutants())
CONTROLS = tuple(of("nothing, imported anew", one, imported("nothing"), "") for one in TARGETS[1:])
