"""Tries a model in every target without training, data or a run: which take it, and what blocks the others.

    outcomes = check("mypkg.nets:build", [parse("image:3x224x224")], wanted, targets, say=print)

The real conversions are made of random inputs, in a folder that is removed; each compares itself with PyTorch.
"""

from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace

import numpy as np

from export.convert import Outcome, convert
from export.run import Run
from export.target import Conversion
from pipeline import adopt
from records.errors import BadInput
from records.folder import Scratch
from records.tensor import Array

SAMPLES = 48
"""Random samples: as few as golden and calibration need."""
TYPES = ("float32", "int64", "int32", "bool", "uint8")
LARGEST = 10
"""Random integers are below this, which any table of embeddings has."""


@dataclass(frozen=True)
class Input:
    """An input as a user describes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    """Of one sample: without the axis of the batch."""

    def random(self, generator: np.random.Generator) -> Array:
        """Return `SAMPLES` random values of its type and shape: floats from 0 to 1."""
        shape = (SAMPLES, *self.shape)
        if self.dtype == "float32":
            return generator.random(shape, np.float32)
        return generator.integers(0, 2 if self.dtype == "bool" else LARGEST, shape).astype(self.dtype)


def parse(text: str) -> Input:
    """Return the input of `image:3x224x224` or `age:int64` or `tokens:int64:16`. Raises BadInput."""
    name, *parts = text.split(":")
    dtype = parts.pop(0) if parts and parts[0] in TYPES else "float32"
    sizes = parts[0].lower().replace("×", "x").split("x") if parts else []
    if len(parts) > 1 or not name or not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise BadInput(
            f"--input {text}: write name:SIZES of one sample, image:3x224x224, with a type before it if it is not "
            f"float32, age:int64 ({', '.join(TYPES)})."
        )
    return Input(name, dtype, tuple(int(size) for size in sizes))


def check(
    spelling: str,
    inputs: Sequence[Input],
    wanted: adopt.Wanted,
    conversions: Sequence[Conversion],
    say: Callable[[str], None],
    report: Callable[[Outcome], None],
) -> list[Outcome]:
    """Return the outcome of each conversion of a model. Raises BadInput for one that cannot be built or called."""
    built, loaded = adopt.build(spelling, wanted)
    if not inputs:
        size = built.declared.size if built.declared else None
        if size is None:
            raise BadInput(f"model {spelling}: nobody says what it takes. Give --input image:3x224x224.")
        inputs = [Input(adopt.first_input(built.module), "float32", (3, *size))]
    generator = np.random.default_rng(0)
    given = replace(wanted, inputs={item.name: item.random(generator) for item in inputs})
    with Scratch() as folder:
        place = folder / "runs" / "check"
        checkpoint = adopt.adopt(built.module, given, place, spelling, say, loaded=loaded)
        with chdir(folder):
            return convert(Run(place, checkpoint), conversions, jobs=2, force=False, report=report)
