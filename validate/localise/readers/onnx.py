"""Reads every tensor of an ONNX file in ONNX Runtime, without its graph optimizations, which would remove most tensors.

A tensor of an int8 model is read dequantized, as the next operator receives it.
"""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from safetensors import safe_open
from safetensors.numpy import save_file

TOOLCHAIN = "torch"


def version() -> str:
    """Return the runtime and its version."""
    return f"onnxruntime {onnxruntime.__version__}"


def collect(
    path: str, manifest: dict[str, Any], names: list[str], golden: str, samples: int, out: str
) -> list[dict[str, Any]]:
    """Return the tensors of `names` that the file has, in graph order: tensor, operator, scale.

    Writes the values of the i-th, (N, …) float32, to `out` as `i`.
    """
    model = onnx.load(path)
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    producers = {output: node for node in model.graph.node for output in node.output}
    outputs = {output.name for output in model.graph.output}
    records: list[dict[str, Any]] = []
    fetched = []
    for output, node in producers.items():
        if output not in names:
            continue
        rounded = f"{output}_DequantizeLinear_Output"
        scale = constants.get(f"{output}_scale")
        fetched.append(rounded if rounded in producers else output)
        records.append(
            {"tensor": output, "operator": node.op_type, "scale": None if scale is None else float(scale.max())}
        )
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in fetched if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    with safe_open(golden, framework="numpy") as file:
        inputs = {item["name"]: file.get_tensor(f"input.{item['name']}")[:samples] for item in manifest["inputs"]}
    step = 1 if session.get_inputs()[0].shape[:1] == [1] else samples
    parts = [
        session.run(fetched, {name: value[start : start + step] for name, value in inputs.items()})
        for start in range(0, samples, step)
    ]
    values = [np.concatenate(each) if len(each) > 1 else each[0] for each in zip(*parts, strict=True)]
    save_file({str(index): np.ascontiguousarray(value, np.float32) for index, value in enumerate(values)}, out)
    return records


def operators(path: str) -> list[dict[str, Any]]:
    """Return all nodes in the file's order, as export/graphs/stopped.py has them; nothing is run."""
    nodes = onnx.load(path, load_external_data=False).graph.node
    return [
        {"name": node.name, "kind": node.op_type, "version": None, "tensor": next(iter(node.output), "")}
        for node in nodes
    ]
