"""Examines a .tflite file before an app does: what runs on the fast path of a phone, and why the rest does not.

    report = lint(model, Path("model.tflite"), layers.beside(source))
    report.sentences    # "104 of 113 operators run in XNNPACK (in 10 parts); not: 9 RELU_0_TO_1 (in features.1 …).", …
    report.findings     # those worth saying: none, where everything runs

It is advice: no file is refused for it. Goes into a manifest as `details["lint"]`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.graphs import layers, tflite_gpu, tflite_operators, tflite_xnnpack
from export.graphs.tflite_operators import Operator

NAMED = 3
"""Number of kinds of operators that a sentence names."""
ENDS = "the model's ends"
"""Name, instead of a module, for where an app's bytes become what the model computes in, and back."""


@dataclass(frozen=True)
class Left:
    """An operator that a delegate leaves or an app must know of, and where it is."""

    operator: str
    """Its kind: TRANSPOSE."""
    what: str
    """Words behind the kind: `of 5 axes`; may be empty."""
    tensor: str
    """Name of its output in the file."""
    dtype: str
    shape: tuple[int, ...]
    module: str
    """Path in the user's model; empty: not known."""

    @property
    def kind(self) -> str:
        """Return the kind with its words: `TRANSPOSE of 5 axes`."""
        return f"{self.operator} {self.what}".rstrip()


@dataclass(frozen=True)
class Delegate:
    """The share of the main graph that a delegate takes."""

    takes: int
    """Number of operators that it takes."""
    parts: int | None
    """Number of pieces it takes them in; None: not known."""
    left: tuple[Left, ...]
    """Operators that LiteRT's plain kernels compute instead."""
    problem: str
    """Why it was not asked, or why LiteRT does not run the file; else empty."""


@dataclass(frozen=True)
class Lint:
    """The result of an examination."""

    runtime: str
    """The runtime whose XNNPACK was asked: `LiteRT 2.3.0`."""
    operators: int
    """Number of operators of the main graph, without those computed from constants alone."""
    xnnpack: Delegate
    """As measured."""
    gpu: Delegate
    """By the published list."""
    flex: tuple[Left, ...]
    """TensorFlow's own operators, which an app has to ship (40 MB)."""
    custom: tuple[Left, ...]
    """Operators that an app has to bring itself."""
    int64: tuple[Left, ...]
    """Operators through which integers of 64 bits flow."""
    many_axes: tuple[Left, ...]
    """Operators through which a tensor of more than four axes flows."""

    @property
    def sentences(self) -> list[str]:
        """Return all sentences: of XNNPACK, of the GPU delegate, and of what the file asks of an app."""
        requests = (
            (self.flex, "an app has to ship TensorFlow's own operators for"),
            (self.custom, "an app has to bring its own kernels for"),
            (self.int64, "int64 flows through"),
            (self.many_axes, "tensors of more than 4 axes flow through"),
        )
        return [
            self._of_xnnpack,
            self._of_gpu,
            *(f"{words} {_listed(operators)}." for operators, words in requests if operators),
        ]

    @property
    def findings(self) -> list[str]:
        """Return the sentences worth a line of a terminal; none if all runs but conversions at the model's ends.

        int64 and many axes show up in the GPU delegate's sentence, because it takes neither; that one is returned only
        if it leaves what XNNPACK takes.
        """
        lines = []
        if self.xnnpack.problem or _slow(self.xnnpack.left):
            alike = not self.xnnpack.problem and self.xnnpack.left == self.gpu.left
            lines = [self._of_both if alike else self._of_xnnpack]
        if _slow(left for left in self.gpu.left if left not in self.xnnpack.left):
            lines.append(self._of_gpu)
        return lines + [sentence for sentence in self.sentences if sentence.startswith("an app has to ")]

    @property
    def _of_both(self) -> str:
        share = _share(self.gpu.takes, self.operators)
        where = f"run in XNNPACK{self._parts} and are on the GPU delegate's published list (not measured)"
        return f"{share} {where}{_but(self.gpu.left)}."

    @property
    def _of_xnnpack(self) -> str:
        if self.xnnpack.problem and not self.xnnpack.parts:
            return f"XNNPACK was not asked: {self.xnnpack.problem}."
        return f"{_share(self.xnnpack.takes, self.operators)} run in XNNPACK{self._parts}{_but(self.xnnpack.left)}."

    @property
    def _of_gpu(self) -> str:
        share = _share(self.gpu.takes, self.operators)
        return f"{share} are on the GPU delegate's published list (not measured){_but(self.gpu.left)}."

    @property
    def _parts(self) -> str:
        return f" (in {self.xnnpack.parts} parts)" if (self.xnnpack.parts or 0) > 1 else ""


def _slow(left: Iterable[Left]) -> bool:
    """True if there is more than conversions at the model's ends."""
    return any(operator.module != ENDS for operator in left)


def _share(count: int, total: int) -> str:
    """Return a share in words: `all 65 operators`, `61 of 65 operators`."""
    return f"all {total} operators" if count == total > 1 else f"{count} of {total} operators"


def _but(left: Sequence[Left]) -> str:
    return f"; not: {_listed(left)}" if left else ""


def _listed(operators: Sequence[Left]) -> str:
    """Return operators in words: `4 TRANSPOSE of 5 axes (in features.3), 2 CAST (in head and 1 more module)`.

    Many kinds with the same words are one group: `143 of int16`.
    """
    kinds = Counter(words for _, words in {(left.operator, left.what) for left in operators})
    groups: dict[str, list[Left]] = {}
    for left in operators:
        groups.setdefault(left.what if left.what and kinds[left.what] > NAMED else left.kind, []).append(left)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    named = [f"{len(members)} {name}{_places(members)}" for name, members in ordered[:NAMED]]
    more = sum(len(members) for _, members in ordered[NAMED:])
    return ", ".join(named) + (f" and {more} more" if more else "")


def _places(operators: Iterable[Left]) -> str:
    names = list(dict.fromkeys(left.module for left in operators if left.module))
    modules = [name for name in names if name != ENDS]
    if not modules:
        return f" (at {ENDS})" if names else ""
    count = len(modules) - 1
    return f" (in {modules[0]}{f' and {count} more module' if count else ''}{'s' if count > 1 else ''})"


def lint(model: Any, path: Path, tensor_twins: Mapping[str, layers.Twin]) -> Lint:
    """Return the result of examining a file.

    model: the file's content, as `flatbuffer_utils` reads it. tensor_twins: TensorFlow's tensors by name, which say
    what belongs to which module.
    """
    graphs, plan = tflite_operators.read(model), tflite_xnnpack.ask(path)
    modules = layers.spread([operator.result.name for operator in graphs.main], tensor_twins)

    def left(operator: Operator, description: str | None = None) -> Left:
        tensor = operator.result
        module = ENDS if operator.at_end else modules.get(tensor.name, "")
        words = operator.what if description is None else description
        return Left(operator.kind, words, tensor.name, tensor.dtype, tensor.shape, module)

    plain = tuple(left(operator) for operator in graphs.main if operator.index not in plan.taken)
    lacking = [(operator, tflite_gpu.lacks(operator)) for operator in graphs.main]
    unlisted = tuple(left(operator, reason or None) for operator, reason in lacking if reason is not None)
    wide = [operator for operator in graphs.every if any(tensor.dtype == "int64" for tensor in operator.flows)]
    deep = [operator for operator in graphs.every if operator.axes > tflite_gpu.AXES]
    custom = [operator for operator in graphs.every if operator.custom]
    return Lint(
        runtime=plan.runtime,
        operators=len(graphs.main),
        xnnpack=Delegate(len(graphs.main) - len(plain), plan.parts, plain, plan.problem),
        gpu=Delegate(len(graphs.main) - len(unlisted), None, unlisted, ""),
        flex=tuple(left(operator) for operator in custom if operator.kind.startswith("Flex")),
        custom=tuple(left(operator) for operator in custom if not operator.kind.startswith("Flex")),
        int64=tuple(left(operator, "") for operator in wide),
        many_axes=tuple(left(operator, tflite_operators.of_axes(operator.axes)) for operator in deep),
    )


def record(result: Lint) -> dict[str, Any]:
    """Return a result as a manifest keeps it, with its sentences."""
    return {**asdict(result), "sentences": result.sentences}
