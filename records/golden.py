"""The arrays that a checkpoint proves itself by, and those that a runner returned, by kind and by name.

    golden = checkpoint.golden()
    golden.outputs["logits"]                   # (N, K) float32: PyTorch's
    Actual.of(load_file(path)).golden["logits"]        # (N, K) float32: a runner's

On disk an array has one flat name, `output.logits`; this file alone knows how it is spelled.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from records.tensor import Array, Arrays

PATTERNS = ("black", "white", "checkerboard", "noise", "shifted")
"""Names of inputs unlike golden's, in the order in which they are run: a slow runtime takes the first only."""
INPUT, OUTPUT, ORACLE, RIVAL = "input", "output", "oracle", "rival"
FLOOR, FILE, PATTERN, PREPARED, SIZED, FRESH = "floor", "file", "pattern", "prepared", "sized", "fresh"
"""Kinds of arrays: what stands before the first dot of a flat name."""


def part(arrays: Arrays, kind: str) -> dict[str, Array]:
    """Return the arrays of one kind by name: of `input.image` and `output.logits`, for `input`, only `image`."""
    return {name.removeprefix(f"{kind}."): value for name, value in arrays.items() if name.startswith(f"{kind}.")}


def flat(kinds: Mapping[str, Arrays]) -> dict[str, Array]:
    """Return the arrays of all kinds by one flat name each, `input.image`: the inverse of `part`."""
    return {f"{kind}.{name}": value for kind, arrays in kinds.items() for name, value in arrays.items()}


@dataclass(frozen=True)
class Golden:
    """Held-out samples with PyTorch's outputs: none was trained on, and none set an integer range."""

    inputs: Arrays
    """(N, …) float32."""
    outputs: Arrays
    """(N, …) float32: PyTorch, eager, on the CPU."""
    oracle: Arrays
    """(N, …) float64: the same outputs computed in double precision."""
    truth: Arrays
    """What the task's metric is taken against: `labels` (N,) int64."""
    rivals: Arrays = field(default_factory=dict)
    """(N, …), by the task's own names: what was all but chosen in the outputs' place; empty: the task has none."""

    @classmethod
    def of(cls, arrays: Arrays) -> "Golden":
        """Return the record of arrays by flat names: the inverse of `arrays`."""
        truth = {name: value for name, value in arrays.items() if "." not in name}
        inputs, outputs, oracle, rivals = (part(arrays, kind) for kind in (INPUT, OUTPUT, ORACLE, RIVAL))
        return cls(inputs, outputs, oracle, truth, rivals)

    def arrays(self) -> dict[str, Array]:
        """Return all arrays by their flat names, as they are in a file."""
        kinds = {INPUT: self.inputs, OUTPUT: self.outputs, ORACLE: self.oracle, RIVAL: self.rivals}
        return {**flat(kinds), **self.truth}


@dataclass(frozen=True)
class Probes:
    """Image files, the first an asymmetric drawing, with the inputs training makes of them and PyTorch's outputs.

    In pipeline/probes.py it says what the others are; an older checkpoint has PNG files alone.
    """

    files: Mapping[str, tuple[Array, ...]]
    """By each input that is made of files: K times (bytes,) uint8."""
    inputs: Arrays
    """(K, …) float32, as training prepares them."""
    outputs: Arrays
    oracle: Arrays
    rivals: Arrays = field(default_factory=dict)
    """As golden's."""

    @classmethod
    def of(cls, arrays: Arrays) -> "Probes":
        """Return the record of arrays by flat names: the inverse of `arrays`."""
        inputs, files = part(arrays, INPUT), part(arrays, FILE)
        if all(name.isdecimal() for name in files):  # of a checkpoint from before there were several inputs
            files = {f"{name}.{number}": file for name in inputs for number, file in files.items()}
        counts = {name: len(part(files, name)) for name in inputs}
        in_order = {
            name: tuple(files[f"{name}.{number}"] for number in range(count)) for name, count in counts.items() if count
        }
        return cls(in_order, inputs, part(arrays, OUTPUT), part(arrays, ORACLE), part(arrays, RIVAL))

    def arrays(self) -> dict[str, Array]:
        """Return all arrays by their flat names, as they are in a file."""
        files = {f"{name}.{number}": file for name, each in self.files.items() for number, file in enumerate(each)}
        kinds = {INPUT: self.inputs, OUTPUT: self.outputs, ORACLE: self.oracle, RIVAL: self.rivals}
        return flat({FILE: files, **kinds})


@dataclass(frozen=True)
class Patterns:
    """Inputs in the order of `PATTERNS`, each run by itself."""

    inputs: Arrays
    """(5, …) float32."""
    outputs: Arrays
    oracle: Arrays
    floors: Arrays
    """(5,) float64: the noise floor of each, which is the greatest distance from the oracle that rounding leads to."""
    rivals: Arrays = field(default_factory=dict)
    """As golden's."""

    @classmethod
    def of(cls, arrays: Arrays) -> "Patterns":
        """Return the record of arrays by flat names: the inverse of `arrays`."""
        patterns = part(arrays, PATTERN)
        return cls(*(part(patterns, kind) for kind in (INPUT, OUTPUT, ORACLE, FLOOR, RIVAL)))

    def arrays(self) -> dict[str, Array]:
        """Return all arrays by their flat names, as they are in a file."""
        kinds = {INPUT: self.inputs, OUTPUT: self.outputs, ORACLE: self.oracle, FLOOR: self.floors}
        return flat({PATTERN: flat({**kinds, RIVAL: self.rivals})})


@dataclass(frozen=True)
class Sized:
    """A few golden samples at another height and width, for a model that takes any."""

    inputs: Arrays
    """(K, …) float32."""
    outputs: Arrays
    oracle: Arrays
    rivals: Arrays = field(default_factory=dict)
    """As golden's."""

    @property
    def size(self) -> str:
        """Return height and width of the inputs that are maps, `96×160`; of several different ones, each once."""
        sizes = [f"{value.shape[2]}×{value.shape[3]}" for value in self.inputs.values() if value.ndim == 4]
        return ", ".join(dict.fromkeys(sizes))

    @classmethod
    def every(cls, arrays: Arrays) -> "tuple[Sized, ...]":
        """Return the records of arrays by flat names, in order: the inverse of `arrays_of`."""
        numbered = part(arrays, SIZED)
        sizes: list[Sized] = []
        while each := part(numbered, str(len(sizes))):
            sizes.append(cls(*(part(each, kind) for kind in (INPUT, OUTPUT, ORACLE, RIVAL))))
        return tuple(sizes)

    @staticmethod
    def arrays_of(sizes: "Iterable[Sized]") -> dict[str, Array]:
        """Return the arrays of records by their flat names, as they are in a file: `sized.0.input.image`."""
        each = {
            str(number): flat({INPUT: sized.inputs, OUTPUT: sized.outputs, ORACLE: sized.oracle, RIVAL: sized.rivals})
            for number, sized in enumerate(sizes)
        }
        return flat({SIZED: flat(each)})


@dataclass(frozen=True)
class Fresh:
    """Samples made anew for one validation, which no file can have known."""

    inputs: Arrays
    """(K, …) of golden's types."""
    outputs: Arrays
    """What the checkpoint's program gives for them in PyTorch."""
    oracle: Arrays
    seed: int
    """What makes the same inputs again: `--seed`."""
    rivals: Arrays = field(default_factory=dict)
    """As golden's."""

    def arrays(self) -> dict[str, Array]:
        """Return the inputs by their flat names, as they are in a file."""
        return flat({FRESH: flat({INPUT: self.inputs})})


@dataclass(frozen=True)
class Further:
    """Held-out samples beyond golden, which decisions of integers are judged on, too."""

    files: tuple[Path, ...]
    """Files with the inputs, (n, …) each, in order."""
    outputs: Arrays
    """(N, …) float32: what the checkpoint's program gives for them in PyTorch."""
    truth: Arrays
    """As golden has it."""
    rivals: Arrays = field(default_factory=dict)
    """As golden's."""

    @property
    def count(self) -> int:
        """Return how many samples there are."""
        return len(next(iter(self.outputs.values())))


@dataclass(frozen=True)
class Proof:
    """All the arrays that an artifact is judged by."""

    golden: Golden
    probes: Probes | None = None
    """None: the checkpoint is from before they were kept."""
    patterns: Patterns | None = None
    """None: likewise."""
    sizes: tuple[Sized, ...] = ()
    """Empty: the model takes one height and width, or has none."""
    fresh: Fresh | None = None
    """None: PyTorch gave no outputs for them, which the report says."""
    further: Further | None = None
    """None: nobody asked for them."""


@dataclass(frozen=True)
class Actual:
    """The outputs of a runner, each field by output name."""

    golden: Arrays
    """Outputs for the first N golden inputs: (N, …)."""
    together: Arrays = field(default_factory=dict)
    """Outputs for a few golden inputs in one call."""
    again: Arrays = field(default_factory=dict)
    """Outputs of the same call, made a second time."""
    alone: Arrays = field(default_factory=dict)
    """Outputs for each of those inputs by itself; empty: the artifact takes one input at a time anyway."""
    file: Arrays = field(default_factory=dict)
    """Outputs for image files as an app prepares them."""
    training: Arrays = field(default_factory=dict)
    """Outputs for the same images as training prepared them."""
    pattern: Arrays = field(default_factory=dict)
    """Outputs for the first patterns."""
    sized: Arrays = field(default_factory=dict)
    """Outputs at other heights and widths, by number and name: `0.logits`; empty: the artifact takes one."""
    batches: Arrays = field(default_factory=dict)
    """Outputs of the first B golden inputs in one call, by B and name: `33.logits`; those that time allowed."""
    fresh: Arrays = field(default_factory=dict)
    """Outputs for the first inputs that were made anew."""
    further: Arrays = field(default_factory=dict)
    """Outputs for all further samples; empty: there are none, or they would have taken too long."""
    last: Arrays = field(default_factory=dict)
    """Outputs for the first golden input of the last call that was timed: (1, …)."""

    @classmethod
    def of(cls, arrays: Arrays) -> "Actual":
        """Return the record of the arrays, by flat names, that a harness wrote."""
        return cls(**{kind: part(arrays, kind) for kind in cls.__dataclass_fields__})

    def arrays(self) -> dict[str, Array]:
        """Return all arrays by their flat names, as they are in a file."""
        return flat({kind: getattr(self, kind) for kind in self.__dataclass_fields__})
