"""A float32 ONNX file made ready for integers, once for every format: channels equalised, weights on integer steps,
biases that make up for the steps.

    prepared = prepare(Path("float32.onnx"), samples, folder, eight_bits)
    prepared.corrected.path     # what a quantizer has only ranges to set for

What it computes is float32's function but for the weights' rounding and what makes up for it. The exporter has folded
batch normalisation into the convolutions before. Runs inside toolchains.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from export.quantize.biases import correct_biases
from export.quantize.equalise import equalise
from export.quantize.network import Layer, Network
from export.quantize.rounding import round_weights
from records.tensor import Arrays

SAMPLES, VALUES = 64, 2**23
"""Calibration samples that channels are equalised, weights rounded and biases corrected by: so many of the first, or as
many as have so many values, if that is more. Of a small image little is learnt: mobilenet_v3_small at 32×32 is up to
1.0 dB nearer with weights rounded by 256 than by 64."""


class Ready(NamedTuple):
    """A file that a quantizer may take."""

    path: Path
    details: dict[str, Any]
    """What was done, for a manifest."""


@dataclass(frozen=True)
class Prepared:
    """The files that come of a float32 network, in the order in which they are made."""

    exact: Path
    """Equalised only: what layers that stay in float32 take their weights from."""
    rounded: Ready
    """With weights on integer steps, for activations in float32 or 16 bits."""
    samples: Arrays
    """Of calibration, (N, …): those it is prepared by."""
    floats: Collection[str] = ()
    """Modules that stay in float32 in any case."""

    @cached_property
    def corrected(self) -> Ready:
        """Return the file for activations of 8 bits, whose biases make up for their steps as well."""
        path, network = self.rounded.path.with_name("corrected.onnx"), Network(onnx.load(self.rounded.path))
        corrected = correct_biases(network, onnx.load(self.exact), self.samples, self.floats)
        onnx.save(network.model, path)
        return Ready(path, self.rounded.details | {"corrected_biases": corrected})


def prepare(
    source: Path, samples: Arrays, folder: Path, top: Callable[[Layer], int], floats: Collection[str] = ()
) -> Prepared:
    """Write the files into a folder. top: a layer's greatest integer of a weight. samples: of calibration, (N, …).

    floats: modules that stay in float32 in any case.
    """
    values = sum(array[0].size for array in samples.values())
    few = {name: array[: max(SAMPLES, VALUES // values)] for name, array in samples.items()}
    network, exact, rounded = Network(onnx.load(source)), folder / "exact.onnx", folder / "rounded.onnx"
    streams = equalise(network, few)
    onnx.save(network.model, exact)
    layers = round_weights(network, few, top)
    onnx.save(network.model, rounded)
    return Prepared(exact, Ready(rounded, {"equalised_streams": streams, "rounded_layers": layers}), few, floats)


def eight_bits(layer: Layer) -> int:
    """Return the greatest integer of a weight of 8 bits that are symmetric about zero."""
    return 127
