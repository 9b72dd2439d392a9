"""What an ONNX file says of itself: its graph's inputs and outputs, and its metadata properties, which hold JSON."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from export.graphs.onnx_weights import weighted
from export.interfaces import WEIGHT, Interface, Slot

IN_JSON = {"labels", "normalisation", "preparation"}
"""Properties that are JSON; the others are words, of ours and of whoever else has worked on the file."""


def read(path: Path) -> Interface:
    """Return what a file says of itself. Raises ValueError and alike for one that is malformed."""
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    graph = model.graph
    nodes = [*graph.node, *(node for function in model.functions for node in function.node)]
    stored = [*graph.initializer, *_tensors(nodes)]
    constants = {tensor.name for tensor in graph.initializer}
    weights: Counter[str] = Counter()
    for tensor in stored:
        if math.prod(tensor.dims) >= WEIGHT:
            weights[_type(tensor.data_type)] += math.prod(tensor.dims)
    quantizers = sum(node.op_type == "QuantizeLinear" for node in nodes)
    multiplying = list(weighted(graph))
    properties = {item.key: item.value for item in model.metadata_props}
    return Interface(
        inputs={value.name: _slot(value) for value in graph.input if value.name not in constants},
        outputs={value.name: _slot(value) for value in graph.output},
        facts={key: json.loads(value) if key in IN_JSON else value for key, value in properties.items()},
        weights=weights,
        computed={"int8": quantizers, "uint8": quantizers},
        weighted=Counter(node.op_type for node, _ in multiplying),
        in_float=Counter(node.op_type for node, in_float in multiplying if in_float),
        references=tuple(entry.value for tensor in stored for entry in tensor.external_data if entry.key == "location"),
    )


def _tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """Yield the tensors that are attributes of nodes, and those of the graphs that are."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for graph in (attribute.g, *attribute.graphs):
            yield from graph.initializer
            yield from _tensors(graph.node)


def _slot(value: Any) -> Slot:
    tensor = value.type.tensor_type
    dims = [axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim]
    return Slot(_type(tensor.elem_type), tuple(dims) if tensor.HasField("shape") else None)


def _type(number: int) -> str:
    """Return `float32`, `int8`: numpy's name."""
    name = str(onnx.TensorProto.DataType.Name(number)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)
