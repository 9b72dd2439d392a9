"""Prepares the graph of a SavedModel for TensorFlow.js: optimised, of its operators only, right on every backend.

prepared = prepare(Path("…/saved_model/float32/1"))
GraphDef.FromString(prepared.graph)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.grappler import tf_optimizer

from export.graphs.graph_def import add_constant, add_transpose, constant_value, node_name
from export.graphs.operators import inexpressible, modules
from export.graphs.tensorflow import load_graph
from export.graphs.tfjs import mend
from export.graphs.tfjs_layout import keep_layout
from workers import memory

WITH_BIAS = {"Conv2D", "DepthwiseConv2dNative", "MatMul"}
"""Operators with which grappler fuses a bias."""
OPERATORS = Path(__file__).with_name("tfjs_operators.txt")
"""File of the operators that TensorFlow.js knows, one a line."""


@dataclass(frozen=True)
class Prepared:
    """A graph that TensorFlow.js computes rightly, with its weights inside: all precisions have the same."""

    graph: bytes
    """A serialised GraphDef."""
    batch: int | None
    """The only batch size it takes; None: any."""
    places: Mapping[str, str]
    """Output → its tensor in the graph."""
    findings: list[str]


@lru_cache(maxsize=1)
def prepare(source: Path) -> Prepared:
    """Return the graph of a SavedModel as TensorFlow.js can compute it. Raises Inexpressible."""
    loaded = load_graph(source)
    graph = optimised(loaded.function)
    memory.release()
    straighten(graph)
    findings = mend(graph)
    graph = needed(graph, loaded.function)
    check_operators(graph, source)
    places = {name: tensor.name for name, tensor in zip(loaded.outputs, loaded.function.outputs, strict=True)}
    return Prepared(graph.SerializeToString(), loaded.batch, places, findings)


def optimised(frozen: Any) -> Any:
    """Return the graph as grappler leaves it: constants folded, and convolutions and products fused.

    They are fused with their bias and activation.
    """
    graph = frozen.graph.as_graph_def()
    fetch = [tensor.name for tensor in [*frozen.inputs, *frozen.outputs]]
    spell_out(graph)
    graph = grappler(graph, fetch, ["debug_stripper", "constfold", "arithmetic", "dependency"], device="")
    split_groups(graph)
    keep_layout(graph, {node_name(name) for name in fetch})
    add_biases(graph)
    return grappler(graph, fetch, ["remap", "constfold", "dependency"])


def spell_out(graph: Any) -> None:
    """Write, in place, erfc(x), of which TensorFlow makes GELU, as 1 − erf(x): TensorFlow.js has no erfc."""
    for node in [node for node in graph.node if node.op == "Erfc"]:
        erf = graph.node.add(name=f"{node.name}/erf", op="Erf", input=list(node.input))
        erf.attr["T"].CopyFrom(node.attr["T"])
        add_constant(graph, f"{node.name}/one", np.array(1, np.float32))
        node.op, node.input[:] = "Sub", [f"{node.name}/one", erf.name]


def grappler(graph: Any, fetch: list[str], optimizers: list[str], device: str = "/device:CPU:0") -> Any:
    """Return the graph as TensorFlow's own optimizer leaves it; tensors in `fetch` stay.

    device: without one, nothing is fused, and several operators on one tensor do not become `_UnaryOpsComposition`.
    """
    for node in graph.node:
        node.device = device
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
    meta = tf.compat.v1.train.export_meta_graph(graph_def=graph, graph=imported)
    fetched = meta_graph_pb2.CollectionDef()
    fetched.node_list.value.extend(fetch)
    meta.collection_def["train_op"].CopyFrom(fetched)
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.optimizers[:] = optimizers
    config.graph_options.rewrite_options.min_graph_nodes = -1
    del graph, imported
    memory.release()
    optimised_graph = tf_optimizer.OptimizeGraph(config, meta)
    memory.release()
    for node in optimised_graph.node:
        node.device = ""
    return optimised_graph


def split_groups(graph: Any) -> None:
    """Split, in place, a convolution in groups into one convolution for each group, which is all TensorFlow.js has."""
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
    nodes = {node.name: node for node in graph.node}
    for node in [node for node in graph.node if node.op == "Conv2D"]:
        kernel = nodes[node_name(node.input[1])]
        name, channels = node.name, imported.get_operation_by_name(node.name).inputs[0].shape[3]
        if kernel.op != "Const" or channels == kernel.attr["value"].tensor.tensor_shape.dim[2].size:
            continue
        weights = constant_value(kernel)
        groups = channels // weights.shape[2]
        add_constant(graph, f"{name}/axis", np.array(3, np.int32))
        parts = graph.node.add(name=f"{name}/parts", op="Split", input=[f"{name}/axis", node.input[0]])
        parts.attr["T"].CopyFrom(node.attr["T"])
        parts.attr["num_split"].i = groups
        for index, group_weights in enumerate(np.split(weights, groups, axis=3)):
            add_constant(graph, f"{name}/kernel{index}", np.ascontiguousarray(group_weights))
            convolution = graph.node.add()
            convolution.CopyFrom(node)
            convolution.name = f"{name}/group{index}"
            convolution.input[:] = [f"{parts.name}:{index}", f"{name}/kernel{index}"]
        node.op, node.input[:] = "ConcatV2", [*(f"{name}/group{index}" for index in range(groups)), f"{name}/axis"]
        dtype = node.attr["T"].type
        node.attr.clear()
        node.attr["T"].type, node.attr["Tidx"].type = dtype, tf.int32.as_datatype_enum
        node.attr["N"].i = groups


def add_biases(graph: Any) -> None:
    """Turn, in place, what adds one constant per channel to a convolution or a product into a BiasAdd.

    Grappler fuses that. One constant for all channels stays: the wasm backend refuses a bias without an axis.
    """
    nodes = {node.name: node for node in graph.node}
    for node in list(graph.node):
        if node.op != "AddV2":
            continue
        for product, bias in (node.input, reversed(node.input)):
            before, constant = nodes.get(node_name(product)), nodes.get(node_name(bias))
            if before is None or before.op not in WITH_BIAS or constant is None or constant.op != "Const":
                continue
            value, channels = constant_value(constant), _channels(before, nodes)
            if value.size != channels or value.shape[-1:] != (channels,):
                continue
            name = f"{node.name}/bias"
            add_constant(graph, name, value.reshape(-1))
            node.op, node.input[:] = "BiasAdd", [product, name]
            node.attr["data_format"].s = b"NHWC"
            break


def _channels(node: Any, nodes: Mapping[str, Any]) -> int | None:
    """Return how many channels a convolution or a product gives; None: its weights are not constant."""
    weights = nodes.get(node_name(node.input[1]))
    if weights is None or weights.op != "Const":
        return None
    shape = [axis.size for axis in weights.attr["value"].tensor.tensor_shape.dim]
    if node.op == "DepthwiseConv2dNative":
        return int(shape[2] * shape[3])
    transposed = node.op == "MatMul" and node.attr["transpose_b"].b
    return int(shape[0] if transposed else shape[-1])


def straighten(graph: Any) -> None:
    """Have every matrix product, in place, take its second factor as it is.

    TensorFlow.js's wasm backend computes `_FusedMatMul` with `transpose_b` wrongly: 8.7 % off on resnet18, with the
    same decision. A constant is stored transposed; what is computed is transposed by an operator of its own.
    """
    nodes = {node.name: node for node in graph.node}
    transposed: dict[str, str] = {}
    for node in list(graph.node):
        if node.op not in {"MatMul", "_FusedMatMul"} or not node.attr["transpose_b"].b:
            continue
        factor = node.input[1].removesuffix(":0")
        if factor not in transposed:
            transposed[factor] = _add_transposed(graph, nodes, factor)
        node.input[1] = transposed[factor]
        node.attr["transpose_b"].b = False


def _add_transposed(graph: Any, nodes: Mapping[str, Any], factor: str) -> str:
    """Add a matrix's transpose to the graph; return its name."""
    constant, name = nodes.get(factor), f"{factor}/transposed"
    if constant is not None and constant.op == "Const":
        add_constant(graph, name, np.ascontiguousarray(constant_value(constant).T))
    else:
        add_constant(graph, f"{name}/axes", np.array([1, 0], np.int32))
        add_transpose(graph, name, factor, f"{name}/axes")
    return name


def needed(graph: Any, frozen: Any) -> Any:
    """Return the graph without what no output needs. Inputs stay."""
    names = {tensor.op.name for tensor in [*frozen.inputs, *frozen.outputs]}
    return tf.compat.v1.graph_util.extract_sub_graph(graph, sorted(names))


def check_operators(graph: Any, source: Path) -> None:
    """Check that TensorFlow.js knows every operator. Raises Inexpressible."""
    unknown = {node.op for node in graph.node} - set(OPERATORS.read_text(encoding="utf-8").split())
    if unknown:
        raise inexpressible("TensorFlow.js", modules(sorted(unknown), source))
