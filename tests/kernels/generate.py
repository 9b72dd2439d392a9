"""Runs in the `tensorflow` toolchain: cases → graph models of TensorFlow.js, and what TensorFlow gives for each.

    worker.call(Path("tests/kernels/generate.py"), "generate", {"cases": …, "out": …}, log, limit_s)

Two models hold all cases side by side: `plain`, each operator as it is, and `mended`, as the target tfjs writes it,
with whose ENVIRONMENT it is to be started.
"""

import base64
import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.python.framework import op_def_library, op_def_registry

from export.graphs import tfjs, tfjs_file, tfjs_graph
from records.tensor import Array

UNFUSED = {"_FusedMatMul": "MatMul", "_FusedConv2D": "Conv2D", "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative"}
EXTRA = {"fused_ops", "leakyrelu_alpha"}
LATER = {"FusedDepthwiseConv2dNative"}
"""What TensorFlow does not have: made of the plain operator."""


def generate(cases: list[dict[str, Any]], out: str) -> dict[str, Any]:
    """Write `OUT/plain/model.json` and `OUT/mended/model.json`.

    → per case its feeds and expected outputs, and what could not be written otherwise.
    """
    with tf.Graph().as_default() as whole:
        built = [_case(case, index) for index, case in enumerate(cases)]
    told = []
    for index, (case, tensors) in enumerate(zip(cases, built, strict=True)):
        feeds = {f"k{index}_in{at}": value for at, value in _feeds(case).items()}
        told.append(
            {
                "name": case["name"],
                "feeds": {name: encode(value) for name, value in feeds.items()},
                "fetches": [f"k{index}:{at}" if at else f"k{index}" for at in range(len(tensors))],
                "expected": [encode(np.asarray(value)) for value in _reference(case)],
            }
        )
    graph = whole.as_graph_def()
    _write(copy.deepcopy(graph), Path(out) / "plain", cases)
    tfjs_graph.straighten(graph)
    findings = tfjs.mend(graph)
    _write(graph, Path(out) / "mended", cases)
    return {"cases": told, "findings": findings}


def _write(graph: Any, folder: Path, cases: Sequence[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    _name_fused(graph, cases)
    weights = tfjs_file.take_weights(graph)
    manifest = tfjs_file.write_weights(weights, "float32", folder)
    model = {"format": "graph-model", "modelTopology": json_format.MessageToDict(graph), "weightsManifest": [manifest]}
    (folder / "model.json").write_text(json.dumps(model))


def _flat(inputs: Sequence[Any]) -> list[dict[str, Any]]:
    return [one for given in inputs for one in (given if isinstance(given, list) else [given])]


def _feeds(case: dict[str, Any]) -> dict[int, Array]:
    """Those inputs that are no constants, by their places."""
    return {at: decode(one) for at, one in enumerate(_flat(case["inputs"])) if not one["fixed"]}


def _case(case: dict[str, Any], index: int) -> list[Any]:
    """The operator with a placeholder of any batch for each input; → its outputs."""
    tensors = []
    for at, one in enumerate(_flat(case["inputs"])):
        value = decode(one)
        if one["fixed"]:
            tensors.append(tf.constant(value, name=f"k{index}_const{at}"))
        else:
            tensors.append(
                tf.compat.v1.placeholder(value.dtype, [None, *value.shape[1:]][: value.ndim], f"k{index}_in{at}")
            )
    operator = UNFUSED[case["op"]] if case["op"] in LATER else case["op"]
    attributes = case["attributes"]
    if case["op"] in LATER:
        attributes = {key: value for key, value in attributes.items() if key not in EXTRA}
        return applied(operator, tensors[:2], attributes, f"k{index}")
    return applied(operator, _grouped(case["inputs"], tensors), attributes, f"k{index}")


def _grouped(inputs: Sequence[Any], tensors: Sequence[Any]) -> list[Any]:
    """Tensors in a row as the inputs have them, with lists."""
    rest = iter(tensors)
    grouped: list[Any] = []
    for given in inputs:
        grouped.append([next(rest) for _ in given] if isinstance(given, list) else next(rest))
    return grouped


def spatial_transformer(images: Any, turns: Any) -> Any:
    """(N, H, W, C) looked at through N affine maps, (N, 2, 3), between pixels: zeros outside, corners not aligned."""
    count, (height, width) = tf.shape(images)[0], images.shape[1:3]
    across, down = (tf.constant((2 * np.arange(size) + 1) / size - 1, tf.float32) for size in (width, height))
    points = tf.stack([*tf.meshgrid(across, down), tf.ones([height, width])], 2)
    grid = tf.matmul(tf.reshape(points, [1, -1, 3]), turns, transpose_b=True)
    x, y = ((grid[..., at] + 1) * size / 2 - 0.5 for at, size in ((0, width), (1, height)))
    left, top = tf.floor(x), tf.floor(y)
    rows, found = tf.reshape(images, [count, height * width, -1]), []
    for column, share in ((left, left + 1 - x), (left + 1, x - left)):
        for row, part in ((top, top + 1 - y), (top + 1, y - top)):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            place = tf.clip_by_value(row, 0, height - 1) * width + tf.clip_by_value(column, 0, width - 1)
            values = tf.gather(rows, tf.cast(place, tf.int32), axis=1, batch_dims=1)
            found.append(values * tf.where(inside, share * part, 0.0)[..., None])
    return tf.reshape(tf.add_n(found), tf.shape(images))


NETWORKS = {"SpatialTransformer": spatial_transformer}


def applied(op: str, inputs: Sequence[Any], attributes: dict[str, Any], name: str | None = None) -> list[Any]:
    """An operator, or a network, by its name; → its outputs."""
    if op in NETWORKS:
        with tf.name_scope(f"{name}/"):
            value = NETWORKS[op](*inputs)
        return [tf.identity(value, name)]
    definition = op_def_registry.get(op)
    names = [argument.name for argument in definition.input_arg]
    inferred = {
        one
        for argument in definition.input_arg
        for one in (argument.type_attr, argument.number_attr, argument.type_list_attr)
    }
    words = {
        one.name: attributes[one.name] if one.name in attributes else _default(one)
        for one in definition.attr
        if one.name not in inferred and (one.name in attributes or one.default_value.WhichOneof("value"))
    }
    if op == "_FusedConv2D":
        words["num_args"] = len(inputs[2])
    empty = [[] for _ in names[len(inputs) :]]  # _FusedConv2D's further arguments
    found = op_def_library.apply_op(op, name=name, **dict(zip(names, [*inputs, *empty], strict=True)), **words)
    outputs = list(found) if isinstance(found, (list, tuple)) else [found]
    return outputs[:1] if op.startswith("FusedBatchNorm") else outputs  # the others are training's


def _default(attribute: Any) -> Any:
    """The value an attribute has where none is given."""
    kind = attribute.default_value.WhichOneof("value")
    value = getattr(attribute.default_value, kind)
    return [*value.i, *value.s, *value.f] if kind == "list" else value


def _reference(case: dict[str, Any]) -> list[Array]:
    """What TensorFlow gives, fused operators one after the other."""
    values = [tf.constant(decode(one)) for one in _flat(case["inputs"])]
    if case["op"] not in UNFUSED:
        return _run(case["op"], _grouped(case["inputs"], values), case["attributes"])
    steps = case["attributes"]["fused_ops"]
    plain = {key: value for key, value in case["attributes"].items() if key not in EXTRA}
    found = _run(UNFUSED[case["op"]], values[:2], plain)
    found = _run("BiasAdd", [found[0], values[2]], {})
    for step in steps[1:]:
        slope = {"alpha": case["attributes"]["leakyrelu_alpha"]} if step == "LeakyRelu" else {}
        found = _run(step, [found[0]], slope)
    return found


def _run(op: str, inputs: Sequence[Any], attributes: dict[str, Any]) -> list[Array]:
    arrays = [[np.asarray(x) for x in one] if isinstance(one, list) else np.asarray(one) for one in inputs]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tensors = [[tf.constant(x) for x in one] if isinstance(one, list) else tf.constant(one) for one in arrays]
        if op == "DepthwiseConv2dNative" and max(attributes["dilations"]) > 1:  # TensorFlow's kernel refuses it
            rates, padding = attributes["dilations"][1:3], attributes["padding"]
            outputs = [tf.nn.depthwise_conv2d(*tensors, attributes["strides"], padding, dilations=rates)]
        else:
            outputs = applied(op, tensors, attributes)
        found: list[Array] = session.run(outputs)
        return found


def _name_fused(graph: Any, cases: Sequence[dict[str, Any]]) -> None:
    """The operators TensorFlow does not have."""
    nodes = {node.name: node for node in graph.node}
    for index, case in enumerate(cases):
        if case["op"] in LATER:
            node = nodes[f"k{index}"]
            node.op = case["op"]
            node.input.append(f"k{index}_const2")
            node.attr["fused_ops"].list.s.extend(one.encode() for one in case["attributes"]["fused_ops"])
            node.attr["num_args"].i = 1
            node.attr["leakyrelu_alpha"].f = case["attributes"].get("leakyrelu_alpha", 0.2)


def encode(value: Array) -> dict[str, Any]:
    """An array in JSON, as TensorFlow.js can hold it: no integer of 64 bits."""
    value = value.astype(np.int32) if value.dtype == np.int64 else value
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"dtype": value.dtype.name, "shape": list(value.shape), "data": data}


def decode(told: dict[str, Any]) -> Array:
    """The array."""
    return np.frombuffer(base64.b64decode(told["data"]), told["dtype"]).reshape(told["shape"])
