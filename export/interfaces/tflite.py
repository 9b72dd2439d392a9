"""What a .tflite says of itself: its signature with types and scales, and TFLite Metadata with the file of labels.

The slots are those of TensorFlow's schema.fbs and of tflite-support's metadata_schema.fbs.
"""

import io
import math
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flatbuffers.table import Table

from export.graphs.flatbuffer import floats, inner, length, number, numbers, root_of, tables, text
from export.graphs.tflite_weights import type_of, weighted
from export.interfaces import WEIGHT, Interface, Slot

MODEL_IDENTIFIER, METADATA_NAME = b"TFL3", "TFLITE_METADATA"
NORMALIZATION = 1
"""The kind of a process unit that says mean and deviation."""
AXES = 16
"""Axes that a tensor may have."""
LABELS_LIMIT = 2**20
"""Bytes that a file of labels may have."""


@dataclass(frozen=True)
class _Graph:
    """The tables of the first subgraph."""

    tensors: list[Table]
    inputs: list[int]
    outputs: list[int]
    operators: list[Table]


def read(path: Path) -> Interface:
    """Return what a file says of itself. Raises ValueError and alike for one that is malformed."""
    content = path.read_bytes()
    if content[4:8] != MODEL_IDENTIFIER:
        raise ValueError("no .tflite")
    root = root_of(content)
    subgraph, buffers = tables(root, 2)[0], tables(root, 4)
    graph = _Graph(tables(subgraph, 0), numbers(subgraph, 1), numbers(subgraph, 2), tables(subgraph, 3))
    signature = next(iter(tables(root, 7)), None)
    metadata = _metadata(root, buffers)
    operators = list(weighted(content))
    return Interface(
        inputs=_side(graph.tensors, graph.inputs, signature, 0),
        outputs=_side(graph.tensors, graph.outputs, signature, 1),
        facts={"labels": _labels(content, metadata)} if metadata else {},
        pixels=_pixels(metadata, graph) if metadata else None,
        weights=_weights(graph.tensors, buffers),
        computed=Counter(
            type_of(graph.tensors[place]) for operator in graph.operators for place in numbers(operator, 2)
        ),
        weighted=Counter(operator.kind for operator in operators),
        in_float=Counter(operator.kind for operator in operators if operator.dtype == "float32"),
    )


def _side(tensors: Sequence[Table], places: Sequence[int], signature: Table | None, slot: int) -> dict[str, Slot]:
    """Return inputs (slot 0) or outputs (slot 1) by the signature's names; without one, by the tensors' own."""
    maps = tables(signature, slot) if signature else []
    names = (
        {number(entry, 1): text(entry, 0) for entry in maps} if maps else {at: text(tensors[at], 3) for at in places}
    )
    return {names.get(place, text(tensors[place], 3)): _slot(tensors[place]) for place in places}


def _slot(tensor: Table) -> Slot:
    quantization = inner(tensor, 4)
    scales = floats(quantization, 2)[:1] if quantization else []
    zeros = numbers(quantization, 3, "<q")[:1] if quantization else []
    signature = numbers(tensor, 7)[:AXES] or numbers(tensor, 0)[:AXES]
    shape = tuple(None if size < 0 else size for size in signature)
    return Slot(type_of(tensor), shape, scales[0] if scales else None, int(zeros[0]) if zeros else 0)


def _weights(tensors: Sequence[Table], buffers: Sequence[Table]) -> dict[str, int]:
    weights: Counter[str] = Counter()
    for tensor in tensors:
        count = math.prod(numbers(tensor, 0)[:AXES])
        if count >= WEIGHT and length(buffers[number(tensor, 2)], 0):
            weights[type_of(tensor)] += count
    return weights


def _metadata(root: Table, buffers: Sequence[Table]) -> Table | None:
    """Return the metadata of the model's first subgraph; None: there is none."""
    for entry in tables(root, 6):
        if text(entry, 0) == METADATA_NAME:
            subgraphs = tables(root_of(_bytes(buffers[number(entry, 1)])), 3)
            return subgraphs[0]
    return None


def _bytes(buffer: Table) -> bytes:
    values = buffer.Bytes
    count = length(buffer, 0)
    first = buffer.Vector(buffer.Offset(4)) if count else 0
    return bytes(values[first : first + count])


def _labels(content: bytes, metadata: Table) -> list[str]:
    """Return the lines of the file that the metadata of the first output which has one names; none: none does."""
    files = next((files for output in tables(metadata, 3) if (files := tables(output, 6))), [])
    if not files:
        return []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entry = archive.getinfo(text(files[0], 0))
        if entry.file_size > LABELS_LIMIT:
            raise ValueError(f"{entry.filename} has {entry.file_size:,} bytes")
        return archive.read(entry).decode().splitlines()


def _pixels(metadata: Table, graph: _Graph) -> dict[str, Any]:
    """Return, by input, mean and deviation of the images that an app is told of."""
    pixels = {}
    for place, described in zip(graph.inputs, tables(metadata, 2), strict=True):
        for unit in tables(described, 4):
            options = inner(unit, 1)
            if number(unit, 0, "<B") == NORMALIZATION and options:
                pixels[text(graph.tensors[place], 3)] = (tuple(floats(options, 0)), tuple(floats(options, 1)))
    return pixels
