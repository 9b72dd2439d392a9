"""TFLite, for Android, iOS and microcontrollers: one image at a time, NHWC, in five precisions.

Whole integers come from the quantizer that does this model the least harm: TensorFlow's converter or AI Edge Quantizer.
The int8 model takes and gives uint8; its input has scale 1/255, so an app passes camera bytes.
"""

from export.tensorflow_graph import nhwc, save_single  # isort: skip  # before TensorFlow

import copy
import math
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import qtyping, quantizer, recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.calibrator import Calibrator
from ai_edge_quantizer.utils.qsv_utils import min_max_update

from export import check, layers, memory, repair
from export.operators import inexpressible, modules
from export.tflite_metadata import Description, Image, with_metadata
from export.tflite_metadata import Tensor as Described
from pipeline.checkpoint import Checkpoint, Tensor

TOOLCHAIN = "tensorflow"
SOURCES = {
    "float32": "saved_model/float32",
    "float16": "saved_model/float32",
    "int8_dynamic": "saved_model/float32",
    "int8": "saved_model/float32",
    "int8_int16": "saved_model/float32",
}

KEEPS_FLOAT = ["int8", "int8_int16"]

ENTRY = "model.tflite"
SIGNATURE = "serving_default"
JUDGED = 16
"""Calibration samples that quantizers are judged on: the plain kernels of 16 bits take a second for one (resnet18)."""
HALVES = 8
"""And on which the models of two halves of the calibration are compared."""
SANE_SCALE = 1e20
"""A quantization step beyond this is an infinity in disguise, such as the padding of a maximum."""
Arrays = dict[str, np.ndarray[Any, Any]]


def convert(
    source: Path, checkpoint: Path, precision: str, out: Path, keep_float: Sequence[str] = ()
) -> dict[str, Any]:
    """saved_model/float32's folder → `model.tflite`, with labels and the pixels' scale as TFLite Metadata."""
    opened = Checkpoint.open(Path(checkpoint))
    inputs = tuple(one_sample(nhwc(tensor)) for tensor in opened.inputs)
    outputs = tuple(one_sample(nhwc(tensor)) for tensor in opened.outputs)
    check.fits(opened, "TFLite's flatbuffer")
    details: dict[str, Any] = {}
    said: dict[str, Any] = {}
    findings: list[str] = []
    if precision in WHOLE_INTEGER:
        details = check.provenance(check.calibration(opened))
    if precision in WHOLE_INTEGER and keep_float:
        model, said, findings = partly(Path(source), samples(opened), precision, keep_float)
    elif precision in WHOLE_INTEGER:
        model, said = best(Path(source), samples(opened), precision)
    else:
        model = from_saved_model(Path(source), PLAIN[precision]) if PLAIN[precision] else exact(Path(source))
    found = named(model, inputs, outputs)
    details |= said
    details["min_runtime_version"] = min_runtime_version(found)
    if precision in WHOLE_INTEGER:
        set_interface(found, WHOLE_INTEGER[precision].outside)
    inputs, outputs = described(found, inputs, outputs)
    content = bytes(flatbuffer_utils.convert_object_to_bytearray(found))
    (Path(out) / ENTRY).write_bytes(with_labels(content, opened, inputs, outputs))
    return {
        "entry": ENTRY,
        "findings": findings,
        "details": details,
        "inputs": [asdict(tensor) for tensor in inputs],
        "outputs": [asdict(tensor) for tensor in outputs],
    }


def one_sample(tensor: Tensor) -> Tensor:
    """Apps give one image, and with a fixed batch every shape is known, which delegates want."""
    return replace(tensor, shape=(1, *tensor.shape[1:]))


def samples(opened: Checkpoint) -> Arrays:
    """Calibration as TensorFlow lays it out, (N, H, W, 3). Every input's range reaches what the checkpoint states."""
    found = {}
    for tensor in opened.inputs:
        values = check.calibration(opened)[tensor.name]
        values = np.ascontiguousarray(np.moveaxis(values, 1, 3)) if tensor.layout == "NCHW" else values.copy()
        if tensor.range is not None:  # two corner values of the first sample: the step is to be 1/255 exactly
            values[0].flat[0], values[0].flat[-1] = tensor.range
        found[tensor.name] = values
    return found


@lru_cache(maxsize=1)
def _converter_folder(source: Path) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    save_single(source, Path(folder.name))
    memory.release()
    return folder


def from_saved_model(source: Path, settings: dict[str, Any], calibration: Arrays | None = None) -> bytes:
    """By TFLiteConverter, from a SavedModel with a batch of one. Raises Inexpressible."""
    converter = tf.lite.TFLiteConverter.from_saved_model(_converter_folder(source).name)
    for name, value in settings.items():
        setattr(converter, name, value)
    if calibration is not None:
        converter.representative_dataset = lambda: rows(calibration)
    try:
        model: bytes = converter.convert()
        memory.release()  # as much as the model twenty times over
    except Exception as error:
        missing = re.search(r"(?:TF Select|Custom) ops: ([\w, ]+)", str(error))
        if missing:
            operators = [name.strip() for name in missing[1].split(",")]
            raise inexpressible("TFLite", modules(operators, source)) from error
        raise
    return model


@lru_cache(maxsize=1)
def exact(source: Path) -> bytes:
    """The float32 model."""
    return from_saved_model(source, {})


def rows(arrays: Arrays) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    """Sample after sample, each with a batch axis of one."""
    for index in range(len(next(iter(arrays.values())))):
        yield {name: values[index : index + 1] for name, values in arrays.items()}


OPTIMIZED = {"optimizations": [tf.lite.Optimize.DEFAULT]}
PLAIN: dict[str, dict[str, Any]] = {
    "float32": {},
    "float16": OPTIMIZED | {"target_spec": tf.lite.TargetSpec(supported_types=[tf.float16])},
    # One scale per dense layer, not per row: the latter is FULLY_CONNECTED version 12, which tflite-runtime 2.14
    # refuses, and costs no accuracy (37.2 instead of 36.4 dB on efficientnet_b0, 44.9 of 44.8 on resnet18). AI Edge
    # Quantizer's is no choice here: 2.14 loads it and returns garbage.
    "int8_dynamic": OPTIMIZED | {"_experimental_disable_per_channel_quantization_for_dense_layers": True},
}


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
            said[name] = check.rounded(check.least(run(models[name], some), reference))
            if not math.isfinite(said[name]):
                raise ValueError("its outputs are NaN or infinite")
        except Exception as error:  # noqa: BLE001  # one of the two is enough
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
    """How far the models of two halves of the calibration lie apart: whether its samples are enough."""
    some = {name: values[:HALVES] for name, values in calibration.items()}
    outputs = [run(quantize(source, half, precision), some) for half in repair.divided(calibration)]
    return {"calibration_halves_sqnr_db": check.rounded(check.least(*outputs))}


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
        made = quantizer.Quantizer(self.model, self.recipe)
        ranges = Calibrator(self.model, num_threads=1, qsv_update_func=min_max_update)
        ranges.calibrate({SIGNATURE: list(rows(calibration))}, made._recipe_manager)  # it counts them first
        self.found = ranges.get_model_qsvs()
        self.source = source

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
        some = self.some(repair.RANKED)
        return check.least(run(self.quantize(only=module), some), run(self.model, some))

    def attempt(self, kept: Collection[str]) -> repair.Score:
        """With these modules in float32."""
        model, some = self.quantize(kept), self.some(repair.SAMPLES)
        return repair.score(run(model, some), run(self.model, some), len(model))


def partly(
    source: Path, calibration: Arrays, precision: str, keep_float: Sequence[str]
) -> tuple[bytes, dict[str, Any], list[str]]:
    """In integers but for some layers; → the model, details and findings. Only AI Edge Quantizer can."""
    ranges = Ranges(source, calibration, precision)
    found, findings = None, []
    if list(keep_float) == [repair.AUTO]:
        first, second = repair.divided(calibration)
        halved = Ranges(source, first, precision, unseen=second)
        found = repair.repair(halved.weights, halved.alone, halved.attempt)
        kept, findings = list(found.kept), [found.sentence]
    else:
        kept = layers.chosen(ranges.places.values(), keep_float)
    model = ranges.quantize(kept)
    check_scales(model)
    said = {
        "quantizer": "ai-edge-quantizer",
        **halves(source, calibration, lambda *half: Ranges(*half).quantize(kept), precision),
        **repair.details(kept, found),
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


def run(model: bytes, arrays: Arrays) -> Arrays:
    """Sample after sample through the plain kernels; integers in and out are taken as the numbers they stand for."""
    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    runner = interpreter.get_signature_runner(SIGNATURE)
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    parts = []
    for row in rows(arrays):
        found = runner(**{name: quantized(value, inputs[name]) for name, value in row.items()})
        parts.append({name: dequantized(value, outputs[name]) for name, value in found.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in outputs}


def quantized(value: np.ndarray[Any, Any], detail: dict[str, Any]) -> np.ndarray[Any, Any]:
    """float32 → the tensor's own type."""
    scale, zero = detail["quantization"]
    if not scale or detail["dtype"] == np.float32:
        return value
    limits = np.iinfo(detail["dtype"])
    steps: np.ndarray[Any, Any] = np.clip(np.round(value / scale) + zero, limits.min, limits.max)
    return steps.astype(detail["dtype"])


def dequantized(value: np.ndarray[Any, Any], detail: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The tensor's own type → float32."""
    scale, zero = detail["quantization"]
    if not scale or detail["dtype"] == np.float32:
        return value
    numbers: np.ndarray[Any, Any] = (value.astype(np.float32) - zero) * scale
    return numbers.astype(np.float32)


def named(model: bytes, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Any:
    """The model as an object, whose input and output tensors have the checkpoint's names, like its signature."""
    found = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    (signature,) = found.signatureDefs
    graph = found.subgraphs[0]
    for tensors, maps, field in ((inputs, signature.inputs, "inputs"), (outputs, signature.outputs, "outputs")):
        places = {mapped.name.decode(): mapped.tensorIndex for mapped in maps}
        for tensor in tensors:
            graph.tensors[places[tensor.name]].name = tensor.name.encode()
        setattr(graph, field, [places[tensor.name] for tensor in tensors])
    return found


def min_runtime_version(model: Any) -> str:
    """The oldest TFLite runtime whose operators the converter says it needs: `1.14.0`."""
    for item in model.metadata or []:
        if item.name == b"min_runtime_version":
            return bytes(model.buffers[item.buffer].data).rstrip(b"\0").decode()
    return ""


def set_interface(model: Any, kind: int) -> None:
    """Integer inputs and outputs → `kind`: uint8, which lies 128 beside int8, or float32.

    An operator at each does it, where there is need: the quantizers leave what they compute in.
    """
    graph, (signature,) = model.subgraphs[0], model.signatureDefs
    for maps, places, incoming in ((signature.inputs, graph.inputs, True), (signature.outputs, graph.outputs, False)):
        for position, inner in enumerate(list(places)):
            tensor = copy.deepcopy(graph.tensors[inner])
            if tensor.type in {kind, schema.TensorType.FLOAT32}:  # the latter: a layer that was kept in float
                continue
            graph.tensors[inner].name += b"_inner"
            tensor.type, tensor.buffer = kind, 0
            if kind == schema.TensorType.UINT8:
                tensor.quantization.zeroPoint = [int(tensor.quantization.zeroPoint[0]) + 128]
            else:
                tensor.quantization = None
            outer = places[position] = len(graph.tensors)
            graph.tensors.append(tensor)
            operator = schema.OperatorT()
            operator.inputs, operator.outputs = ([outer], [inner]) if incoming else ([inner], [outer])
            to_float = kind == schema.TensorType.FLOAT32 and not incoming
            operator.opcodeIndex = _code(model, "DEQUANTIZE" if to_float else "QUANTIZE")
            graph.operators.insert(0 if incoming else len(graph.operators), operator)
            for mapped in maps:
                mapped.tensorIndex = outer if mapped.tensorIndex == inner else mapped.tensorIndex


VERSIONS = {"QUANTIZE": 2, "DEQUANTIZE": 3}
"""The first of each operator that takes int16."""


def _code(model: Any, name: str) -> int:
    number = getattr(schema.BuiltinOperator, name)
    for index, one in enumerate(model.operatorCodes):
        if one.builtinCode == number and one.version >= VERSIONS[name]:
            return index
    made = schema.OperatorCodeT()
    made.builtinCode = made.deprecatedBuiltinCode = number
    made.version = VERSIONS[name]
    model.operatorCodes.append(made)
    return len(model.operatorCodes) - 1


TYPES = {schema.TensorType.FLOAT32: "float32", schema.TensorType.UINT8: "uint8", schema.TensorType.INT8: "int8"}


def described(
    model: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What the manifest says: types and quantization as they are in the file."""
    graph = model.subgraphs[0]

    def one(tensor: Tensor, index: int) -> Tensor:
        actual = graph.tensors[index]
        dtype = TYPES[actual.type]
        if dtype == "float32":
            return tensor
        scale, zero = float(actual.quantization.scale[0]), int(actual.quantization.zeroPoint[0])
        limits = np.iinfo(dtype)
        spread = None if tensor.range is None else (float(limits.min), float(limits.max))
        return replace(tensor, dtype=dtype, scale=scale, zero_point=zero, range=spread)

    return (
        tuple(map(one, inputs, graph.inputs)),
        tuple(map(one, outputs, graph.outputs)),
    )


def with_labels(model: bytes, opened: Checkpoint, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> bytes:
    """With TFLite Metadata: an app divides bytes by 255, whatever the model's normalisation, which is inside."""
    description = Description(
        opened.task,
        f"{', '.join(tensor.name for tensor in outputs)} are not normalised (no softmax).",
        opened.sha256[:12],
    )
    images = [Image(tensor.name) if tensor.channels == "RGB" else Described(tensor.name) for tensor in inputs]
    return with_metadata(model, description, images, [Described(tensor.name) for tensor in outputs], opened.labels)
