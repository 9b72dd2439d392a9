"""ONNX in ONNX Runtime, every tensor an output; without its graph optimizations, which would do away with most.

Of an int8 model it is the dequantized tensor: what the next operator is given.
"""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from safetensors import safe_open
from safetensors.numpy import save_file

TOOLCHAIN = "torch"


def version() -> str:
    """Of the runtime."""
    return f"onnxruntime {onnxruntime.__version__}"


def collect(
    path: str, manifest: dict[str, Any], names: list[str], golden: str, samples: int, out: str
) -> list[dict[str, Any]]:
    """Those of the tensors that are there, in graph order: tensor, operator, scale; arrays to `out` as `i`."""
    model = onnx.load(path)
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    made = {output: node for node in model.graph.node for output in node.output}
    outputs = {one.name for one in model.graph.output}
    said: list[dict[str, Any]] = []
    fetched = []
    for output, node in made.items():
        if output not in names:
            continue
        rounded = f"{output}_DequantizeLinear_Output"
        scale = constants.get(f"{output}_scale")
        fetched.append(rounded if rounded in made else output)
        said.append(
            {"tensor": output, "operator": node.op_type, "scale": None if scale is None else float(scale.max())}
        )
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in fetched if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    with safe_open(golden, framework="numpy") as file:
        inputs = {one["name"]: file.get_tensor(f"input.{one['name']}")[:samples] for one in manifest["inputs"]}
    values = session.run(fetched, inputs)
    save_file({str(index): np.ascontiguousarray(value, np.float32) for index, value in enumerate(values)}, out)
    return said
