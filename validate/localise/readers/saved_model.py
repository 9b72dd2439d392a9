"""Reads tensors of a SavedModel in TensorFlow: from its graph with every call inlined, cut off at each tensor."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from safetensors import safe_open
from safetensors.numpy import save_file
from tensorflow.core.protobuf import saved_model_pb2

from export.graphs.layers import canonical
from export.graphs.tensorflow import inner, load_graph
from records.tensor import tensors_from

TOOLCHAIN = "tensorflow"
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""With oneDNN, TensorFlow would compute other operators than those of the graph."""


def version() -> str:
    """Return the runtime and its version."""
    return f"TensorFlow {tf.__version__}"


def collect(
    path: str, manifest: dict[str, Any], names: list[str], golden: str, samples: int, out: str
) -> list[dict[str, Any]]:
    """Return the tensors of `names` that the graph has, in graph order: tensor, operator, scale.

    Writes the values of the i-th, (N, …), to `out` as `i`.
    """
    graph = load_graph(Path(path))
    operators = {canonical(operator.name): operator for operator in graph.function.graph.get_operations()}
    selected = {name: operator for name, operator in operators.items() if name in names}
    with safe_open(golden, framework="numpy") as file:
        inputs = {
            tensor.name: tensor.stored(file.get_tensor(f"input.{tensor.name}")[:samples])
            for tensor in tensors_from(manifest["inputs"])
        }
    call = inner(graph, [operator.name for operator in selected.values()])
    step = graph.batch or samples
    parts = [
        call([inputs[spec.name][start : start + step] for spec in graph.inputs]) for start in range(0, samples, step)
    ]
    values_by_name = {name: [part[operator.name] for part in parts] for name, operator in selected.items()}
    save_file(
        {str(i): np.ascontiguousarray(np.concatenate(values)) for i, values in enumerate(values_by_name.values())}, out
    )
    return [{"tensor": name, "operator": operator.type, "scale": None} for name, operator in selected.items()]


def operators(path: str) -> list[dict[str, Any]]:
    """Return the nodes of all functions in their order, as export/graphs/stopped.py has them; nothing is run."""
    saved = saved_model_pb2.SavedModel.FromString((Path(path) / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    return [
        {"name": node.name, "kind": node.op, "version": None, "tensor": canonical(node.name)}
        for function in functions
        for node in function.node_def
        if node.op != "Const"
    ]
