"""Writes the files of a TensorFlow.js graph model: `model.json`, and its weights in shards beside it.

    write_model(graph, "float16", signature, {"task": "digits"}, Path("model.json"))

float16 and uint8_weights are how weights are stored; the runtime computes in float32.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format

from export.graphs.graph_def import constant_value, node_name
from records.tensor import Array, Tensor

SHARD = 4 * 2**20
"""Bytes of a file of weights, or a multiple: what browsers keep in their cache."""
SHARDS = 5
"""Files of weights at most. TensorFlow.js reads none before a browser has asked for all, and over HTTP/1.1 browsers ask
for six: with more, and a server whose answers may not be cached (`no-store`), it waits for ever."""
QUANTIZED = 64
"""Values a weight has at least to be worth fewer bits; biases and scalars stay as they are."""
JS_TYPES = {"float32": "float32", "int32": "int32", "bool": "bool", "uint8": "int32"}
"""Type of a constant → its type in TensorFlow.js."""
SIGNATURE_TYPES = {"float32": "DT_FLOAT", "int32": "DT_INT32", "bool": "DT_BOOL"}
"""Type of an input or output → its name in a signature."""


def write_model(
    graph: Any, precision: str, signature: Mapping[str, Any], metadata: Mapping[str, Any], path: Path
) -> str:
    """Write `model.json` to the path and `weights-<i>-of-<n>.bin` beside it; the constants leave the graph.

    signature: `inputs` and `outputs`, each name → its `described` tensor. Returns why no weight is stored in fewer
    bytes although the precision says so; empty: one is.
    """
    manifest = write_weights(take_weights(graph), precision, path.parent)
    model = {
        "format": "graph-model",
        "generatedBy": f"TensorFlow {tf.__version__}",
        "convertedBy": "Anywhere",
        "signature": signature,
        "userDefinedMetadata": metadata,
        "modelTopology": json_format.MessageToDict(graph),
        "weightsManifest": [manifest],
    }
    path.write_text(json.dumps(model), encoding="utf-8")
    if precision == "float32" or any("quantization" in entry for entry in manifest["weights"]):
        return ""
    return (
        f"nothing is stored in fewer bytes: no weight has {QUANTIZED} values that {precision} can hold. The file "
        "computes what float32 does"
    )


def described(tensor: Tensor, name: str) -> dict[str, Any]:
    """Return a tensor as a signature has it. name: its name in the graph, `image:0`."""
    dims = [{"size": str(axis) if isinstance(axis, int) else "-1"} for axis in tensor.shape]
    return {"name": name, "dtype": SIGNATURE_TYPES[tensor.dtype], "tensorShape": {"dim": dims}}


def take_weights(graph: Any) -> dict[str, Array]:
    """Take the values of all constants out of the graph and return them by name; unused constants are removed."""
    used = {node_name(name) for node in graph.node for name in node.input}
    weights = {}
    for node in list(graph.node):
        if node.op != "Const":
            continue
        if node.name not in used:
            graph.node.remove(node)
            continue
        weights[node.name] = constant_value(node)
        tensor = node.attr["value"].tensor
        dtype = tensor.dtype
        tensor.Clear()
        tensor.dtype = dtype
    return weights


def write_weights(weights: Mapping[str, Array], precision: str, out: Path) -> dict[str, Any]:
    """Write weights into shards in the folder `out`; return their entry in `weightsManifest`."""
    entries, content = [], bytearray()
    for name, value in weights.items():
        entry, stored = packed(name, value, precision)
        entries.append(entry)
        content += stored.tobytes()
    size = SHARD * max(1, -(-len(content) // (SHARD * SHARDS)))
    count = max(1, -(-len(content) // size))
    paths = [f"weights-{index + 1}-of-{count}.bin" for index in range(count)]
    for index, path in enumerate(paths):
        (out / path).write_bytes(content[index * size : (index + 1) * size])
    return {"paths": paths, "weights": entries}


def packed(name: str, value: Array, precision: str) -> tuple[dict[str, Any], Array]:
    """Return what the runtime has to know to read a weight, and the weight as it is stored."""
    if value.dtype == np.int64:
        value = value.astype(np.int32)  # TensorFlow.js has no others
    entry: dict[str, Any] = {"name": name, "shape": list(value.shape), "dtype": JS_TYPES[value.dtype.name]}
    if precision == "float32" or value.dtype != np.float32 or value.size < QUANTIZED:
        return entry, value
    if precision == "float16":
        half = value.astype(np.float16)
        if not np.isfinite(half).all():  # beyond 65,504
            return entry, value
        return entry | {"quantization": {"dtype": "float16", "original_dtype": "float32"}}, half
    least, greatest = float(value.min()), float(value.max())
    scale = (greatest - least) / 255 or 1.0
    steps = np.round((value.astype(np.float64) - least) / scale).clip(0, 255).astype(np.uint8)
    quantization = {"dtype": "uint8", "min": least, "scale": scale, "original_dtype": "float32"}
    return entry | {"quantization": quantization}, steps
