"""The files that an artifact's entry names beside itself, such as weights: a runtime reads them, too.

foreign(artifact)              # ["../../other/weights.bin"]: named, but none of its files, so nobody hashed it
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from export.artifact import Artifact

if TYPE_CHECKING:
    import onnx


def _of_onnx(path: Path) -> list[str]:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    tensors = [*model.graph.initializer, *_tensors(nodes)]
    return [entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"]


def _tensors(nodes: "Iterable[onnx.NodeProto]") -> "Iterator[onnx.TensorProto]":
    """Yield the tensors that are attributes of nodes, and those of the graphs that are."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for graph in (attribute.g, *attribute.graphs):
            yield from graph.initializer
            yield from _tensors(graph.node)


def _of_tfjs(path: Path) -> list[str]:
    groups = json.loads(path.read_text(encoding="utf-8"))["weightsManifest"]
    return [str(name) for group in groups for name in group["paths"]]


NAMED: dict[str, Callable[[Path], list[str]]] = {"onnx": _of_onnx, "tfjs": _of_tfjs}
"""Target → what reads the names in a file; of the others, a runtime reads what lies in their folder alone."""


def foreign(artifact: Artifact) -> list[str]:
    """Return the names in an artifact's entry that are none of its files.

    None for a file that cannot be read: its runtime says so, in a row of its own.
    """
    read = NAMED.get(artifact.target)
    beside = PurePosixPath(artifact.entry).parent
    try:
        names = dict.fromkeys(read(artifact.path) if read else [])
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        return []
    return [name for name in names if str(beside / name) not in artifact.files]
