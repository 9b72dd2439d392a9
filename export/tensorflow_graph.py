"""SavedModels in hand: what the `tensorflow` toolchain's targets share.

function = frozen(Path("…/saved_model/float32/1"), batch=1)
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from pipeline.checkpoint import Tensor

SERVING = "serving_default"
SINGLE = "single"
"""The signature of a model that takes one sample; there where `serving_default` maps it over a batch."""


def nhwc(tensor: Tensor) -> Tensor:
    """The same tensor as TensorFlow has it."""
    if tensor.layout != "NCHW":
        return tensor
    batch, channels, height, width = tensor.shape
    return replace(tensor, shape=(batch, height, width, channels), layout="NHWC")


def signature(folder: Path) -> tuple[Any, int | None]:
    """The graph of a SavedModel without a loop over the batch, and the only batch size it takes (None: any)."""
    loaded = tf.saved_model.load(str(folder))
    name = SINGLE if SINGLE in loaded.signatures else SERVING
    function = loaded.signatures[name]
    function.keep_alive = loaded  # a signature does not hold its model
    return function, 1 if name == SINGLE else None


def specs(function: Any, batch: int | None) -> dict[str, Any]:
    """Type and shape of a signature's inputs, by name, with another batch size."""
    return {
        name: tf.TensorSpec([batch, *spec.shape[1:]], spec.dtype, name)
        for name, spec in function.structured_input_signature[1].items()
    }


def freeze(function: Any, batch: int | None) -> Any:
    """A concrete function of the same inputs and outputs, every variable a constant, every call inlined."""
    wanted = specs(function, batch)
    names = list(wanted)
    traced = tf.function(lambda *values: function(**dict(zip(names, values, strict=True))))
    return convert_variables_to_constants_v2(traced.get_concrete_function(*wanted.values()))


def single(source: Path, out: Path) -> None:
    """A SavedModel → one for a batch of one, with the same names."""
    function, _ = signature(source)
    frozen, results = freeze(function, 1), sorted(function.structured_outputs)

    def serve(*values: Any) -> dict[str, Any]:
        found = frozen(*values)
        found = found if isinstance(found, (list, tuple)) else [found]
        return {name: tf.identity(value, name) for name, value in zip(results, found, strict=True)}

    module = tf.Module()
    module.serve = tf.function(serve, input_signature=list(specs(function, 1).values()))
    tf.saved_model.save(module, str(out), signatures={SERVING: module.serve.get_concrete_function()})
