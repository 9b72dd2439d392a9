"""SavedModel in TensorFlow: its graph with every call inlined, cut off at each tensor."""

from export.graphs.tensorflow import inner, load_graph  # isort: skip  # before TensorFlow

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from safetensors import safe_open
from safetensors.numpy import save_file

from export.graphs.layers import canonical
from records.tensor import tensors_from

TOOLCHAIN = "tensorflow"


def version() -> str:
    """Of the runtime."""
    return f"TensorFlow {tf.__version__}"


def collect(
    path: str, manifest: dict[str, Any], names: list[str], golden: str, samples: int, out: str
) -> list[dict[str, Any]]:
    """Those of the tensors that are there, in graph order: tensor, operator, scale; arrays to `out` as `i`."""
    graph = load_graph(Path(path))
    operators = {canonical(one.name): one for one in graph.function.graph.get_operations()}
    wanted = {name: one for name, one in operators.items() if name in names}
    with safe_open(golden, framework="numpy") as file:
        inputs = {
            tensor.name: tensor.stored(file.get_tensor(f"input.{tensor.name}")[:samples])
            for tensor in tensors_from(manifest["inputs"])
        }
    call = inner(graph, [one.name for one in wanted.values()])
    step = graph.batch or samples
    parts = [
        call([inputs[spec.name][start : start + step] for spec in graph.inputs]) for start in range(0, samples, step)
    ]
    found = {name: [part[one.name] for part in parts] for name, one in wanted.items()}
    save_file({str(i): np.ascontiguousarray(np.concatenate(values)) for i, values in enumerate(found.values())}, out)
    return [{"tensor": name, "operator": one.type, "scale": None} for name, one in wanted.items()]
