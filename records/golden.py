"""What a checkpoint proves itself by, and what a runner gave for it: arrays by what they are and by name.

    golden = checkpoint.golden()
    golden.outputs["logits"]                   # (N, K) float32: PyTorch's
    Actual.of(load_file(path)).golden["logits"]        # (N, K) float32: a runner's

On disk an array has one flat name, `output.logits`; this file alone knows how it is spelled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from records.tensor import Array, Arrays

PATTERNS = ("black", "white", "checkerboard", "noise", "shifted")
"""Inputs unlike golden's, in the order in which they are run: a slow runtime takes the first."""
INPUT, OUTPUT, ORACLE = "input", "output", "oracle"
FLOOR, FILE, PATTERN, PREPARED = "floor", "file", "pattern", "prepared"
"""Kinds of arrays: what stands before the first dot of a flat name."""


def part(arrays: Arrays, kind: str) -> dict[str, Array]:
    """Return the arrays of one kind by name: of `input.image` and `output.logits` with kind `input`, `image`."""
    return {name.removeprefix(f"{kind}."): value for name, value in arrays.items() if name.startswith(f"{kind}.")}


def flat(kinds: Mapping[str, Arrays]) -> dict[str, Array]:
    """Return the arrays of all kinds by one flat name each: `part` undone."""
    return {f"{kind}.{name}": value for kind, arrays in kinds.items() for name, value in arrays.items()}


@dataclass(frozen=True)
class Golden:
    """Held-out samples: none was trained on, none set an integer range."""

    inputs: Arrays
    """(N, …) float32."""
    outputs: Arrays
    """(N, …) float32: PyTorch, eager, on the CPU."""
    oracle: Arrays
    """(N, …) float64: the same in double precision."""
    truth: Arrays
    """What the task's metric is taken against: `labels` (N,) int64."""

    @classmethod
    def of(cls, arrays: Arrays) -> "Golden":
        """Take apart what `arrays` put together."""
        truth = {name: value for name, value in arrays.items() if "." not in name}
        return cls(part(arrays, INPUT), part(arrays, OUTPUT), part(arrays, ORACLE), truth)

    def arrays(self) -> dict[str, Array]:
        """Return all of it by flat names, as a file has them."""
        return {**flat({INPUT: self.inputs, OUTPUT: self.outputs, ORACLE: self.oracle}), **self.truth}


@dataclass(frozen=True)
class Probes:
    """Image files, the first an asymmetric drawing, and what training and PyTorch make of them."""

    files: tuple[Array, ...]
    """K times (bytes,) uint8."""
    inputs: Arrays
    """(K, …) float32, as training prepares them."""
    outputs: Arrays
    oracle: Arrays

    @classmethod
    def of(cls, arrays: Arrays) -> "Probes":
        """Take apart what `arrays` put together."""
        files = part(arrays, FILE)
        in_order = tuple(files[str(number)] for number in range(len(files)))
        return cls(in_order, part(arrays, INPUT), part(arrays, OUTPUT), part(arrays, ORACLE))

    def arrays(self) -> dict[str, Array]:
        """Return all of it by flat names, as a file has them."""
        files = {str(number): file for number, file in enumerate(self.files)}
        return flat({FILE: files, INPUT: self.inputs, OUTPUT: self.outputs, ORACLE: self.oracle})


@dataclass(frozen=True)
class Patterns:
    """Inputs in the order of `PATTERNS`, each run by itself."""

    inputs: Arrays
    """(5, …) float32."""
    outputs: Arrays
    oracle: Arrays
    floors: Arrays
    """(5,) float64: the noise floor of each, which is the greatest distance from the oracle that rounding leads to."""

    @classmethod
    def of(cls, arrays: Arrays) -> "Patterns":
        """Take apart what `arrays` put together."""
        ours = part(arrays, PATTERN)
        return cls(part(ours, INPUT), part(ours, OUTPUT), part(ours, ORACLE), part(ours, FLOOR))

    def arrays(self) -> dict[str, Array]:
        """Return all of it by flat names, as a file has them."""
        kinds = {INPUT: self.inputs, OUTPUT: self.outputs, ORACLE: self.oracle, FLOOR: self.floors}
        return flat({PATTERN: flat(kinds)})


@dataclass(frozen=True)
class Proof:
    """All that an artifact is judged by."""

    golden: Golden
    probes: Probes | None = None
    """None: the checkpoint is from before they were kept."""
    patterns: Patterns | None = None
    """Likewise."""


@dataclass(frozen=True)
class Actual:
    """What a runner gave, by output."""

    golden: Arrays
    """Of golden inputs, the first ones (N, …)."""
    together: Arrays = field(default_factory=dict)
    """Of a few golden inputs in one call."""
    again: Arrays = field(default_factory=dict)
    """Of the same call once more."""
    alone: Arrays = field(default_factory=dict)
    """Of each of them by itself; empty: the artifact takes one at a time anyway."""
    file: Arrays = field(default_factory=dict)
    """Of image files as an app prepares them."""
    training: Arrays = field(default_factory=dict)
    """Of the same images as training prepared them."""
    pattern: Arrays = field(default_factory=dict)
    """Of patterns, the first ones."""

    @classmethod
    def of(cls, arrays: Arrays) -> "Actual":
        """Take apart what a harness wrote."""
        return cls(**{way: part(arrays, way) for way in cls.__dataclass_fields__})

    def arrays(self) -> dict[str, Array]:
        """Return all of it by flat names, as a file has them."""
        return flat({way: getattr(self, way) for way in self.__dataclass_fields__})
