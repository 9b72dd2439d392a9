"""SavedModels in hand: what the `tensorflow` toolchain's targets share.

graph = load_graph(Path("…/saved_model/float32/1"))
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from records.tensor import Tensor
from workers import memory

BATCH = "batch"
"""Name of the axis of samples: of a model that takes one at a time, TensorFlow maps it over several."""
SERVING = "serving_default"
SINGLE = "single"
"""The signature of a model that takes one sample; there where `serving_default` maps it over a batch."""


def nhwc(tensor: Tensor, batch: int | None = None) -> Tensor:
    """Return a tensor's record as TensorFlow has the tensor: images NHWC. batch: the only size it takes; None: any."""
    shape = (BATCH if batch is None else batch, *tensor.shape[1:])
    if tensor.layout != "NCHW":
        return replace(tensor, shape=shape)
    size, channels, height, width = shape
    return replace(tensor, shape=(size, height, width, channels), layout="NHWC")


def narrow(tensor: Tensor) -> Tensor:
    """Return a tensor's record with integers of 32 bits for those of 64, which neither browsers nor GPUs take."""
    return replace(tensor, dtype="int32") if tensor.dtype == "int64" else tensor


@dataclass(frozen=True)
class Graph:
    """A SavedModel without a loop over the batch."""

    function: Any
    """Concrete: every variable a constant, every call inlined."""
    inputs: tuple[Any, ...]
    """A TensorSpec of each, in the function's order."""
    outputs: tuple[str, ...]
    """Their names, in the function's order."""
    batch: int | None
    """The only batch size it takes; None: any."""


def load_graph(folder: Path, batch: int | None = None, shapes: Mapping[str, Sequence[int]] | None = None) -> Graph:
    """Return the graph of a SavedModel, for that batch size only; None: for any, or the one it has.

    shapes: of one sample of each input; None: with axes of any length, where it has them.
    """
    loaded = tf.saved_model.load(str(folder))
    function = loaded.signatures[SINGLE if SINGLE in loaded.signatures else SERVING]
    batch = batch or (1 if SINGLE in loaded.signatures else None)
    inputs = tuple(
        tf.TensorSpec([batch, *(shapes[name] if shapes else spec.shape[1:])], spec.dtype, name)
        for name, spec in function.structured_input_signature[1].items()
    )
    names = [spec.name for spec in inputs]
    whole = traced(lambda *values: function(**dict(zip(names, values, strict=True))), inputs)
    memory.release()
    return Graph(convert_variables_to_constants_v2(whole), inputs, tuple(sorted(function.structured_outputs)), batch)


def inner(graph: Graph, names: Sequence[str] = ()) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """Return the function that gives a graph's float tensors by their operators' names; `names`: only those.

    It takes the inputs in the graph's order, and returns arrays.
    """
    operators = [
        operator
        for operator in graph.function.graph.get_operations()
        if operator.type not in {"Const", "Placeholder", "NoOp"}
        and operator.outputs
        and operator.outputs[0].dtype == tf.float32
        and (not names or operator.name in names)
    ]
    feeds = [tensor for tensor in graph.function.inputs if tensor.dtype != tf.resource]
    function = graph.function.prune(feeds, [operator.outputs[0] for operator in operators])

    def call(values: Sequence[Any]) -> dict[str, Any]:
        arrays = function(*(tf.constant(value) for value in values))
        return {operator.name: value.numpy() for operator, value in zip(operators, arrays, strict=True)}

    return call


def traced(call: Callable[..., Any], inputs: Sequence[Any]) -> Any:
    """Return the concrete function of a call with inputs of these TensorSpecs."""
    return tf.function(call, autograph=False).get_concrete_function(*inputs)


def freeze(call: Callable[..., Any], inputs: Sequence[Any]) -> Any:
    """Return a concrete function without variables.

    One that has none is left as it is: freezing takes ten times its size.
    """
    function = traced(call, inputs)
    return convert_variables_to_constants_v2(function) if function.variables else function


def by_name(frozen: Any, names: Sequence[str]) -> Callable[..., dict[str, Any]]:
    """Return a function of the same results, by these names."""

    def call(*values: Any) -> dict[str, Any]:
        values_out = frozen(*values)
        values_out = values_out if isinstance(values_out, (list, tuple)) else [values_out]
        return {name: tf.identity(value, name) for name, value in zip(names, values_out, strict=True)}

    return call


def fixed(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor's record, laid out as the checkpoint's, with lengths for axes of any: those of golden's shape."""
    sizes = zip(tensor.shape, shape, strict=True)
    return replace(tensor, shape=tuple(length if isinstance(size, str) else size for size, length in sizes))


def save_single(source: Path, out: Path, shapes: Mapping[str, Sequence[int]]) -> None:
    """Write a SavedModel again for a batch of one, with the same names and, outside, integers of 32 bits.

    shapes: of one sample of each input, as TensorFlow has it: those of the axes that are of any length.
    """
    graph = load_graph(source, 1, shapes)
    specs = [
        tf.TensorSpec(spec.shape, tf.int32 if spec.dtype == tf.int64 else spec.dtype, spec.name)
        for spec in graph.inputs
    ]
    call = by_name(graph.function, graph.outputs)

    def narrowed(*values: Any) -> dict[str, Any]:
        widened = [tf.cast(value, spec.dtype) for value, spec in zip(values, graph.inputs, strict=True)]
        outputs = call(*widened)
        return {
            name: tf.cast(value, tf.int32, name) if value.dtype == tf.int64 else value
            for name, value in outputs.items()
        }

    module = tf.Module()
    module.serve = tf.function(narrowed, autograph=False, input_signature=specs)
    tf.saved_model.save(module, str(out), signatures={SERVING: module.serve.get_concrete_function()})
