"""TensorFlow.js, for browsers and Node: a graph model, `model.json` and a few shards, right on every backend.

Written from the frozen graph that grappler has optimised, without the tensorflowjs package, whose graphs the wasm
backend computes wrongly or refuses. float16 and uint8_weights are smaller downloads: the runtime computes in float32.
"""

from pathlib import Path
from typing import Any

from tensorflow.core.framework.graph_pb2 import GraphDef

from export.graphs.tensorflow import narrow, nhwc
from export.graphs.tfjs_file import described, write_model
from export.graphs.tfjs_graph import prepare
from pipeline.checkpoint import Checkpoint
from records.tensor import preparations, tensors_to

TOOLCHAIN = "tensorflow"
SOURCES = {
    "float32": "saved_model/float32",
    "float16": "saved_model/float32",
    "uint8_weights": "saved_model/float32",
}
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""That of the target saved_model, whose worker it shares."""

ENTRY = "model.json"


def convert(source: Path, checkpoint: Path, precision: str, out: Path) -> dict[str, Any]:
    """Write saved_model/float32's folder as `model.json` and `weights-<i>-of-<n>.bin`. Raises Inexpressible."""
    opened, prepared = Checkpoint.open(Path(checkpoint)), prepare(Path(source))
    inputs, outputs = (
        [narrow(nhwc(tensor, prepared.batch)) for tensor in tensors] for tensors in (opened.inputs, opened.outputs)
    )
    signature = {
        "inputs": {tensor.name: described(tensor, f"{tensor.name}:0") for tensor in inputs},
        "outputs": {tensor.name: described(tensor, prepared.places[tensor.name]) for tensor in outputs},
    }
    metadata = {
        "task": opened.task,
        "labels": list(opened.labels),
        "preparation": preparations(opened.inputs),
        "normalisation": dict(opened.normalisation),
        "checkpoint_sha256": opened.sha256,
    }
    why = write_model(GraphDef.FromString(prepared.graph), precision, signature, metadata, Path(out) / ENTRY)
    return {
        "entry": ENTRY,
        "findings": [*prepared.findings, *([why] if why else [])],
        "details": {"unquantized": why} if why else {},
        "inputs": tensors_to(inputs),
        "outputs": tensors_to(outputs),
    }
