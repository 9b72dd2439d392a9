"""ONNX: PyTorch's exporter for float32; float16 and int8 are made from that file.

Weights of more than 2 GiB lie in a file of their own beside it, `model.onnx.data`, in float32 alone.
int8 is static QDQ, per channel, for ONNX Runtime's integer kernels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from export import self_check
from export.graphs import layers
from export.graphs.onnx_exporter import cross_check, export
from export.graphs.onnx_float16 import to_float16
from export.graphs.onnx_metadata import finish
from export.quantize.onnx import to_int8
from pipeline.checkpoint import Checkpoint

TOOLCHAIN = "torch"
SOURCES = {"float32": "checkpoint", "float16": "onnx/float32", "int8": "onnx/float32"}

KEEPS_FLOAT = ["int8"]

ENTRY = "model.onnx"


def convert(
    source: Path, checkpoint: Path, precision: str, out: Path, keep_float: Sequence[str] = ()
) -> dict[str, Any]:
    """Write `model.onnx`: float32 from a checkpoint's folder, float16 and int8 from float32's file."""
    opened, path = Checkpoint.open(Path(checkpoint)), Path(out) / ENTRY
    findings: list[str] = []
    details: dict[str, Any] = {}
    if precision != "float32":
        self_check.fits(opened, f"the file that {precision} is made in")
    if precision == "float32":
        export(opened, path)
        findings, details = cross_check(opened, path)
    elif precision == "float16":
        to_float16(Path(source), path)
    else:
        details, findings = to_int8(Path(source), opened, path, keep_float)
    finish(path, opened, precision)
    if precision == "float32":
        details["layers"] = layers.record(layers.of_onnx(onnx.load(path, load_external_data=False)))
    return {"entry": ENTRY, "findings": findings, "details": details}
