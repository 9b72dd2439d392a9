"""Runs in the `tensorflow` toolchain: a conversion to TensorFlow.js with oneDNN on, as it is by default."""

import os
from pathlib import Path
from typing import Any

import tensorflow as tf

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
tf.constant(0) + 1  # now TensorFlow has read the variable, which importing the target sets to 0

from export.targets import tfjs  # noqa: E402  # so it has to come after


def with_onednn(source: str, checkpoint: str, out: str) -> dict[str, Any]:
    """Grappler fuses what only TensorFlow knows."""
    return tfjs.convert(Path(source), Path(checkpoint), "float32", Path(out))
