"""Reads every tensor of a TFLite file in LiteRT's own kernels; integers as the numbers they stand for."""

from importlib import metadata
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_litert.tools import flatbuffer_utils
from safetensors import safe_open
from safetensors.numpy import save_file

from export.graphs.layers import latest
from records.tensor import tensors_from

TOOLCHAIN = "litert"

KINDS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}


def version() -> str:
    """Return the runtime and its version."""
    return f"LiteRT {metadata.version('ai-edge-litert')} builtin"


def collect(
    path: str, manifest: dict[str, Any], names: list[str], golden: str, samples: int, out: str
) -> list[dict[str, Any]]:
    """Return the tensors of `names` that the file has, in graph order: tensor, operator, scale.

    Writes the values of the i-th, (N, …), to `out` as `i`.
    """
    interpreter = Interpreter(
        path,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    tensors = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    selected: dict[str, tuple[str, int]] = {}
    for operator in interpreter._get_ops_details():  # the only way to the operators' order
        for index in operator["outputs"]:
            if index in tensors and (name := latest(tensors[index]["name"], names)):
                selected.setdefault(name, (operator["op_name"], index))
    inputs = dict(_inputs(interpreter, manifest, golden, samples))
    parts: dict[str, list[Any]] = {name: [] for name in selected}
    for sample in range(len(next(iter(inputs.values())))):
        for index, values in inputs.items():
            interpreter.set_tensor(index, values[sample : sample + 1])
        interpreter.invoke()
        for name, (_, index) in selected.items():
            parts[name].append(_numbers(interpreter.get_tensor(index), tensors[index]))
    save_file({str(index): np.concatenate(values) for index, values in enumerate(parts.values())}, out)
    return [
        {"tensor": name, "operator": operator, "scale": float(scales.max()) if len(scales) else None}
        for name, (operator, index) in selected.items()
        for scales in [tensors[index]["quantization_parameters"]["scales"]]
    ]


def _inputs(interpreter: Any, manifest: dict[str, Any], golden: str, samples: int) -> Any:
    details = {
        detail["name"].removeprefix("serving_default_").partition(":")[0]: detail
        for detail in interpreter.get_input_details()
    }
    with safe_open(golden, framework="numpy") as file:
        for tensor in tensors_from(manifest["inputs"]):
            values = file.get_tensor(f"input.{tensor.name}")[:samples]
            yield details[tensor.name]["index"], tensor.stored(values)


def _numbers(values: Any, tensor: dict[str, Any]) -> Any:
    """Return what integers stand for; a tensor has one scale and zero point, as activations have."""
    scales, zeros = (tensor["quantization_parameters"][name] for name in ("scales", "zero_points"))
    if not len(scales):
        return np.array(values, np.float32)
    return ((values.astype(np.float32) - zeros[0]) * scales[0]).astype(np.float32)


def operators(path: str) -> list[dict[str, Any]]:
    """Return the main graph's operators in their order, as export/graphs/stopped.py has them; nothing is run."""
    model = flatbuffer_utils.read_model(path)
    graph = model.subgraphs[0]
    return [
        {
            "name": str(number),
            "kind": code.customCode.decode() if code.customCode else KINDS[code.builtinCode],
            "version": code.version,
            "tensor": graph.tensors[operator.outputs[0]].name.decode() if len(operator.outputs) else "",
        }
        for number, operator in enumerate(graph.operators)
        for code in [model.operatorCodes[operator.opcodeIndex]]
    ]
