"""Runs in the `tensorflow` toolchain: conversions without one of their mends, to see what the mend is for.

Each call has a process of its own, with the targets' ENVIRONMENT, so nothing is put back.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from litert_quantizer import quantizer, recipe

from export.graphs import by_onnx2tf, saved_model_ways, tfjs_graph, tflite_converter
from export.graphs.importer.node import Refused
from export.quantize import tflite as quantize
from export.targets import saved_model, tfjs, tflite


def without_importer() -> None:
    """As for a network of which the importer has not every operator."""

    def refuse(case: Any, place: Path) -> Any:
        raise Refused("the importer has no Whirl; the model is of opset 18")

    saved_model_ways.by_importer = refuse


def dense_layers_per_row(source: str, checkpoint: str, out: str) -> dict[str, Any]:
    """TFLiteConverter's own dynamic range: FULLY_CONNECTED version 12."""
    tflite.PLAIN["int8_dynamic"] = quantize.OPTIMIZED
    return tflite.convert(Path(source), Path(checkpoint), "int8_dynamic", Path(out))


def ai_edge_dynamic(source: str, checkpoint: str, out: str) -> dict[str, Any]:
    """LiteRT Quantizer's dynamic range."""
    made = quantizer.Quantizer(tflite_converter.exact(Path(source)), recipe.dynamic_wi8_afp32())
    content = bytes(made.quantize(enable_progress_bar=False, enable_progress_report=False).quantized_model)
    (Path(out) / "model.tflite").write_bytes(content)
    return {"entry": "model.tflite"}


def turned_products(source: str, checkpoint: str, out: str, mend: bool) -> dict[str, Any]:
    """Matrix products whose second factor is stored transposed, as PyTorch and ONNX have it."""
    optimised = tfjs_graph.optimised

    def turned(frozen: Any) -> Any:
        graph = optimised(frozen)
        nodes = {node.name: node for node in graph.node}
        products = [node for node in graph.node if node.op == "_FusedMatMul"]
        for node in products:
            weights = nodes[node.input[1]].attr["value"].tensor
            weights.CopyFrom(tf.make_tensor_proto(np.ascontiguousarray(tf.make_ndarray(weights).T)))
            node.attr["transpose_b"].b = True
        assert products
        return graph

    tfjs_graph.optimised = turned
    if not mend:
        tfjs_graph.straighten = lambda graph: None
    return tfjs.convert(Path(source), Path(checkpoint), "float32", Path(out))


def operator_of_tensorflow_alone(source: str, checkpoint: str, out: str) -> dict[str, Any]:
    """A graph with one operator that TF.js does not have."""
    optimised = tfjs_graph.optimised

    def strange(frozen: Any) -> Any:
        graph = optimised(frozen)
        next(node for node in graph.node if node.op == "Sigmoid").op = "Erfc"
        return graph

    tfjs_graph.optimised = strange
    return tfjs.convert(Path(source), Path(checkpoint), "float32", Path(out))


def constants_as_they_are(source: str, checkpoint: str, out: str) -> dict[str, Any]:
    """By onnx2tf, normalisation not as a depthwise convolution."""
    without_importer()
    by_onnx2tf.prepare = lambda model: model
    return saved_model.convert(Path(source), Path(checkpoint), "float32", Path(out))


def maxima_as_they_are(source: str, checkpoint: str, out: str, converter: bool) -> dict[str, Any]:
    """Max pooling with onnx2tf's padding, in int8; `source` is the ONNX file. converter: by TensorFlow's quantizer."""
    without_importer()
    by_onnx2tf.padding_mode = lambda node, positive: ""
    if converter:
        quantize.by_litert = refuse_all
    return tflite.convert(Path(source), Path(checkpoint), "int8", Path(out))


def refuse_all(network: Any) -> Any:
    """Make TensorFlow's quantizer the only one."""
    raise ValueError("not asked for")


def prepare(files: dict[str, str]) -> None:
    """With all mends: ONNX to ONNX."""
    for source, out in files.items():
        onnx.save(by_onnx2tf.prepare(onnx.load(source)), out)


def check_operators(source: str) -> None:
    """Whether onnx2tf knows them."""
    by_onnx2tf.check_operators(onnx.load(source))
