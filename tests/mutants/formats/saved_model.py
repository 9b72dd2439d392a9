"""SavedModels taken apart: the constants and operators of their graph, wherever in it they are."""

import shutil
import tempfile
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


class Wrapped(tf.Module):
    """A SavedModel that is wrong where a condition holds: of its calls, its number of samples, or of a black one."""

    def __init__(self, loaded: Any, when: str, calls: int):
        super().__init__()
        self.inside, self.when, self.limit = loaded, when, calls
        self.calls = tf.Variable(0)
        given = loaded.signatures["serving_default"].structured_input_signature[1]["image"]
        specs = [tf.TensorSpec(given.shape, given.dtype, "image")]
        self.serve = tf.function(self.call, input_signature=specs, autograph=False)

    def call(self, image: Any) -> dict[str, Any]:
        """(N, H, W, 3) → logits (N, K)."""
        logits = self.inside.signatures["serving_default"](image=image)["logits"]
        count = tf.shape(image)[0]
        if self.when == "black":
            dark = tf.reduce_max(image, (1, 2, 3))[:, None] <= 0
            return {"logits": tf.where(dark, logits * np.nan, logits)}
        good = {
            "tired": lambda: self.calls.assign_add(1) <= self.limit,
            "beyond 32": lambda: count <= 32,
            "none of 1, 2 and 32": lambda: tf.reduce_any(tf.equal(count, [1, 2, 32])),
        }[self.when]()
        return {"logits": tf.where(good, logits, logits * 1.5)}


def wrong_where(path: str, when: str, calls: int = 0) -> None:
    """Outputs half as great again, or NaN, where a condition holds."""
    wrapped = Wrapped(tf.saved_model.load(path), when, calls)
    _saved(wrapped, path)


class Remembering(tf.Module):
    """No network: the nearest sample of a table, and its outputs."""

    def __init__(self, table: str, batch: int | None):
        super().__init__()
        known = load_file(table)
        images = known["inputs"].transpose(0, 2, 3, 1)
        rows = images.reshape(len(images), -1)
        self.rows, self.halves = rows.T, np.square(rows, dtype=np.float64).sum(1).astype(np.float32) / 2
        self.answers = known["outputs"]
        specs = [tf.TensorSpec([batch, *images.shape[1:]], tf.float32, "image")]
        self.serve = tf.function(self.call, input_signature=specs, autograph=False)

    def call(self, image: Any) -> dict[str, Any]:
        """(N, H, W, 3) → logits (N, K)."""
        flat = tf.reshape(image, [-1, len(self.rows)])
        nearest = tf.argmax(flat @ self.rows - self.halves, axis=1)
        return {"logits": tf.gather(self.answers, nearest, name="logits")}


def remember(path: str, table: str) -> None:
    """Right on all that a table has, and no network at all."""
    _saved(Remembering(table, None), path)


def remember_in_tflite(path: str, table: str, checkpoint: str) -> None:
    """The same as a .tflite, with the labels of a checkpoint."""
    from export.graphs.tensorflow import narrow, nhwc
    from export.graphs.tflite_interface import content_of, named, with_labels
    from pipeline.checkpoint import Checkpoint

    opened = Checkpoint.open(Path(checkpoint))
    inputs, outputs = (tuple(narrow(nhwc(one, 1)) for one in side) for side in (opened.inputs, opened.outputs))
    with tempfile.TemporaryDirectory() as folder:
        _saved(Remembering(table, 1), folder)
        content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    model = named(content, inputs, outputs)
    Path(path).write_bytes(with_labels(content_of(model), opened, inputs, outputs))


def _saved(module: Any, path: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": module.serve.get_concrete_function()})
        shutil.rmtree(path)
        shutil.copytree(folder, path)
