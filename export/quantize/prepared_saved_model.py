"""A prepared float32 network as the SavedModel that TFLite's integers are made from.

    prepared = of_checkpoint(Path("onnx/float32/model.onnx"), checkpoint_folder)
    saved(prepared.corrected.path, checkpoint_folder)

The same importer writes it that writes the target's own, and its outputs are compared with ONNX Runtime's of the
prepared file. It lies in a temporary folder, beside a manifest with what the converters ask of one.
"""

import json
import tempfile
from functools import lru_cache
from pathlib import Path

from export.graphs.saved_model_case import Case
from export.graphs.saved_model_ways import first, told
from export.quantize.calibration import calibration
from export.quantize.prepared import Prepared, eight_bits, prepare
from measures import tasks
from pipeline.checkpoint import Checkpoint
from workers import memory


def of_checkpoint(source: Path, checkpoint: Path) -> Prepared:
    """Return what a checkpoint's float32 ONNX file is prepared to, once for all precisions of a process."""
    return _prepared(source, checkpoint)[1]


@lru_cache(maxsize=1)
def _prepared(source: Path, checkpoint: Path) -> tuple[tempfile.TemporaryDirectory[str], Prepared]:
    folder = tempfile.TemporaryDirectory()
    opened = Checkpoint.open(checkpoint)
    floats = tasks.load(opened.task).FLOAT_MODULES
    return folder, prepare(source, calibration(opened), Path(folder.name), eight_bits, floats)


@lru_cache(maxsize=3)
def saved(prepared: Path, checkpoint: Path) -> Path:
    """Return the SavedModel of a prepared file. Raises Inexpressible, ValueError."""
    opened, folder = Checkpoint.open(checkpoint), prepared.with_suffix("")
    place = folder / "1"
    case = Case.of(prepared, opened)
    manifest = told(case, first(case, place), place, opened)
    (folder / "manifest.json").write_text(json.dumps({"details": manifest}), encoding="utf-8")
    memory.release()
    return place
