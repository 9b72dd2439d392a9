"""Compares what an exported file says of itself with its manifest, and the manifest with the checkpoint.

    misfits(artifact, checkpoint, interface)   # ["its metadata's labels are others than the checkpoint's: …"]

Numbers are compared elsewhere: this is what an app reads, and what no output shows. Pure Python.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from export.artifact import Artifact
from export.interfaces import Interface, Slot
from export.target import find
from pipeline.checkpoint import Checkpoint
from records.errors import shortened
from records.tensor import Tensor, preparations

STORED: Mapping[str, tuple[str, ...]] = {
    "float16": ("float16",),
    "int8": ("int8", "uint8"),
    "int8_dynamic": ("int8",),
    "int8_weights": ("int8",),
    "int8_int16": ("int8",),
    "uint8_weights": ("uint8",),
}
"""Precision → the types of which its weights have one."""
COMPUTED: Mapping[str, tuple[str, ...]] = {"int8": ("int8", "uint8"), "int8_int16": ("int16",)}
"""Precision → the types of which results of operators have one."""
QUANTIZED = {
    *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"),
    *("Conv", "ConvTranspose", "Gemm", "MatMul"),
}
"""Operators with weights that the formats' quantizers take, in int8 and in int8_int16: of those, none stays in float32
unless it is asked to. Others (CONV_3D) have no integers anywhere, and are warned of."""
LABELLED = {"exported_program", "mediapipe", "onnx", "tfjs", "tflite", "torchscript"}
"""Targets whose files have a place for labels."""
OF_A_BYTE = ((0.0,), (255.0,))
"""Mean and deviation that make of a byte what training made: normalisation is inside the model."""
TOLD = 3
"""Labels that a sentence names."""
SHOWN = 60
"""Characters of what stands in a file that a sentence shows."""


def misfits(artifact: Artifact, checkpoint: Checkpoint, interface: Interface) -> list[str]:
    """Return a sentence for each thing that file, manifest and checkpoint say differently; none: they agree."""
    sentences = [*_known(artifact), *_described(artifact, checkpoint)]
    if interface.problem:
        return [*sentences, f"what {artifact.entry} says of itself cannot be read: {interface.problem}"]
    for side in ("inputs", "outputs"):
        slots = getattr(interface, side)
        if slots is not None:
            sentences += _slots(side[:-1], slots, getattr(artifact, side))
    if artifact.target in LABELLED and checkpoint.labels and "labels" not in interface.facts:
        sentences.append(f"the file has no labels; the checkpoint {len(checkpoint.labels)}")
    return [*sentences, *_facts(checkpoint, interface), *_types(artifact, interface)]


def remarks(artifact: Artifact, interface: Interface) -> list[str]:
    """Return a sentence for operators that no quantizer makes integers of; none: there are none."""
    left = {kind: count for kind, count in _unasked(artifact, interface).items() if kind not in QUANTIZED}
    return [f"no quantizer makes integers of {_counted(left, interface)}: in float32"] if left else []


def _unasked(artifact: Artifact, interface: Interface) -> dict[str, int]:
    """Return how many operators with weights compute in float32 though the precision is of integers, by kind.

    Those that were asked to (`--keep-float`) are none of them.
    """
    asked = artifact.float_operators
    if artifact.precision not in COMPUTED or asked is None:
        return {}
    more = {kind: count - asked.get(kind, 0) for kind, count in interface.in_float.items()}
    return {kind: count for kind, count in more.items() if count > 0}


def _counted(left: Mapping[str, int], interface: Interface) -> str:
    """Return operators in words: `7 of 53 CONV_2D, 1 of 1 FULLY_CONNECTED`."""
    return ", ".join(f"{count} of {interface.weighted[kind]} {kind}" for kind, count in sorted(left.items()))


def _known(artifact: Artifact) -> Iterator[str]:
    """Yield what a manifest says of its making that no target does."""
    target = find().get(artifact.target)
    if target is None or artifact.precision not in target.sources:
        yield f"its manifest names {artifact.name}, which is no target and precision known here"
        return
    for field, ours in (("source", target.sources[artifact.precision]), ("toolchain", target.toolchain)):
        theirs = getattr(artifact, field)
        if theirs != ours:
            yield f"its manifest names {field} {theirs!r}; {artifact.name} has {ours!r}"
    for field in ("recipe", "source_sha256"):
        if len(digits := getattr(artifact, field)) != 64 or not set(digits) <= set("0123456789abcdef"):
            yield f"its manifest's {field} is no sha256"


def _described(artifact: Artifact, checkpoint: Checkpoint) -> Iterator[str]:
    """Yield what a manifest says of inputs and outputs that the checkpoint says otherwise."""
    for side in ("inputs", "outputs"):
        theirs, ours = getattr(artifact, side), getattr(checkpoint, side)
        if [tensor.name for tensor in theirs] != [tensor.name for tensor in ours]:
            yield f"its manifest has other {side} than the checkpoint: {_names(theirs)}; {_names(ours)}"
            continue
        for tensor, original in zip(theirs, ours, strict=True):
            yield from _tensor(tensor, original)


def _tensor(tensor: Tensor, original: Tensor) -> Iterator[str]:
    where = f"its manifest's {tensor.name}"
    if tensor.channels != original.channels:
        yield f"{where} has channels {tensor.channels or 'none'}; the checkpoint {original.channels or 'none'}"
    if tensor.scale is None and tensor.range != original.range:
        yield f"{where} has range {_span(tensor.range)}; the checkpoint {_span(original.range)}"
    if sorted(tensor.layout) != sorted(original.layout) or len(tensor.shape) != len(original.shape):
        yield f"{where} has layout {tensor.layout or 'none'}; the checkpoint {original.layout or 'none'}"
        return
    shape = tensor.shape
    if tensor.layout != original.layout:
        shape = tuple(shape[tensor.layout.index(axis)] for axis in original.layout)
    if any(
        isinstance(one, int) and isinstance(other, int) and one != other
        for one, other in zip(shape[1:], original.shape[1:], strict=True)
    ):
        yield f"{where} has shape {_shape(tensor.shape)}; the checkpoint {_shape(original.shape)}"


def _slots(side: str, slots: Mapping[str, Slot], tensors: Sequence[Tensor]) -> Iterator[str]:
    """Yield what a file says of its inputs or outputs that its manifest says otherwise."""
    if set(slots) != {tensor.name for tensor in tensors}:
        yield f"the file's {side}s are {', '.join(slots) or 'none'}; its manifest's {_names(tensors)}"
        return
    for tensor in tensors:
        slot, where = slots[tensor.name], f"{side} {tensor.name}"
        if slot.dtype and slot.dtype != tensor.dtype:
            yield f"{where} is {slot.dtype} in the file; {tensor.dtype} in its manifest"
        if slot.shape is not None and not _fits(slot.shape, tensor.shape):
            yield f"{where} has shape {_shape(slot.shape)} in the file; {_shape(tensor.shape)} in its manifest"
        if not _same_scale(slot, tensor):
            yield (
                f"{where} has scale {slot.scale} and zero point {slot.zero_point} in the file; {tensor.scale} and "
                f"{tensor.zero_point} in its manifest"
            )


def _fits(slot: Sequence[int | None], shape: Sequence[int | str]) -> bool:
    """True if a file's shape allows what its manifest says: every length, where that is any."""
    return len(slot) == len(shape) and all(
        length is None or length == size for length, size in zip(slot, shape, strict=True)
    )


def _same_scale(slot: Slot, tensor: Tensor) -> bool:
    if slot.scale is None or tensor.scale is None:  # of a tensor of floats a scale says nothing
        return tensor.scale is None
    return math.isclose(slot.scale, tensor.scale, rel_tol=1e-6) and slot.zero_point == tensor.zero_point


def _facts(checkpoint: Checkpoint, interface: Interface) -> Iterator[str]:
    """Yield what an app reads in the file beside the graph, and training knows otherwise."""
    ours: dict[str, Any] = {
        "task": checkpoint.task,
        "labels": list(checkpoint.labels),
        "normalisation": dict(checkpoint.normalisation),
        "preparation": preparations(checkpoint.inputs),
        "checkpoint_sha256": checkpoint.sha256,
    }
    for name, fact in interface.facts.items():
        if name == "labels":
            yield from _labels(fact, ours["labels"])
        elif name in ours and fact != ours[name]:
            yield f"the {name} in the file is another than the checkpoint's: {shortened(fact, SHOWN)}"
    for name, (mean, deviation) in (interface.pixels or {}).items():
        if (mean, deviation) != OF_A_BYTE:
            yield (
                f"the file tells an app to prepare {name} with mean {list(mean)} and deviation {list(deviation)}; "
                "bytes are divided by 255, and normalised inside"
            )


def _labels(theirs: Any, ours: Sequence[str]) -> Iterator[str]:
    if theirs == ours:
        return
    if not isinstance(theirs, list) or len(theirs) != len(ours):
        count = len(theirs) if isinstance(theirs, list) else "no"
        yield f"the file has {count} labels; the checkpoint {len(ours)}"
        return
    others = [
        f"{number} is {shortened(one, SHOWN)}, in the checkpoint {shortened(other, SHOWN)}"
        for number, (one, other) in enumerate(zip(theirs, ours, strict=True))
        if one != other
    ]
    yield f"labels in the file are others than the checkpoint's: {'; '.join(others[:TOLD])}" + (
        f" and {len(others) - TOLD} more" if len(others) > TOLD else ""
    )


def _types(artifact: Artifact, interface: Interface) -> Iterator[str]:
    """Yield what is stored or computed in other types than a precision has. None of it shows in numbers that are better
    than they need be.
    """
    precision, weights = artifact.precision, interface.weights
    stored = STORED.get(precision)
    if not weights or stored is None or artifact.unquantized:
        return
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(weights.items()))
    if not any(weights.get(name) for name in stored):
        yield f"no weight is {' or '.join(stored)}, which {precision} means: the file has {counts}"
    elif precision != "float16" and weights.get("float16"):
        yield f"weights of {precision} are float16: the file has {counts}"
    wanted = COMPUTED.get(precision)
    if wanted and interface.computed is not None and not any(interface.computed.get(name) for name in wanted):
        yield f"no operator computes {' or '.join(wanted)}, which {precision} means"
    left = {kind: count for kind, count in _unasked(artifact, interface).items() if kind in QUANTIZED}
    if left:
        beyond = " beside what --keep-float asked for" if artifact.float_operators else ""
        yield f"stayed float in {precision}{beyond}: {_counted(left, interface)} compute in float32"


def _names(tensors: Sequence[Tensor]) -> str:
    return ", ".join(tensor.name for tensor in tensors)


def _shape(shape: Sequence[int | str | None]) -> str:
    return f"({', '.join('any' if isinstance(size, str) or size is None else str(size) for size in shape)})"


def _span(span: tuple[float, float] | None) -> str:
    return f"[{span[0]:g}, {span[1]:g}]" if span else "none"
