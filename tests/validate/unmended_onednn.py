"""Runs in the `tensorflow` toolchain: a conversion to TensorFlow.js with oneDNN on, as it is by default."""

import os

import tensorflow as tf

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
tf.constant(0) + 1  # now it has read the variable, which the target sets to 0

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from export.targets import tfjs  # noqa: E402


def with_onednn(source: str, checkpoint: str, out: str) -> dict[str, Any]:
    """Grappler fuses what only TensorFlow knows."""
    return tfjs.convert(Path(source), Path(checkpoint), "float32", Path(out))
