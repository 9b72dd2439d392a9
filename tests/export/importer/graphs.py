"""Runs in the `tensorflow` toolchain: an ONNX file as one traced function, and what its graph is made of.

build("model.onnx", [["one.safetensors", "one.out.safetensors"]], last=["image"])
"""

from collections import Counter
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from export.graphs.importer.graph import read
from export.graphs.importer.node import Refused

TOOLCHAIN = "tensorflow"


def build(path: str, files: list[list[str]], last: list[str]) -> dict[str, Any]:
    """Run the same function on every file of inputs; → operators, constants' least and count, where int64 is.

    files: pairs of inputs and of where the outputs go. last: inputs and outputs with channels last. What is refused is
    `{"refused": "…"}`.
    """
    model = onnx.load(path)
    try:
        network = read(model, last)
        specs = {name: _spec(model, name, last) for name in network.inputs}
        function = tf.function(lambda tensors: network(**tensors), autograph=False).get_concrete_function(specs)
    except Refused as error:
        return {"refused": str(error)}
    for source, out in files:
        given = {name: tf.constant(value) for name, value in load_file(source).items()}
        outputs = {name: np.ascontiguousarray(value.numpy()) for name, value in function(given).items()}
        save_file(outputs, out)
    operators = function.graph.get_operations()
    return {
        "operators": Counter(operator.type for operator in operators),
        "least": min(map(_least, operators), default=0.0),
        "numbers": sum(map(_numbers, operators)),
        "wide": [one.type for one in operators if any(tensor.dtype == tf.int64 for tensor in one.outputs)],
    }


def _spec(model: onnx.ModelProto, name: str, last: list[str]) -> Any:
    kind = next(one.type.tensor_type for one in model.graph.input if one.name == name)
    shape = [axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim]
    if name in last:
        shape = [shape[0], *shape[2:], shape[1]]
    return tf.TensorSpec(shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type), name)


def _numbers(operator: Any) -> int:
    """How many numbers a constant of floats has."""
    if operator.type != "Const" or not operator.outputs[0].dtype.is_floating:
        return 0
    return int(operator.outputs[0].shape.num_elements())


def _least(operator: Any) -> float:
    """The least number of a constant of floats."""
    if operator.type != "Const" or not operator.outputs[0].dtype.is_floating:
        return 0.0
    return float(tf.make_ndarray(operator.get_attr("value")).min(initial=0.0))
