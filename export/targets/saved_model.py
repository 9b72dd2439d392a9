"""SavedModel, for TensorFlow Serving and plain TensorFlow: a frozen graph, any batch size, NHWC.

The importer writes it from ONNX, right by construction; where it has not an operator, onnx2tf is tried. Either way its
outputs are compared with PyTorch's and with ONNX Runtime's, one image at a time and several.
"""

from pathlib import Path
from typing import Any

from export import self_check
from export.graphs.by_onnx2tf import ONE_BY_ONE
from export.graphs.saved_model_case import Case
from export.graphs.saved_model_file import transposes
from export.graphs.saved_model_ways import IMPORTER, first, opinion, told
from pipeline.checkpoint import Checkpoint
from records.tensor import tensors_to

TOOLCHAIN = "tensorflow"
SOURCES = {"float32": "onnx/float32"}
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""oneDNN would have grappler fuse operators that no other runtime knows; onnx2tf is written for Keras 2."""
OPTIONS = ["second_opinion"]

VERSION = "1"
"""TensorFlow Serving loads the folder with the greatest number."""


def convert(source: Path, checkpoint: Path, precision: str, out: Path, second_opinion: bool = False) -> dict[str, Any]:
    """Write onnx/float32's file as `1/saved_model.pb` with the signature `serving_default`.

    second_opinion: also convert by onnx2tf, and say how far the two lie apart. Raises Inexpressible, ValueError.
    """
    opened = Checkpoint.open(Path(checkpoint))
    self_check.fits(opened, "a SavedModel with frozen weights")
    case, place = Case.of(Path(source), opened), Path(out) / VERSION
    choice = first(case, place)
    details: dict[str, Any] = {
        "way": choice.way,
        "sqnr_db": {name: self_check.rounded(ratio) for name, ratio in choice.ratios.items()},
        "samples": self_check.SAMPLES,
        "modules": case.modules,
        **told(case, choice, place, opened),
        "transposes": transposes(place),
    }
    findings = [ONE_BY_ONE] if choice.single and opened.batch is None else []
    if choice.tried:
        details["tried"] = choice.tried
        findings.append(f"made by onnx2tf ({choice.way}): {next(iter(choice.tried.values()))}")
    if second_opinion and choice.way == IMPORTER:
        details["second_opinion"], disagreement = opinion(case, Path(out) / "second")
        findings += disagreement
    return {
        "entry": VERSION,
        "findings": findings,
        "details": details,
        "inputs": tensors_to(case.inputs),
        "outputs": tensors_to(case.outputs),
    }
