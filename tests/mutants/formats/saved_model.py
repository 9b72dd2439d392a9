"""SavedModels taken apart: the constants and operators of their graph, wherever in it they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file, save_file
from tensorflow.core.protobuf import saved_model_pb2

TOOLCHAIN = "tensorflow"
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "2"}


@contextmanager
def edited(path: str) -> Iterator[dict[str, Any]]:
    """Every node as `<function>/<node>`; what is changed is written back."""
    file = Path(path) / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    graph = model.meta_graphs[0].graph_def
    nodes = {f"/{node.name}": node for node in graph.node}
    for function in graph.library.function:
        nodes |= {f"{function.signature.name}/{node.name}": node for node in function.node_def}
    yield nodes
    file.write_bytes(model.SerializeToString())


def read(path: str, out: str) -> None:
    """Every constant that has a shape, by its node."""
    with edited(path) as nodes:
        found = {name: tf.make_ndarray(node.attr["value"].tensor) for name, node in nodes.items() if node.op == "Const"}
    numbers = {name: value for name, value in found.items() if value.dtype.kind in "fi" and value.ndim}
    save_file({name: np.asarray(value, order="C") for name, value in numbers.items()}, out)


def write(path: str, changed: str) -> None:
    """Constants by the names of `read`."""
    with edited(path) as nodes:
        for name, value in load_file(changed).items():
            nodes[name].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))


def rename(path: str, kind: str, to: str) -> None:
    """The first operator of a kind becomes another one of as many inputs."""
    with edited(path) as nodes:
        next(node for node in nodes.values() if node.op == kind).op = to


def resize(path: str, align_corners: bool) -> None:
    """Where bilinear resizing takes its pixels."""
    with edited(path) as nodes:
        for node in nodes.values():
            if node.op == "ResizeBilinear":
                node.attr["align_corners"].b, node.attr["half_pixel_centers"].b = align_corners, False
