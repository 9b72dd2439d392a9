"""A float32 ONNX file made ready for integers, once for every format: equalised channels, weights on integer steps.

    details = prepare(Path("float32.onnx"), samples, Path("prepared.onnx"), eight_bits, Path("equalised.onnx"))

What it computes is float32's function but for the weights' rounding, so that a quantizer afterwards has only ranges to
set. The exporter has folded batch normalisation into the convolutions before. Runs inside toolchains.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from export.quantize.equalise import equalise
from export.quantize.network import Layer, Network
from export.quantize.rounding import round_weights
from records.tensor import Arrays

SAMPLES = 64
"""Calibration samples that channels are equalised and weights rounded by: the first."""


def prepare(source: Path, samples: Arrays, out: Path, top: Callable[[Layer], int], equalised: Path) -> dict[str, Any]:
    """Write the prepared file, and beside it the one whose weights are not rounded; return details for a manifest.

    top: a layer's greatest integer of a weight. equalised: what layers that stay in float32 take their weights from.
    """
    few = {name: values[:SAMPLES] for name, values in samples.items()}
    network = Network(onnx.load(source))
    streams = equalise(network, few)
    onnx.save(network.model, equalised)
    layers = round_weights(network, few, top)
    onnx.save(network.model, out)
    return {"equalised_streams": streams, "rounded_layers": layers}


def eight_bits(layer: Layer) -> int:
    """Return the greatest integer of a weight of 8 bits that are symmetric about zero."""
    return 127
