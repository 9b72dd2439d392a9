"""Whole integers for TFLite, from the quantizer that harms this model least: TensorFlow's or AI Edge Quantizer.

    model, details = best(Path("…/saved_model/float32"), {"image": (N, H, W, 3)}, "int8")

Inputs and outputs are what the quantizers leave: integers as they are inside. Some layers stay in float32 on request.
"""

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
from export.graphs import layers, tflite_operators
from export.graphs.stopped import Operator, find_stop
from export.graphs.tflite_converter import SIGNATURE, exact, from_saved_model, rows, run
from export.quantize import keep_float
from measures.tasks import Task
from records.errors import raise_if_full
from records.sealed import fingerprints
from records.tensor import Arrays
from workers import memory

JUDGED = 16
"""Calibration samples that quantizers are judged on: the plain kernels of 16 bits take a second for one (resnet18)."""
HALVES = 8
"""Calibration samples on which the models of its two halves are compared."""
SANE_SCALE = 1e20
"""A quantization step beyond this is an infinity in disguise, such as the padding of a maximum."""


KEPT = 8
"""Measurements that `MEASURED` holds at most."""
MEASURED: dict[Any, dict[str, Any]] = {}
"""Model and samples → the range of every tensor."""
OPTIMIZED = {"optimizations": [tf.lite.Optimize.DEFAULT]}


@dataclass(frozen=True)
class WholeInteger:
    """A precision whose activations are integers, by the name each of the quantizers has for it."""

    operators: tf.lite.OpsSet
    inside: tf.DType
    recipe: Callable[[], Any]
    outside: int
    """The type of the inputs that an app passes and of the outputs it receives."""


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
    """Return the better of the quantizers' models, and details that say why it was chosen.

    Better is the one whose outputs on some of the calibration samples lie nearer to float32's. Raises ValueError if no
    quantizer can do it.
    """
    inputs = {name: values[:JUDGED] for name, values in calibration.items()}
    reference = run(exact(source), inputs)
    models: dict[str, bytes] = {}
    verdicts: dict[str, Any] = {}
    stopped: set[str] = set()
    for name, quantize in QUANTIZERS.items():
        try:
            models[name] = quantize(source, calibration, precision)
            check_scales(models[name])
            verdicts[name] = self_check.rounded(self_check.least(outputs(models[name], inputs, source), reference))
            if not math.isfinite(verdicts[name]):
                raise ValueError("its outputs are NaN or infinite")
        except Exception as error:  # noqa: BLE001  # one is enough; why not the other is in the manifest
            raise_if_full(error)
            print(f"{name}: {type(error).__name__}: {error}")
            models.pop(name, None)
            verdicts[name] = f"{type(error).__name__}: {error}".partition("\n")[0][:300].removesuffix(".")
            stopped.update(error.modules if isinstance(error, Stopped) else [])
    measured = {name: verdicts[name] for name in models}
    if not measured:
        remedy = f". In float32 it may do: --keep-float {','.join(sorted(stopped))}." if stopped else ""
        reasons = "; ".join(f"{name}: {why}" for name, why in verdicts.items())
        raise ValueError(f"no quantizer gives this model: {reasons}{remedy}")
    chosen = max(measured, key=lambda name: float(measured[name]))
    memory.release()
    return models[chosen], halves(source, calibration, QUANTIZERS[chosen], precision) | {
        "quantizer": chosen,
        "quantizer_reason": f"the higher SQNR against float32 on {JUDGED} calibration samples, in dB",
        "quantizers_sqnr_db": verdicts,
    }


class Stopped(RuntimeError):
    """A model that LiteRT does not run to its end, and the modules of the operator at which it stopped."""

    def __init__(self, message: str, modules: Sequence[str]):
        """modules: none, where they are not known."""
        super().__init__(message)
        self.modules = modules


def outputs(model: bytes, arrays: Arrays, source: Path) -> Arrays:
    """Run a quantized model of a SavedModel. Raises Stopped, such as for a divisor that integers round to zero."""
    try:
        return run(model, arrays)
    except RuntimeError as error:
        read = tflite_operators.read(flatbuffer_utils.read_model_from_bytearray(bytearray(model)))
        operators = [Operator(str(one.index), one.kind, None, one.result.name) for one in read.main]
        stop = find_stop(str(error), operators, layers.beside(source))
        raise Stopped(f"{error} {stop.sentence}" if stop else str(error), stop.modules if stop else ()) from error


def by_converter(source: Path, calibration: Arrays, precision: str) -> bytes:
    """Return the model that TensorFlow's quantizer makes."""
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
    models = [quantize(source, half, precision) for half in keep_float.divided(calibration)]
    ratio = self_check.least(*(outputs(model, inputs, source) for model in models))
    return {"calibration_halves_sqnr_db": self_check.rounded(ratio)}


def by_ai_edge(source: Path, calibration: Arrays, precision: str) -> bytes:
    """Return the model that AI Edge Quantizer makes, with the least and greatest values of all samples as ranges."""
    return Ranges(source, calibration, precision).quantize()


class Ranges:
    """The ranges of a model's tensors, measured once and used for every attempt to quantize it.

    AI Edge Quantizer's own moving average of them saturates outputs: 9.5 instead of 29 dB (mobilenet_v3_small).
    """

    def __init__(self, source: Path, calibration: Arrays, precision: str, unseen: Arrays | None = None):
        """Measure the ranges.

        unseen: samples that attempts are measured on; those that set the ranges never overrun them.
        """
        self.model, self.unseen = exact(source), unseen or calibration
        self.recipe = WHOLE_INTEGER[precision].recipe()
        self.ranges = self._measured(calibration)
        self.source = source

    def _measured(self, calibration: Arrays) -> dict[str, Any]:
        """Return tensor → least and greatest value, merged from the two halves, because each half is asked for, too.

        All precisions have the same ranges: they are measured on the float32 model.
        """
        if self._key(calibration) not in MEASURED and len(next(iter(calibration.values()))) > 1:
            first, second = (self._calibrated(half) for half in keep_float.divided(calibration))
            _remember(self._key(calibration), {name: min_max_update(first[name], second[name]) for name in first})
        return self._calibrated(calibration)

    def _calibrated(self, samples: Arrays) -> dict[str, Any]:
        key = self._key(samples)
        if key not in MEASURED:
            quantizing = quantizer.Quantizer(self.model, self.recipe)
            ranges = Calibrator(self.model, num_threads=1, qsv_update_func=min_max_update)
            ranges.calibrate({SIGNATURE: list(rows(samples))}, quantizing._recipe_manager)  # it counts them first
            _remember(key, ranges.get_model_qsvs())
        return MEASURED[key]

    def _key(self, samples: Arrays) -> Any:
        return hash(self.model), *(fingerprints([values])[0] for values in samples.values())

    @cached_property
    def places(self) -> dict[str, str]:
        """Return operator, by the name of its output → the module it is part of."""
        content, names = self._operators
        (signature,), tensors = content.signatureDefs, content.subgraphs[0].tensors
        tensor_twins = layers.beside(self.source)
        tensor_twins |= {
            layers.canonical(tensors[output.tensorIndex].name.decode()): tensor_twins[output.name.decode()]
            for output in signature.outputs
            if output.name.decode() in tensor_twins
        }
        return layers.spread(names, tensor_twins)

    @cached_property
    def weights(self) -> dict[str, int]:
        """Return module → bytes of its constants."""
        content, names = self._operators
        graph, sizes = content.subgraphs[0], dict.fromkeys(self.places.values(), 0)
        for operator, name in zip(graph.operators, names, strict=True):
            buffers = [content.buffers[graph.tensors[index].buffer].data for index in operator.inputs if index >= 0]
            if name in self.places:
                sizes[self.places[name]] += sum(len(data) for data in buffers if data is not None)
        return sizes

    @property
    def _operators(self) -> tuple[Any, list[str]]:
        """Return the model as an object, and the names of its operators' outputs in order."""
        content = flatbuffer_utils.read_model_from_bytearray(bytearray(self.model))
        graph = content.subgraphs[0]
        return content, [graph.tensors[operator.outputs[0]].name.decode() for operator in graph.operators]

    def quantize(self, float_layers: Collection[str] = (), only: str = "") -> bytes:
        """Return the model with these modules in float32, or with only one module in integers."""
        quantizing = quantizer.Quantizer(self.model, self.recipe)
        places = self.places if float_layers or only else {}
        float_operators = [
            name for name, module in places.items() if module in float_layers or (only and module != only)
        ]
        for name in float_operators:
            quantizing.update_quantization_recipe(
                f"^{re.escape(name)};?$", qtyping.TFLOperationName.ALL_SUPPORTED, None, AlgorithmName.NO_QUANTIZE
            )
        model = quantizing.quantize(self.ranges, enable_progress_bar=False, enable_progress_report=False)
        return bytes(model.quantized_model)

    def some(self, count: int) -> Arrays:
        """Return the first samples to measure on, by input name."""
        return {name: values[:count] for name, values in self.unseen.items()}

    def alone(self, module: str) -> float:
        """Return the SQNR in dB with only this module in integers."""
        inputs = self.some(keep_float.RANKED)
        actual = outputs(self.quantize(only=module), inputs, self.source)
        return self_check.least(actual, run(self.model, inputs))

    def attempt(self, float_layers: Collection[str], task: Task) -> keep_float.Score:
        """Return the score with these modules in float32."""
        model, inputs = self.quantize(float_layers), self.some(keep_float.SAMPLES)
        actual = outputs(model, inputs, self.source)
        return keep_float.score(actual, run(self.model, inputs), task, len(model))


def _remember(key: Any, ranges: dict[str, Any]) -> None:
    while len(MEASURED) >= KEPT:
        MEASURED.pop(next(iter(MEASURED)))
    MEASURED[key] = ranges


def partly(
    source: Path, calibration: Arrays, precision: str, keep: Sequence[str], task: Task
) -> tuple[bytes, dict[str, Any], list[str]]:
    """Return the model in integers but for some layers, its details and its findings.

    Only AI Edge Quantizer can do this.

    keep: the layers that stay in float32.
    """
    ranges = Ranges(source, calibration, precision)
    repaired, findings = None, []
    if list(keep) == [keep_float.AUTO]:
        first, second = keep_float.divided(calibration)
        halved = Ranges(source, first, precision, unseen=second)
        repaired = keep_float.repair(halved.weights, halved.alone, lambda modules: halved.attempt(modules, task))
        float_layers, findings = list(repaired.kept), [repaired.sentence]
    else:
        float_layers = layers.chosen(ranges.places.values(), keep)
    model = ranges.quantize(float_layers)
    check_scales(model)
    details = {
        "quantizer": "ai-edge-quantizer",
        **halves(source, calibration, lambda *half: Ranges(*half).quantize(float_layers), precision),
        **keep_float.details(float_layers, repaired),
    }
    return model, details, findings


QUANTIZERS = {"TFLiteConverter": by_converter, "ai-edge-quantizer": by_ai_edge}


def check_scales(model: bytes) -> None:
    """Check every quantization step: at an infinite one LiteRT aborts the whole process. Raises ValueError."""
    for tensor in flatbuffer_utils.read_model_from_bytearray(bytearray(model)).subgraphs[0].tensors:
        scales = tensor.quantization.scale if tensor.quantization is not None else None
        if scales is not None and len(scales) and not np.max(scales) < SANE_SCALE:
            name = tensor.name.decode().rpartition(";")[2]  # of fused operators, the last
            raise ValueError(f"a quantization step is {np.max(scales):.1e}: an infinite value in the range of {name}")
