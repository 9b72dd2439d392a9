"""TFLite in LiteRT's own kernels, every tensor kept; integers as the numbers they stand for."""

from importlib import metadata
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from safetensors import safe_open
from safetensors.numpy import save_file

from export.graphs.layers import latest
from records.tensor import tensors_from

TOOLCHAIN = "litert"


def version() -> str:
    """Of the runtime."""
    return f"LiteRT {metadata.version('ai-edge-litert')} builtin"


def collect(
    path: str, manifest: dict[str, Any], names: list[str], golden: str, samples: int, out: str
) -> list[dict[str, Any]]:
    """Those of the tensors that are there, in graph order: tensor, operator, scale; arrays to `out` as `i`."""
    interpreter = Interpreter(
        path,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    tensors = {one["index"]: one for one in interpreter.get_tensor_details()}
    wanted: dict[str, tuple[str, int]] = {}
    for operator in interpreter._get_ops_details():  # the only way to the operators' order
        for index in operator["outputs"]:
            if index in tensors and (name := latest(tensors[index]["name"], names)):
                wanted.setdefault(name, (operator["op_name"], index))
    inputs = dict(_inputs(interpreter, manifest, golden, samples))
    parts: dict[str, list[Any]] = {name: [] for name in wanted}
    for sample in range(len(next(iter(inputs.values())))):
        for index, values in inputs.items():
            interpreter.set_tensor(index, values[sample : sample + 1])
        interpreter.invoke()
        for name, (_, index) in wanted.items():
            parts[name].append(_numbers(interpreter.get_tensor(index), tensors[index]))
    save_file({str(index): np.concatenate(values) for index, values in enumerate(parts.values())}, out)
    return [
        {"tensor": name, "operator": operator, "scale": float(scales.max()) if len(scales) else None}
        for name, (operator, index) in wanted.items()
        for scales in [tensors[index]["quantization_parameters"]["scales"]]
    ]


def _inputs(interpreter: Any, manifest: dict[str, Any], golden: str, samples: int) -> Any:
    places = {
        one["name"].removeprefix("serving_default_").partition(":")[0]: one for one in interpreter.get_input_details()
    }
    with safe_open(golden, framework="numpy") as file:
        for tensor in tensors_from(manifest["inputs"]):
            values = file.get_tensor(f"input.{tensor.name}")[:samples]
            yield places[tensor.name]["index"], tensor.stored(values)


def _numbers(values: Any, tensor: dict[str, Any]) -> Any:
    """What integers stand for; one scale and zero point a tensor, as activations have."""
    scales, zeros = (tensor["quantization_parameters"][name] for name in ("scales", "zero_points"))
    if not len(scales):
        return np.array(values, np.float32)
    return ((values.astype(np.float32) - zeros[0]) * scales[0]).astype(np.float32)
