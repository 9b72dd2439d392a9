"""SavedModel in TensorFlow, through tf.saved_model.load and its signature, as TensorFlow Serving calls it.

With oneDNN's kernels, as plain TensorFlow has it on x86, and without: its optimizer then makes other operators of the
same graph, and has made wrong ones (a GELU 41 dB off). Grappler is as TensorFlow has it by default.
"""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow as tf

from records.tensor import Arrays

TOOLCHAIN = "tensorflow"
BACKENDS = ["onednn", "plain"]
ENVIRONMENT = {
    "onednn": {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"},
    "plain": {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "2"},
}


def version() -> str:
    """Return the version of the runtime."""
    return metadata.version("tensorflow-cpu")


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
