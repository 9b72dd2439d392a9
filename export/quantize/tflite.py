"""Whole integers for TFLite, from the quantizer that does this model the least harm: TensorFlow's or AI Edge Quantizer.

    model, details = best(Path("…/saved_model/float32"), {"image": (N, H, W, 3)}, "int8")

What goes in and out is what the quantizers leave: integers as they are inside. Some layers stay in float32 on request.
"""

from export.graphs.tflite_converter import SIGNATURE, exact, from_saved_model, rows, run  # isort: skip  # before TensorFlow

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import qtyping, quantizer, recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.calibrator import Calibrator
from ai_edge_quantizer.utils.qsv_utils import min_max_update

from export import self_check
from export.graphs import layers
from export.quantize import keep_float
from records.sealed import fingerprints
from records.tensor import Arrays
from workers import memory

JUDGED = 16
"""Calibration samples that quantizers are judged on: the plain kernels of 16 bits take a second for one (resnet18)."""
HALVES = 8
"""And on which the models of two halves of the calibration are compared."""
SANE_SCALE = 1e20
"""A quantization step beyond this is an infinity in disguise, such as the padding of a maximum."""


KEPT = 8
"""Measurements that are kept."""
MEASURED: dict[Any, dict[str, Any]] = {}
"""Of a model and samples → the range of every tensor."""
OPTIMIZED = {"optimizations": [tf.lite.Optimize.DEFAULT]}


@dataclass(frozen=True)
class WholeInteger:
    """A precision whose activations are integers, as each of the quantizers calls it."""

    operators: tf.lite.OpsSet
    inside: tf.DType
    recipe: Callable[[], Any]
    outside: int
    """The type an app gives and takes."""


WHOLE_INTEGER = {
    "int8": WholeInteger(tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8, recipe.static_wi8_ai8, schema.TensorType.UINT8),
    "int8_int16": WholeInteger(
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.int16,
        recipe.static_wi8_ai16,
        schema.TensorType.FLOAT32,
    ),
}


def best(source: Path, calibration: Arrays, precision: str) -> tuple[bytes, dict[str, Any]]:
    """The model of the quantizer whose outputs on some of the calibration samples lie nearer to float32's, and why."""
    some = {name: values[:JUDGED] for name, values in calibration.items()}
    reference = run(exact(source), some)
    models: dict[str, bytes] = {}
    said: dict[str, Any] = {}
    for name, quantize in QUANTIZERS.items():
        try:
            models[name] = quantize(source, calibration, precision)
            check_scales(models[name])
            said[name] = self_check.rounded(self_check.least(run(models[name], some), reference))
            if not math.isfinite(said[name]):
                raise ValueError("its outputs are NaN or infinite")
        except Exception as error:  # noqa: BLE001  # one is enough; why not the other is in the manifest
            print(f"{name}: {type(error).__name__}: {error}")
            models.pop(name, None)
            said[name] = f"{type(error).__name__}: {error}".partition("\n")[0][:300]
    measured = {name: said[name] for name in models}
    if not measured:
        raise ValueError("no quantizer gives this model: " + "; ".join(f"{name}: {why}" for name, why in said.items()))
    chosen = max(measured, key=lambda name: float(measured[name]))
    memory.release()
    return models[chosen], halves(source, calibration, QUANTIZERS[chosen], precision) | {
        "quantizer": chosen,
        "quantizer_reason": f"the higher SQNR against float32 on {JUDGED} calibration samples, in dB",
        "quantizers_sqnr_db": said,
    }


def by_converter(source: Path, calibration: Arrays, precision: str) -> bytes:
    """TensorFlow's quantizer."""
    kind = WHOLE_INTEGER[precision]
    settings = OPTIMIZED | {
        "target_spec": tf.lite.TargetSpec(supported_ops=[kind.operators]),
        "inference_input_type": kind.inside,
        "inference_output_type": kind.inside,
    }
    return from_saved_model(source, settings, calibration)


def halves(
    source: Path, calibration: Arrays, quantize: Callable[[Path, Arrays, str], bytes], precision: str
) -> dict[str, Any]:
    """Return the SQNR between the models of the calibration's two halves: a low one says that samples are too few."""
    inputs = {name: values[:HALVES] for name, values in calibration.items()}
    outputs = [run(quantize(source, half, precision), inputs) for half in keep_float.divided(calibration)]
    return {"calibration_halves_sqnr_db": self_check.rounded(self_check.least(*outputs))}


def by_ai_edge(source: Path, calibration: Arrays, precision: str) -> bytes:
    """AI Edge Quantizer, with the least and greatest values of all samples."""
    return Ranges(source, calibration, precision).quantize()


class Ranges:
    """The ranges of a model's tensors, measured once for every way to quantize it.

    AI Edge Quantizer's own moving average of them saturates outputs: 9.5 instead of 29 dB (mobilenet_v3_small).
    """

    def __init__(self, source: Path, calibration: Arrays, precision: str, unseen: Arrays | None = None):
        """unseen: samples that attempts are measured on; those that set the ranges never overrun them."""
        self.model, self.unseen = exact(source), unseen or calibration
        self.recipe = WHOLE_INTEGER[precision].recipe()
        self.found = self._measured(calibration)
        self.source = source

    def _measured(self, calibration: Arrays) -> dict[str, Any]:
        """Tensor → least and greatest value; measured half by half, for the halves are asked for, too.

        The precisions have the same: they are of the float32 model.
        """
        if self._key(calibration) not in MEASURED and len(next(iter(calibration.values()))) > 1:
            first, second = (self._calibrated(half) for half in keep_float.divided(calibration))
            _remember(self._key(calibration), {name: min_max_update(first[name], second[name]) for name in first})
        return self._calibrated(calibration)

    def _calibrated(self, samples: Arrays) -> dict[str, Any]:
        key = self._key(samples)
        if key not in MEASURED:
            made = quantizer.Quantizer(self.model, self.recipe)
            ranges = Calibrator(self.model, num_threads=1, qsv_update_func=min_max_update)
            ranges.calibrate({SIGNATURE: list(rows(samples))}, made._recipe_manager)  # it counts them first
            _remember(key, ranges.get_model_qsvs())
        return MEASURED[key]

    def _key(self, samples: Arrays) -> Any:
        return hash(self.model), *(fingerprints([values])[0] for values in samples.values())

    @cached_property
    def places(self) -> dict[str, str]:
        """Operator, by the name of its output → the module it is part of."""
        content, names = self._operators
        (signature,), tensors = content.signatureDefs, content.subgraphs[0].tensors
        known = layers.beside(self.source)
        known |= {
            layers.canonical(tensors[one.tensorIndex].name.decode()): known[one.name.decode()]
            for one in signature.outputs
            if one.name.decode() in known
        }
        return layers.spread(names, known)

    @cached_property
    def weights(self) -> dict[str, int]:
        """Module → bytes of its constants."""
        content, names = self._operators
        graph, found = content.subgraphs[0], dict.fromkeys(self.places.values(), 0)
        for operator, name in zip(graph.operators, names, strict=True):
            buffers = [content.buffers[graph.tensors[index].buffer].data for index in operator.inputs if index >= 0]
            if name in self.places:
                found[self.places[name]] += sum(len(data) for data in buffers if data is not None)
        return found

    @property
    def _operators(self) -> tuple[Any, list[str]]:
        """The model as an object, and the names of its operators' outputs in order."""
        content = flatbuffer_utils.read_model_from_bytearray(bytearray(self.model))
        graph = content.subgraphs[0]
        return content, [graph.tensors[operator.outputs[0]].name.decode() for operator in graph.operators]

    def quantize(self, kept: Collection[str] = (), only: str = "") -> bytes:
        """With these modules in float32, or with this one alone in integers."""
        made = quantizer.Quantizer(self.model, self.recipe)
        places = self.places if kept or only else {}
        spared = [name for name, module in places.items() if module in kept or (only and module != only)]
        for name in spared:
            made.update_quantization_recipe(
                f"^{re.escape(name)};?$", qtyping.TFLOperationName.ALL_SUPPORTED, None, AlgorithmName.NO_QUANTIZE
            )
        model = made.quantize(self.found, enable_progress_bar=False, enable_progress_report=False)
        return bytes(model.quantized_model)

    def some(self, count: int) -> Arrays:
        """The first samples to measure on."""
        return {name: values[:count] for name, values in self.unseen.items()}

    def alone(self, module: str) -> float:
        """SQNR in dB with only this module in integers."""
        some = self.some(keep_float.RANKED)
        return self_check.least(run(self.quantize(only=module), some), run(self.model, some))

    def attempt(self, kept: Collection[str]) -> keep_float.Score:
        """With these modules in float32."""
        model, some = self.quantize(kept), self.some(keep_float.SAMPLES)
        return keep_float.score(run(model, some), run(self.model, some), len(model))


def _remember(key: Any, ranges: dict[str, Any]) -> None:
    while len(MEASURED) >= KEPT:
        MEASURED.pop(next(iter(MEASURED)))
    MEASURED[key] = ranges


def partly(
    source: Path, calibration: Arrays, precision: str, wanted: Sequence[str]
) -> tuple[bytes, dict[str, Any], list[str]]:
    """In integers but for some layers; → the model, details and findings. Only AI Edge Quantizer can."""
    ranges = Ranges(source, calibration, precision)
    found, findings = None, []
    if list(wanted) == [keep_float.AUTO]:
        first, second = keep_float.divided(calibration)
        halved = Ranges(source, first, precision, unseen=second)
        found = keep_float.repair(halved.weights, halved.alone, halved.attempt)
        kept, findings = list(found.kept), [found.sentence]
    else:
        kept = layers.chosen(ranges.places.values(), wanted)
    model = ranges.quantize(kept)
    check_scales(model)
    said = {
        "quantizer": "ai-edge-quantizer",
        **halves(source, calibration, lambda *half: Ranges(*half).quantize(kept), precision),
        **keep_float.details(kept, found),
    }
    return model, said, findings


QUANTIZERS = {"TFLiteConverter": by_converter, "ai-edge-quantizer": by_ai_edge}


def check_scales(model: bytes) -> None:
    """LiteRT aborts the whole process at a step that is no number of this world. Raises ValueError."""
    for tensor in flatbuffer_utils.read_model_from_bytearray(bytearray(model)).subgraphs[0].tensors:
        scales = tensor.quantization.scale if tensor.quantization is not None else None
        if scales is not None and len(scales) and not np.max(scales) < SANE_SCALE:
            name = tensor.name.decode().rpartition(";")[2]  # of fused operators, the last
            raise ValueError(f"a quantization step is {np.max(scales):.1e}: an infinite value in the range of {name}")
