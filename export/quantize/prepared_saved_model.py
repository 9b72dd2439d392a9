"""A prepared float32 network as the SavedModel that TFLite's integers are made from.

    source, details = saved(Path("onnx/float32/model.onnx"), checkpoint_folder)

The same importer writes it that writes the target's own, and its outputs are compared with ONNX Runtime's of the
prepared file. It lies in a temporary folder, beside a manifest with what the converters ask of one.
"""

import json
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from export.graphs.saved_model_case import Case
from export.graphs.saved_model_ways import first, told
from export.quantize.calibration import calibration
from export.quantize.prepared import eight_bits, prepare
from pipeline.checkpoint import Checkpoint
from workers import memory

PREPARED, EXACT = "prepared.onnx", "exact.onnx"


def saved(source: Path, checkpoint: Path) -> tuple[Path, dict[str, Any]]:
    """Return the SavedModel and details for a manifest. Raises Inexpressible, ValueError."""
    folder, details = _prepared(source, checkpoint)
    return _saved(Path(folder.name) / PREPARED, checkpoint), details


def exact_weights(prepared: Path, checkpoint: Path) -> Path:
    """Return the SavedModel that a prepared one is but for its weights, which are not rounded."""
    return _saved(prepared.parent.parent / EXACT, checkpoint)


@lru_cache(maxsize=1)
def _prepared(source: Path, checkpoint: Path) -> tuple[tempfile.TemporaryDirectory[str], dict[str, Any]]:
    folder = tempfile.TemporaryDirectory()
    prepared, exact = Path(folder.name) / PREPARED, Path(folder.name) / EXACT
    details = prepare(source, calibration(Checkpoint.open(checkpoint)), prepared, eight_bits, exact)
    return folder, details


@lru_cache(maxsize=2)
def _saved(prepared: Path, checkpoint: Path) -> Path:
    opened, folder = Checkpoint.open(checkpoint), prepared.with_suffix("")
    place = folder / "1"
    case = Case.of(prepared, opened)
    manifest = told(case, first(case, place), place, opened)
    (folder / "manifest.json").write_text(json.dumps({"details": manifest}), encoding="utf-8")
    memory.release()
    return place
