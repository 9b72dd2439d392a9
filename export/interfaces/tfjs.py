"""What a TensorFlow.js graph model says of itself: signature, `userDefinedMetadata` and weights' manifest."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.interfaces import WEIGHT, Interface, Slot

TYPES = {"DT_FLOAT": "float32", "DT_INT32": "int32", "DT_BOOL": "bool", "DT_INT64": "int64"}


def read(path: Path) -> Interface:
    """Return what a model.json says of itself. Raises ValueError and alike for one that is malformed."""
    model = json.loads(path.read_text(encoding="utf-8"))
    groups, signature = model["weightsManifest"], model["signature"]
    weights: Counter[str] = Counter()
    for entry in (entry for group in groups for entry in group["weights"]):
        count = math.prod(int(size) for size in entry["shape"])
        if count >= WEIGHT:
            weights[str(entry.get("quantization", entry)["dtype"])] += count
    return Interface(
        inputs={name: _slot(tensor) for name, tensor in signature["inputs"].items()},
        outputs={name: _slot(tensor) for name, tensor in signature["outputs"].items()},
        facts=dict(model.get("userDefinedMetadata") or {}),
        weights=weights,
        references=tuple(str(name) for group in groups for name in group["paths"]),
    )


def _slot(tensor: Mapping[str, Any]) -> Slot:
    sizes = [int(axis["size"]) for axis in tensor["tensorShape"].get("dim", [])]
    return Slot(TYPES[tensor["dtype"]], tuple(None if size < 0 else size for size in sizes))
