"""What an importer from ONNX to TensorFlow gets wrong: ours, with one of its rules broken, on the same ONNX file.

Its own check against ONNX Runtime is left out: it is the validator that is examined.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from export.graphs.importer import graph, value
from export.graphs.importer.node import Node
from export.graphs.importer.operators import normalisation
from export.graphs.importer.value import Value, reshaped
from export.graphs.saved_model_case import Case
from export.graphs.saved_model_ways import by_importer
from export.targets import saved_model, tflite
from pipeline.checkpoint import Checkpoint

TOOLCHAIN = "tensorflow"
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""Those of the targets."""

Operator = Callable[..., Any]


def convert(fault: str, source: str, checkpoint: str, good: str, target: str, out: str, name: str = "") -> None:
    """Write a target's file into the folder `out`, by way of a SavedModel with the fault.

    source: the ONNX file. good: the folder of the SavedModel without it, whose manifest the TFLite target reads.
    name: of what the file holds, where that is not the fault's: what is converted is remembered by it.
    """
    folder = Path(out) if target == "saved_model" else Path(out).with_name(name or fault)
    case = Case.of(Path(source), Checkpoint.open(Path(checkpoint)))
    with FAULTS[fault]():
        by_importer(case, folder / saved_model.VERSION)
    if target == "tflite":
        shutil.copy(Path(good) / "manifest.json", folder)
        tflite.convert(folder / saved_model.VERSION, Path(checkpoint), "float32", Path(out))
        shutil.rmtree(folder)


@contextmanager
def replaced(owner: Any, name: str, faulty: Any) -> Iterator[None]:
    """With something else in its place."""
    faithful = getattr(owner, name)
    setattr(owner, name, faulty)
    try:
        yield
    finally:
        setattr(owner, name, faithful)


@contextmanager
def operator(name: str, faulty: Callable[[Operator], Operator]) -> Iterator[None]:
    """With an operator made of the faithful one."""
    faithful = graph.OPERATORS[name]
    made = faulty(faithful)
    made.since = faithful.since  # type: ignore[attr-defined]
    graph.OPERATORS[name] = made
    try:
        yield
    finally:
        graph.OPERATORS[name] = faithful


def along_logical_axes(faithful: Operator) -> Operator:
    """The number of ONNX's axis taken for that of the axis in memory, where the result has as many."""

    def faulty(node: Node, given: Value, *rest: Value) -> Value:
        found = faithful(node, Value(given.tensor), *rest)
        return Value(found.tensor, given.stored) if found.rank == given.rank else faithful(node, given, *rest)

    return faulty


def misread(**attributes: Any) -> Callable[[Operator], Operator]:
    """Attributes that have other values."""

    def of(faithful: Operator) -> Operator:
        def faulty(node: Node, *given: Value) -> Any:
            return faithful(dataclasses.replace(node, attributes={**node.attributes, **attributes}), *given)

        return faulty

    return of


def not_transposed(self: Value, wanted: tuple[int, ...]) -> Any:
    """The wanted sizes, without moving a number."""
    logical_at = {place: axis for axis, place in enumerate(wanted)}
    return reshaped(self.tensor, [self.size(logical_at[place]) for place in range(self.rank)])


def in_one_pass(tensor: Any, axes: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """E[x²] − E[x]², not below 0: where it is, the processor's rounding decides, and NaN is another mutant's reason."""
    mean = tf.reduce_mean(tensor, axes, keepdims=True)
    variance = tf.nn.relu(tf.reduce_mean(tensor * tensor, axes, keepdims=True) - mean * mean)
    scale = tf.math.rsqrt(variance + epsilon)
    return (tensor - mean) * scale, mean, scale


@contextmanager
def constants_as_they_are() -> Iterator[None]:
    """A constant of one number a channel, (C, 1, 1), lies along the rows of an image with the channels last."""
    faithful = Value.to

    def to(self: Value, stored: Any) -> Any:
        return self.tensor if self.constant else faithful(self, stored)

    with replaced(value.Value, "to", to):
        yield


FAULTS: dict[str, Callable[[], Any]] = {
    "nothing": lambda: replaced(graph, "FOLDED", graph.FOLDED),
    "Softmax over another axis": lambda: operator("Softmax", along_logical_axes),
    "ReduceMean over another axis": lambda: operator("ReduceMean", along_logical_axes),
    "flattened as it is stored": lambda: replaced(value.Value, "_turned", not_transposed),
    "a constant as it is stored": constants_as_they_are,
    "floor for ceil in pooling": lambda: operator("AveragePool", misread(ceil_mode=0)),
    "padding counted in a mean": lambda: operator("AveragePool", misread(count_include_pad=1)),
    "variance in one pass": lambda: replaced(normalisation, "normalised", in_one_pass),
}
