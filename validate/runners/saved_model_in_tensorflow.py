"""SavedModel in TensorFlow, through tf.saved_model.load and its signature, as TensorFlow Serving calls it."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

TOOLCHAIN = "tensorflow"

Arrays = dict[str, Any]


def version() -> str:
    """Of the runtime."""
    return str(tf.__version__)


def activate(path: Path, manifest: dict[str, Any], threads: int, backend: str) -> Callable[[Arrays], Arrays]:
    """Load once; infer takes and gives arrays by the signature's names."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    loaded = tf.saved_model.load(str(path))

    def infer(inputs: Arrays) -> Arrays:
        serve = loaded.signatures["serving_default"]  # which does not hold its model
        found = serve(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in found.items()}

    return infer
