"""Writes a SavedModel and runs what is on disk: a frozen graph with the signature `serving_default`, any batch size.

save(freeze(call, specs(inputs)), None, inputs, outputs, Path("1"))
run(Path("1"), {"image": (N, 3, H, W)}, inputs, outputs)          # {"logits": (N, classes)}
"""

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export import self_check
from export.graphs.tensorflow import SERVING, SINGLE, by_name
from records.tensor import Arrays, Tensor
from workers import memory


def specs(inputs: tuple[Tensor, ...], batch: int | None = None) -> list[Any]:
    """Return a TensorSpec, which is what TensorFlow calls a tensor's type, for each input; batch None: any size."""
    return [tf.TensorSpec([batch, *sizes(tensor)], tensor.dtype, tensor.name) for tensor in inputs]


def sizes(tensor: Tensor) -> list[int | None]:
    """Return the shape of one sample as TensorFlow has it: None for an axis of any length."""
    return [None if isinstance(size, str) else size for size in tensor.shape[1:]]


def save(frozen: Any, batch: int | None, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], out: Path) -> None:
    """Write a SavedModel with `serving_default`, for any batch size and with the checkpoint's names.

    batch: the only size that the graph takes. Samples are mapped then, and the signature `single` has the graph itself.
    """
    memory.release()
    plain = by_name(frozen, [tensor.name for tensor in outputs])

    def direct(*values: Any) -> dict[str, Any]:
        computed = plain(*values)  # the importer's own integers have 32 bits
        return {
            tensor.name: computed[tensor.name]
            if computed[tensor.name].dtype == tensor.dtype
            else tf.cast(computed[tensor.name], tensor.dtype, tensor.name)
            for tensor in outputs
        }

    def mapped(*values: Any) -> dict[str, Any]:
        types = {tensor.name: tf.TensorSpec(sizes(tensor), tensor.dtype) for tensor in outputs}

        def row(parts: tuple[Any, ...]) -> dict[str, Any]:
            return {name: value[0] for name, value in direct(*(part[None] for part in parts)).items()}

        rows: dict[str, Any] = tf.map_fn(row, values, fn_output_signature=types)
        return rows

    module = tf.Module()
    module.serve = tf.function(mapped if batch else direct, autograph=False, input_signature=specs(inputs))
    signatures = {SERVING: module.serve.get_concrete_function()}
    if batch:
        module.single = tf.function(direct, autograph=False, input_signature=specs(inputs, batch))
        signatures[SINGLE] = module.single.get_concrete_function()
    tf.saved_model.save(module, str(out), signatures=signatures)


def run(folder: Path, arrays: Arrays, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Arrays:
    """Return what plain TensorFlow computes of the file; arrays and outputs are laid out as the checkpoint's."""
    loaded = tf.saved_model.load(str(folder))

    def call(samples: Arrays) -> Arrays:
        stored = {tensor.name: tensor.stored(samples[tensor.name]) for tensor in inputs}
        serve = loaded.signatures[SERVING]  # which does not hold its model
        values = serve(**{name: tf.constant(value) for name, value in stored.items()})
        return {tensor.name: tensor.restored(values[tensor.name].numpy()) for tensor in outputs}

    return self_check.in_batches(call, arrays)


def transposes(folder: Path) -> int:
    """Count the transpositions in the file. Loading its graph would take ten times the model's size."""
    graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return sum(node.op == "Transpose" for body in bodies for node in body)
