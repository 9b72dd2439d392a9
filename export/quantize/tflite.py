"""Whole integers for TFLite: LiteRT Quantizer with ranges of ours, or TensorFlow's converter where that is better.

    model, details = best(Path("…/1"), {"image": (N, H, W, 3)}, "int8", task, reference)

The float32 model is the prepared one. Inputs and outputs are what the quantizers leave: integers as they are inside.
Some layers stay in float32 on request.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_litert.tools import flatbuffer_utils
from litert_quantizer import qtyping, quantizer, recipe
from litert_quantizer.algorithm_manager import AlgorithmName

from export import self_check
from export.graphs import layers, tflite_operators
from export.graphs.stopped import Operator, find_stop
from export.graphs.tflite_converter import SIGNATURE, exact, from_saved_model, rows, run
from export.graphs.tflite_weights import weighted
from export.graphs.tflite_widened import widened
from export.quantize import repair
from export.quantize.quantizing import JUDGED_VALUES, Quantizing, timed
from export.quantize.ranges import METHODS, SANE, Following, Ranges, Seen, Worth, observe, readers
from export.quantize.repair import Kept
from measures.tasks import Task
from records.errors import raise_if_full
from records.tensor import Array, Arrays
from workers import memory

JUDGED_16 = 8
"""Samples of a half that a model with activations of 16 bits is judged on: its plain kernels take a second for one
(resnet18)."""
Reference: TypeAlias = Callable[[Arrays], Arrays]
"""Returns what PyTorch's model gives, (N, …) by output, both as a TFLite file lays them out."""
OPTIMIZED = {"optimizations": [tf.lite.Optimize.DEFAULT]}


@dataclass(frozen=True)
class WholeInteger:
    """A precision whose activations are integers, by the name each of the quantizers has for it."""

    operators: tf.lite.OpsSet
    inside: tf.DType
    recipe: Callable[[], Any]
    outside: int
    """The type of the inputs that an app passes and of the outputs it receives."""
    methods: tuple[str, ...]
    """Ways to set ranges that are worth a trial: 16 bits have steps enough for any."""
    judged: int
    """Samples that a method is judged on, at most."""


WHOLE_INTEGER = {
    "int8": WholeInteger(
        tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
        tf.int8,
        recipe.static_wi8_ai8,
        schema.TensorType.UINT8,
        tuple(METHODS),
        JUDGED_VALUES,
    ),
    "int8_int16": WholeInteger(
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.int16,
        recipe.static_wi8_ai16,
        schema.TensorType.FLOAT32,
        ("extremes",),
        JUDGED_16,
    ),
}


def best(
    source: Path, calibration: Arrays, precision: str, task: Task, reference: Reference
) -> tuple[bytes, dict[str, Any]]:
    """Return the better of the quantizers' models, and details that say why it was chosen.

    TensorFlow's is tried where LiteRT Quantizer's is none, or takes other decisions on calibration samples that set
    none of its ranges. Raises ValueError if no quantizer can do it.
    """
    models: dict[str, bytes] = {}
    worths: dict[str, Worth] = {}
    verdicts: dict[str, Any] = {}
    stopped: set[str] = set()
    details: dict[str, Any] = {}
    network = Litert(source, calibration, precision, task, reference)
    for name, quantize in {LITERT: by_litert, CONVERTER: by_converter}.items():
        if any(worth.agrees for worth in worths.values()):
            break
        try:
            model, worth, more = quantize(network)
            if worth.typical_db == -np.inf:
                raise ValueError("its outputs are NaN or infinite")
        except Exception as error:  # noqa: BLE001  # one is enough; why not the other is in the manifest
            raise_if_full(error)
            print(f"{name}: {type(error).__name__}: {error}")
            verdicts[name] = f"{type(error).__name__}: {error}".partition("\n")[0][:300].removesuffix(".")
            stopped.update(error.modules if isinstance(error, Stopped) else [])
            continue
        models[name], worths[name], verdicts[name] = model, worth, self_check.rounded(worth.typical_db)
        details[name] = more
    if not models:
        remedy = f". In float32 it may do: --keep-float {','.join(sorted(stopped))}." if stopped else ""
        reasons = "; ".join(f"{name}: {why}" for name, why in verdicts.items())
        raise ValueError(f"no quantizer gives this model: {reasons}{remedy}")
    best_name = max(worths, key=lambda name: worths[name])
    memory.release()
    return models[best_name], details[best_name] | {
        "quantizer": best_name,
        "quantizer_reason": f"decisions and SQNR on twice {network.judged} calibration samples that set no range; dB "
        "that nine of ten exceed",
        "quantizers_sqnr_db": verdicts,
    }


def weights_only(source: Path) -> bytes:
    """Return the model with weights of 8 bits for each output, which a runtime makes floats of before it computes."""
    quantizing = quantizer.Quantizer(exact(source), recipe.weight_only_wi8_afp32())
    return bytes(quantizing.quantize(enable_progress_bar=False, enable_progress_report=False).quantized_model)


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


class Litert(Quantizing[bytes]):
    """A float32 TFLite model and its integers by LiteRT Quantizer."""

    def __init__(
        self,
        source: Path,
        calibration: Arrays,
        precision: str,
        task: Task,
        reference: Reference,
        exact_source: Callable[[], Path] | None = None,
    ):
        """Read the prepared model of a SavedModel. calibration: (N, …) by input, as the file lays them out.

        exact_source: returns the SavedModel whose weights are not rounded, which layers in float32 take theirs from;
        None: no layer is to stay in it.
        """
        self.kind = WHOLE_INTEGER[precision]
        super().__init__(calibration, task, self.kind.methods, self.kind.judged)
        self.source, self.model, self.reference, self.exact_source = source, exact(source), reference, exact_source
        self.recipe = self.kind.recipe()

    @cached_property
    def seen(self) -> dict[str, Seen]:
        """Return what all samples gave in every tensor of the float32 model."""
        return observe(inside(self.model, self.samples))

    @cached_property
    def following(self) -> Following:
        """Return what reads each tensor."""
        operators = tflite_operators.read(self._content).main
        return readers(
            (one.kind, [tensor.name for tensor in one.inputs], [tensor.name for tensor in one.outputs])
            for one in operators
        )

    @cached_property
    def places(self) -> dict[str, str]:
        """Return operator, by the name of its output → the module it is part of."""
        return places(self._content, self.source)

    @cached_property
    def weights(self) -> dict[str, int]:
        """Return module → bytes of its constants."""
        content, sizes = self._content, dict.fromkeys(self.places.values(), 0)
        graph = content.subgraphs[0]
        for operator, name in zip(graph.operators, self._names, strict=True):
            buffers = [content.buffers[graph.tensors[index].buffer].data for index in operator.inputs if index >= 0]
            if name in self.places:
                sizes[self.places[name]] += sum(len(data) for data in buffers if data is not None)
        return sizes

    def modules_with(self, kind: str) -> list[str]:
        """Return the modules that have an operator of a kind, in graph order."""
        operators = tflite_operators.read(self._content).main
        names = [one.result.name for one in operators if one.kind == kind]
        return list(dict.fromkeys(self.places[name] for name in names if name in self.places))

    @cached_property
    def _content(self) -> Any:
        return flatbuffer_utils.read_model_from_bytearray(bytearray(self.model))

    @cached_property
    def _names(self) -> list[str]:
        """Return the names of the operators' outputs in order."""
        return results(self._content)

    def quantize(self, tensor_ranges: Ranges, kept: Kept | None = None, only: str = "") -> bytes:
        """Return the model with these modules not in 8 bits, or with only one module in integers. Raises ValueError."""
        kept, fixed = kept or Kept(), self.fixed if self.task.FLOAT_MODULES else []
        places = self.places if kept or only or fixed else {}
        float_operators = [
            name
            for name, module in places.items()
            if module in kept.float32 or module in fixed or (only and module != only)
        ]
        source = self._unrounded(float_operators) if kept or only else self.model
        quantizing = quantizer.Quantizer(source, self.recipe)
        for name in (name for name, module in places.items() if module in kept.bits16):
            quantizing.add_static_config(
                _exactly(name), qtyping.TFLOperationName.ALL_SUPPORTED, activation_num_bits=16, weight_num_bits=8
            )
        for name in float_operators:
            quantizing.update_quantization_recipe(
                _exactly(name), qtyping.TFLOperationName.ALL_SUPPORTED, None, AlgorithmName.NO_QUANTIZE
            )
        ends = {
            name: {"min": np.array([least], np.float32), "max": np.array([greatest], np.float32)}
            for name, (least, greatest) in tensor_ranges.items()
        }
        made = quantizing.quantize(ends, enable_progress_bar=False, enable_progress_report=False)
        model = widened(bytes(made.quantized_model)) if kept.bits16 else bytes(made.quantized_model)
        check_scales(model)
        return model

    def _unrounded(self, float_operators: Collection[str]) -> bytes:
        """Return the float32 model in which these operators have weights that are not rounded.

        And no bias is corrected: what it makes up for is not all there where layers have other steps, or none.
        """
        content = flatbuffer_utils.read_model_from_bytearray(bytearray(self.model))
        graph = content.subgraphs[0]
        for operator, name in zip(graph.operators, self._names, strict=True):
            for tensor in (graph.tensors[index] for index in operator.inputs if index >= 0):
                wanted = name in float_operators or len(tensor.shape) == 1
                if wanted and tensor.name in self._exact_weights:
                    content.buffers[tensor.buffer].data = self._exact_weights[tensor.name]
        return bytes(flatbuffer_utils.convert_object_to_bytearray(content))

    @cached_property
    def _exact(self) -> bytes:
        """Return the float32 model whose weights are not rounded."""
        assert self.exact_source, "no layer was to stay in float32"
        return from_saved_model(self.exact_source(), {})

    @cached_property
    def _exact_weights(self) -> dict[bytes, Any]:
        """Return the constants that rounding changed, by name, as they were."""
        content = flatbuffer_utils.read_model_from_bytearray(bytearray(self._exact))
        before = {tensor.name: content.buffers[tensor.buffer].data for tensor in content.subgraphs[0].tensors}
        rounded = {
            tensor.name: self._content.buffers[tensor.buffer].data for tensor in self._content.subgraphs[0].tensors
        }
        return {
            name: data
            for name, data in before.items()
            if data is not None and rounded.get(name) is not None and len(rounded[name]) == len(data)
        }

    def run(self, model: bytes | None, inputs: Arrays) -> Arrays:
        """Return the outputs of a file's content by LiteRT's plain kernels, or of float32. Raises Stopped."""
        return self.reference(inputs) if model is None else outputs(model, inputs, self.source)

    def size(self, model: bytes) -> int:
        """Return the bytes of a file's content."""
        return len(model)

    def latency_ms(self, model: bytes | None) -> float:
        """Return the median time of one sample in one thread, by the fast kernels where there are any.

        None: of the float32 model.
        """
        interpreter = Interpreter(model_content=self._exact if model is None else model, num_threads=1)
        interpreter.allocate_tensors()
        return timed(interpreter.invoke)


def _exactly(name: str) -> str:
    """Return the expression that LiteRT Quantizer finds the operator with an output of this name by."""
    return f"^{re.escape(name)};?$"


def by_litert(network: Litert) -> tuple[bytes, Worth, dict[str, Any]]:
    """Return LiteRT Quantizer's model, what it is worth, and details."""
    worth = network.choice.worths[network.choice.method]
    return network.quantize(network.ranges()), worth, network.halves()


def by_converter(network: Litert) -> tuple[bytes, Worth, dict[str, Any]]:
    """Return the model of TensorFlow's quantizer, what it is worth, and details. Raises ValueError."""
    if network.fixed:
        raise ValueError(f"it keeps no layers in float32, and {', '.join(network.fixed)} must be")
    kind = network.kind
    settings = OPTIMIZED | {
        "target_spec": tf.lite.TargetSpec(supported_ops=[kind.operators]),
        "inference_input_type": kind.inside,
        "inference_output_type": kind.inside,
    }
    samples = (*network.parts, network.samples)
    *models, model = (from_saved_model(network.source, settings, part) for part in samples)
    for one in (*models, model):
        check_scales(one)
    worth = min(network.worth(one, 1 - half) for half, one in enumerate(models))
    return model, worth, network.apart(models)


def inside(model: bytes, samples: Arrays) -> Iterator[tuple[int, dict[str, Array]]]:
    """Yield what a float32 model computes in every tensor of float32, for one sample after the other."""
    interpreter = Interpreter(
        model_content=model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    runner = interpreter.get_signature_runner(SIGNATURE)
    read = tflite_operators.read(flatbuffer_utils.read_model_from_bytearray(bytearray(model)))
    flows = {tensor.name for operator in read.main for tensor in operator.flows if tensor.dtype == "float32"}
    places = {detail["name"]: detail["index"] for detail in interpreter.get_tensor_details() if detail["name"] in flows}
    for row in rows(samples):
        runner(**row)
        yield 1, {name: interpreter.get_tensor(index) for name, index in places.items()}


def partly(
    source: Path,
    calibration: Arrays,
    precision: str,
    keep: tuple[Sequence[str], Sequence[str]],
    task: Task,
    reference: Reference,
    exact_source: Callable[[], Path],
) -> tuple[bytes, dict[str, Any], list[str]]:
    """Return the model in integers but for some layers, its details and its findings.

    Only LiteRT Quantizer can do this.

    keep: the layers that stay in float32, and those that have 16 bits. exact_source: as `Litert` takes it.
    """
    network = Litert(source, calibration, precision, task, reference, exact_source)
    floats, sixteens = keep
    repaired, method, findings = None, "", list[str]()
    if list(floats) == [repair.AUTO]:
        findings = _let_run(network)
        repaired = network.repaired(sixteen=network.kind.inside == tf.int8)
        model, kept, method = repaired.model, repaired.best.kept, repaired.best.method
        findings.append(repaired.sentence)
    else:
        modules = list(network.places.values())
        kept = network.kept = Kept(tuple(layers.chosen(modules, sixteens)), tuple(layers.chosen(modules, floats)))
        model = network.quantize(network.ranges(), kept)
    operators = [one.kind for one in weighted(network.model) if network.places.get(one.result) in kept.float32]
    facts = network.halves(kept, method) | repair.details(kept, operators, repaired)
    return model, {"quantizer": LITERT, **facts}, findings


def _let_run(network: Litert) -> list[str]:
    """Keep in float32 the modules at which LiteRT stops in integers, such as for a divisor that is zero; say which.

    Of a division, all that divide: the next sample may be another's zero. Raises Stopped where the module is not known,
    or is none that helps.
    """
    while True:
        try:
            network.choice  # noqa: B018  # which runs the models that it compares
        except Stopped as error:
            if set(error.modules) <= set(network.kept.float32):
                raise
            dividing = network.modules_with("DIV")
            alike = dividing if set(error.modules) & set(dividing) else []
            network.kept = network.kept.more(float32=[*error.modules, *alike])
        else:
            stopped = ", ".join(network.kept.float32)
            return [f"{stopped} in float32, for LiteRT does not run it in integers"] if stopped else []


def places(content: Any, source: Path) -> dict[str, str]:
    """Return operator, by the name of its output → the module it is part of, of a file that was read as objects.

    source: the SavedModel that it was made of.
    """
    (signature,), tensors = content.signatureDefs, content.subgraphs[0].tensors
    tensor_twins = layers.beside(source)
    tensor_twins |= {
        layers.canonical(tensors[output.tensorIndex].name.decode()): tensor_twins[output.name.decode()]
        for output in signature.outputs
        if output.name.decode() in tensor_twins
    }
    return layers.spread(results(content), tensor_twins)


def results(content: Any) -> list[str]:
    """Return the names of the operators' outputs in order."""
    graph = content.subgraphs[0]
    return [graph.tensors[operator.outputs[0]].name.decode() for operator in graph.operators]


LITERT, CONVERTER = "litert-quantizer", "TFLiteConverter"


def check_scales(model: bytes) -> None:
    """Check every quantization step: at an infinite one LiteRT aborts the whole process. Raises ValueError."""
    for tensor in flatbuffer_utils.read_model_from_bytearray(bytearray(model)).subgraphs[0].tensors:
        scales = tensor.quantization.scale if tensor.quantization is not None else None
        if scales is not None and len(scales) and not np.max(scales) < SANE:
            name = tensor.name.decode().rpartition(";")[2]  # of fused operators, the last
            raise ValueError(f"a quantization step is {np.max(scales):.1e}: an infinite value in the range of {name}")
