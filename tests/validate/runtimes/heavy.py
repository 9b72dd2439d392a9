"""Weights of a TensorFlow.js model as export writes them, and 30 MiB more that nothing reads."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from export.graphs.tfjs_file import write_weights


def write(weights: str, model: str) -> int:
    """Write the weights of a file beside `model`, and into its manifest; return how many files they are."""
    ballast = np.ones((30, 512, 512), np.float32)
    place = Path(model)
    manifest = write_weights({**load_file(weights), "ballast": ballast}, "float32", place.parent)
    place.write_text(json.dumps(json.loads(place.read_text()) | {"weightsManifest": [manifest]}))
    return len(manifest["paths"])
