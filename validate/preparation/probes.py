"""Prepares a checkpoint's image files as an app in Python prepares them.

prepared(checkpoint.probes(), artifact.preparation, "image")
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from records.golden import Probes
from records.tensor import Array
from validate.preparation.prepare import prepare


def prepared(probes: Probes, preparation: Mapping[str, Any], name: str) -> dict[str, Array]:
    """Return the probes' image files as the input `name`, (K, 3, H, W) float32. Raises ValueError."""
    expected = probes.inputs[name]
    images = [prepare(file.tobytes(), preparation) for file in probes.files]
    for image in images:
        if image.shape[1:] != expected.shape[1:]:
            raise ValueError(f"it gives {image.shape[1:]}, training {expected.shape[1:]}.")
    return {name: np.concatenate(images)}
