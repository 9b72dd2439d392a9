"""TensorFlow.js, for browsers and Node: a graph model, `model.json` and shards of 4 MiB, right on every backend.

Written from the frozen graph that grappler has optimised, without the tensorflowjs package, whose graphs the wasm
backend computes wrongly or refuses. float16 and uint8_weights are smaller downloads: the runtime computes in float32.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.grappler import tf_optimizer

from export.graphs.operators import inexpressible, modules
from export.graphs.tensorflow import load_graph, nhwc
from export.graphs.tfjs import mend
from pipeline.checkpoint import Checkpoint
from records.tensor import Array, Tensor, preparations
from workers import memory

TOOLCHAIN = "tensorflow"
SOURCES = {
    "float32": "saved_model/float32",
    "float16": "saved_model/float32",
    "uint8_weights": "saved_model/float32",
}
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""That of the target saved_model, whose worker it shares."""

ENTRY = "model.json"
SHARD = 4 * 2**20
"""Bytes of a file of weights: what browsers keep in their cache."""
WITH_BIAS = {"Conv2D", "DepthwiseConv2dNative", "MatMul"}
ELEMENTWISE = {
    *(
        "Add",
        "AddV2",
        "Sub",
        "Mul",
        "RealDiv",
        "Maximum",
        "Minimum",
        "Neg",
        "Exp",
        "Erf",
        "Tanh",
        "Sigmoid",
        "Softplus",
    ),
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Sqrt", "Rsqrt", "Square"),
}
QUANTIZED = 64
"""Values a weight has at least to be worth fewer bits; biases and scalars stay as they are."""
OPERATORS = Path(__file__).parents[1] / "tfjs_operators.txt"


def convert(source: Path, checkpoint: Path, precision: str, out: Path) -> dict[str, Any]:
    """saved_model/float32's folder → `model.json` and `weights-<i>-of-<n>.bin`."""
    opened = Checkpoint.open(Path(checkpoint))
    whole = prepared(Path(source))
    inputs, outputs = (
        [_batched(nhwc(one), whole.batch) for one in tensors] for tensors in (opened.inputs, opened.outputs)
    )
    graph = GraphDef.FromString(whole.graph)
    manifest = write_weights(take_weights(graph), precision, Path(out))
    model = {
        "format": "graph-model",
        "generatedBy": f"TensorFlow {tf.__version__}",
        "convertedBy": "Anywhere",
        "signature": {
            "inputs": {one.name: _described(one, f"{one.name}:0") for one in inputs},
            "outputs": {one.name: _described(one, whole.places[one.name]) for one in outputs},
        },
        "userDefinedMetadata": {
            "task": opened.task,
            "labels": list(opened.labels),
            "preparation": preparations(opened.inputs),
            "normalisation": dict(opened.normalisation),
            "checkpoint_sha256": opened.sha256,
        },
        "modelTopology": json_format.MessageToDict(graph),
        "weightsManifest": [manifest],
    }
    (Path(out) / ENTRY).write_text(json.dumps(model))
    return {
        "entry": ENTRY,
        "findings": whole.findings,
        "inputs": [asdict(tensor) for tensor in inputs],
        "outputs": [asdict(tensor) for tensor in outputs],
    }


@dataclass(frozen=True)
class Prepared:
    """A graph that TF.js computes rightly, with its weights inside: all precisions have the same."""

    graph: bytes
    batch: int | None
    """The only batch size it takes; None: any."""
    places: Mapping[str, str]
    """Output → its tensor in the graph."""
    findings: list[str]


@lru_cache(maxsize=1)
def prepared(source: Path) -> Prepared:
    """Of a SavedModel. Raises Inexpressible."""
    loaded = load_graph(source)
    graph = optimised(loaded.function)
    memory.release()
    straighten(graph)
    findings = mend(graph)
    graph = needed(graph, loaded.function)
    check_operators(graph, source)
    places = {name: tensor.name for name, tensor in zip(loaded.outputs, loaded.function.outputs, strict=True)}
    return Prepared(graph.SerializeToString(), loaded.batch, places, findings)


def _batched(tensor: Tensor, batch: int | None) -> Tensor:
    return tensor if batch is None else replace(tensor, shape=(batch, *tensor.shape[1:]))


def _described(tensor: Tensor, name: str) -> dict[str, Any]:
    dims = [{"size": str(axis) if isinstance(axis, int) else "-1"} for axis in tensor.shape]
    return {"name": name, "dtype": "DT_FLOAT", "tensorShape": {"dim": dims}}


def optimised(frozen: Any) -> Any:
    """The graph as grappler leaves it: constants folded, convolutions and products fused with bias and activation."""
    graph = frozen.graph.as_graph_def()
    fetch = [tensor.name for tensor in [*frozen.inputs, *frozen.outputs]]
    spell_out(graph)
    graph = grappler(graph, fetch, ["debug_stripper", "constfold", "arithmetic", "dependency"], device="")
    split_groups(graph)
    keep_layout(graph, {name.partition(":")[0] for name in fetch})
    add_biases(graph)
    return grappler(graph, fetch, ["remap", "constfold", "dependency"])


def spell_out(graph: Any) -> None:
    """What TF.js does not have, by what it has: erfc(x), of which TensorFlow makes GELU, is 1 − erf(x)."""
    for node in [node for node in graph.node if node.op == "Erfc"]:
        inner = graph.node.add(name=f"{node.name}/erf", op="Erf", input=list(node.input))
        inner.attr["T"].CopyFrom(node.attr["T"])
        _constant(graph, f"{node.name}/one", np.array(1, np.float32))
        node.op, node.input[:] = "Sub", [f"{node.name}/one", inner.name]


def grappler(graph: Any, fetch: list[str], optimizers: list[str], device: str = "/device:CPU:0") -> Any:
    """TensorFlow's optimizer of graphs; tensors in `fetch` stay.

    device: without one, nothing is fused, and several operators on one tensor do not become `_UnaryOpsComposition`.
    """
    for node in graph.node:
        node.device = device
    with tf.Graph().as_default() as whole:
        tf.import_graph_def(graph, name="")
    meta = tf.compat.v1.train.export_meta_graph(graph_def=graph, graph=whole)
    kept = meta_graph_pb2.CollectionDef()
    kept.node_list.value.extend(fetch)
    meta.collection_def["train_op"].CopyFrom(kept)
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.optimizers[:] = optimizers
    config.graph_options.rewrite_options.min_graph_nodes = -1
    del graph, whole
    memory.release()
    optimised = tf_optimizer.OptimizeGraph(config, meta)
    memory.release()
    for node in optimised.node:
        node.device = ""
    return optimised


def split_groups(graph: Any) -> None:
    """A convolution in groups as one for each group, which is all TF.js has."""
    with tf.Graph().as_default() as whole:
        tf.import_graph_def(graph, name="")
    nodes = {node.name: node for node in graph.node}
    for node in [node for node in graph.node if node.op == "Conv2D"]:
        kernel = nodes[_name(node.input[1])]
        name, channels = node.name, whole.get_operation_by_name(node.name).inputs[0].shape[3]
        if kernel.op != "Const" or channels == kernel.attr["value"].tensor.tensor_shape.dim[2].size:
            continue
        weights = tf.make_ndarray(kernel.attr["value"].tensor)
        groups = channels // weights.shape[2]
        _constant(graph, f"{name}/axis", np.array(3, np.int32))
        parts = graph.node.add(name=f"{name}/parts", op="Split", input=[f"{name}/axis", node.input[0]])
        parts.attr["T"].CopyFrom(node.attr["T"])
        parts.attr["num_split"].i = groups
        for index, some in enumerate(np.split(weights, groups, axis=3)):
            _constant(graph, f"{name}/kernel{index}", np.ascontiguousarray(some))
            part = graph.node.add()
            part.CopyFrom(node)
            part.name = f"{name}/group{index}"
            part.input[:] = [f"{parts.name}:{index}", f"{name}/kernel{index}"]
        node.op, node.input[:] = "ConcatV2", [*(f"{name}/group{index}" for index in range(groups)), f"{name}/axis"]
        kept = node.attr["T"].type
        node.attr.clear()
        node.attr["T"].type, node.attr["Tidx"].type = kept, tf.int32.as_datatype_enum
        node.attr["N"].i = groups


def add_biases(graph: Any) -> None:
    """What adds one constant per channel to a convolution or a product is a BiasAdd, which grappler fuses.

    One constant for all channels is none: the wasm backend refuses a bias without an axis.
    """
    nodes = {node.name: node for node in graph.node}
    for node in list(graph.node):
        if node.op != "AddV2":
            continue
        for product, bias in (node.input, reversed(node.input)):
            before, constant = nodes.get(_name(product)), nodes.get(_name(bias))
            if before is None or before.op not in WITH_BIAS or constant is None or constant.op != "Const":
                continue
            value, channels = tf.make_ndarray(constant.attr["value"].tensor), _channels(before, nodes)
            if value.size != channels or value.shape[-1:] != (channels,):
                continue
            made = f"{node.name}/bias"
            _constant(graph, made, value.reshape(-1))
            node.op, node.input[:] = "BiasAdd", [product, made]
            node.attr["data_format"].s = b"NHWC"
            break


def _channels(node: Any, nodes: Mapping[str, Any]) -> int | None:
    """Of what a convolution or a product gives, where its weights are constant."""
    weights = nodes.get(_name(node.input[1]))
    if weights is None or weights.op != "Const":
        return None
    shape = [axis.size for axis in weights.attr["value"].tensor.tensor_shape.dim]
    if node.op == "DepthwiseConv2dNative":
        return int(shape[2] * shape[3])
    turned = node.op == "MatMul" and node.attr["transpose_b"].b
    return int(shape[0] if turned else shape[-1])


def _name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def keep_layout(graph: Any, fixed: Collection[str]) -> None:
    """Elementwise operators between a transposition and its inverse do without both.

    onnx2tf adds residuals in ONNX's layout: two transpositions of the activations for each. Here a transposition goes
    behind an elementwise operator all of whose inputs are transposed alike, until it meets its inverse. Nodes in
    `fixed` stay.
    """
    changed = True
    while changed:
        nodes = {node.name: node for node in graph.node}
        changed = False
        for node in list(graph.node):
            axes = _axes(node, nodes)
            if axes:
                inner = _axes(nodes[_name(node.input[0])], nodes)
                if inner and node.name not in fixed and [inner[axis] for axis in axes] == sorted(axes):
                    changed |= _redirect(graph, node.name, nodes[_name(node.input[0])].input[0])
            elif node.op in ELEMENTWISE and node.name not in fixed:
                changed |= _behind(graph, node, nodes)


def _behind(graph: Any, node: Any, nodes: dict[str, Any]) -> bool:
    """Move the transpositions of an operator's inputs behind it."""
    inputs = [nodes[_name(name)] for name in node.input]
    found = [axes for one in inputs if (axes := _axes(one, nodes))]
    if not found or any(axes != found[0] for axes in found):
        return False
    others = [one for one in inputs if not _axes(one, nodes)]
    if any(one.op != "Const" or one.attr["value"].tensor.tensor_shape.dim for one in others):  # but single numbers
        return False
    turned = f"{node.name}/transposed"
    _redirect(graph, node.name, turned)
    for index, one in enumerate(inputs):
        if _axes(one, nodes):
            node.input[index] = one.input[0]
    _constant(graph, f"{turned}/axes", np.array(found[0], np.int32))
    _transpose(graph, turned, node.name, f"{turned}/axes")
    for one in graph.node[-2:]:
        nodes[one.name] = one
    return True


def _axes(node: Any, nodes: Mapping[str, Any]) -> list[int]:
    """Of a transposition by constant axes; empty for every other operator."""
    if node.op != "Transpose" or nodes[_name(node.input[1])].op != "Const":
        return []
    axes: list[int] = tf.make_ndarray(nodes[_name(node.input[1])].attr["value"].tensor).tolist()
    return axes


def _redirect(graph: Any, name: str, other: str) -> bool:
    """What reads the first output of a node reads another tensor; → whether anything did."""
    found = False
    for node in graph.node:
        for index, given in enumerate(node.input):
            if given in {name, f"{name}:0"}:
                node.input[index], found = other, True
    return found


def straighten(graph: Any) -> None:
    """Matrix products take their second factor as it is.

    TF.js's wasm backend computes `_FusedMatMul` with `transpose_b` wrongly: 8.7 % off on resnet18, with the same
    decision. A constant is stored transposed; what is computed is transposed by an operator of its own.
    """
    nodes = {node.name: node for node in graph.node}
    done: dict[str, str] = {}
    for node in list(graph.node):
        if node.op not in {"MatMul", "_FusedMatMul"} or not node.attr["transpose_b"].b:
            continue
        given = node.input[1].removesuffix(":0")
        if given not in done:
            done[given] = _transposed(graph, nodes, given)
        node.input[1] = done[given]
        node.attr["transpose_b"].b = False


def _transposed(graph: Any, nodes: dict[str, Any], name: str) -> str:
    constant = nodes.get(name)
    made = f"{name}/transposed"
    if constant is not None and constant.op == "Const":
        value = tf.make_ndarray(constant.attr["value"].tensor)
        _constant(graph, made, np.ascontiguousarray(value.T))
        return made
    _constant(graph, f"{made}/axes", np.array([1, 0], np.int32))
    _transpose(graph, made, name, f"{made}/axes")
    return made


def _transpose(graph: Any, name: str, tensor: str, axes: str) -> None:
    node = graph.node.add(name=name, op="Transpose", input=[tensor, axes])
    node.attr["T"].type = tf.float32.as_datatype_enum
    node.attr["Tperm"].type = tf.int32.as_datatype_enum


def _constant(graph: Any, name: str, value: Array) -> None:
    node = graph.node.add(name=name, op="Const")
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))


def needed(graph: Any, frozen: Any) -> Any:
    """The graph without what no output needs. Inputs stay."""
    names = {tensor.op.name for tensor in [*frozen.inputs, *frozen.outputs]}
    return tf.compat.v1.graph_util.extract_sub_graph(graph, sorted(names))


def check_operators(graph: Any, source: Path) -> None:
    """Every one is among those TF.js knows. Raises Inexpressible."""
    known = set(OPERATORS.read_text().split())
    unknown = {node.op for node in graph.node} - known
    if unknown:
        raise inexpressible("TensorFlow.js", modules(sorted(unknown), source))


def take_weights(graph: Any) -> dict[str, Array]:
    """The values of all constants that are used, which leave the graph."""
    used = {name.removeprefix("^").partition(":")[0] for node in graph.node for name in node.input}
    weights = {}
    for node in list(graph.node):
        if node.op != "Const":
            continue
        if node.name not in used:
            graph.node.remove(node)
            continue
        tensor = node.attr["value"].tensor
        weights[node.name] = tf.make_ndarray(tensor)
        kept = tensor.dtype
        tensor.Clear()
        tensor.dtype = kept
    return weights


def write_weights(weights: dict[str, Array], precision: str, out: Path) -> dict[str, Any]:
    """Into shards; → their entry in `weightsManifest`."""
    entries, content = [], bytearray()
    for name, value in weights.items():
        entry, stored = packed(name, value, precision)
        entries.append(entry)
        content += stored.tobytes()
    count = max(1, -(-len(content) // SHARD))
    paths = [f"weights-{index + 1}-of-{count}.bin" for index in range(count)]
    for index, path in enumerate(paths):
        (out / path).write_bytes(content[index * SHARD : (index + 1) * SHARD])
    return {"paths": paths, "weights": entries}


def packed(name: str, value: Array, precision: str) -> tuple[dict[str, Any], Array]:
    """A weight as it is stored, and what the runtime has to know to read it."""
    if value.dtype == np.int64:
        value = value.astype(np.int32)  # TF.js has no others
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
    return entry | {
        "quantization": {"dtype": "uint8", "min": least, "scale": scale, "original_dtype": "float32"}
    }, steps


JS_TYPES = {"float32": "float32", "int32": "int32", "bool": "bool", "uint8": "int32"}
