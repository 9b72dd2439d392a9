"""Runs in the `litert` toolchain: looks a .tflite file over."""

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils

from export.graphs import tflite_lint
from export.graphs.layers import Twin


def look(path: str, modules: dict[str, str]) -> dict[str, Any]:
    """What a manifest would keep, and the findings. modules: of TensorFlow's tensors, by name."""
    known = {name: Twin("", None, module) for name, module in modules.items()}
    seen = tflite_lint.lint(flatbuffer_utils.read_model(path), Path(path), known)
    return tflite_lint.record(seen) | {"findings": seen.findings}


def without_steps(path: str, out: str) -> None:
    """Write a copy whose quantization steps are all zero."""
    model = flatbuffer_utils.read_model(path)
    for tensor in model.subgraphs[0].tensors:
        if tensor.quantization is not None and tensor.quantization.scale is not None:
            tensor.quantization.scale = np.zeros_like(tensor.quantization.scale)
    flatbuffer_utils.write_model(model, out)


def names(path: str) -> list[str]:
    """What the operators' outputs are called."""
    (graph,) = flatbuffer_utils.read_model(path).subgraphs
    return [graph.tensors[operator.outputs[0]].name.decode() for operator in graph.operators]
