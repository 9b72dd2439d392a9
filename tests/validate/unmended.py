"""Runs in the `tensorflow` toolchain: conversions without one of their mends, to see what the mend is for."""

from pathlib import Path
from typing import Any

from ai_edge_quantizer import quantizer, recipe

from export.targets import tflite


def dense_layers_per_row(source: str, checkpoint: str, out: str) -> dict[str, Any]:
    """TFLiteConverter's own dynamic range: FULLY_CONNECTED version 12."""
    before = tflite.PLAIN["int8_dynamic"]
    tflite.PLAIN["int8_dynamic"] = tflite.OPTIMIZED
    try:
        return tflite.convert(Path(source), Path(checkpoint), "int8_dynamic", Path(out))
    finally:
        tflite.PLAIN["int8_dynamic"] = before


def ai_edge_dynamic(source: str, checkpoint: str, out: str) -> dict[str, Any]:
    """AI Edge Quantizer's dynamic range."""
    made = quantizer.Quantizer(tflite.from_saved_model(Path(source), {}), recipe.dynamic_wi8_afp32())
    content = bytes(made.quantize(enable_progress_bar=False, enable_progress_report=False).quantized_model)
    (Path(out) / "model.tflite").write_bytes(content)
    return {"entry": "model.tflite"}
