"""ONNX: PyTorch's exporter for float32; float16 and int8 are made from that file.

int8 is static QDQ, per channel, for ONNX Runtime's integer kernels.
"""

import json
import re
import tempfile
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime

from export import check, layers, repair
from export.control_flow import refusal
from export.operators import inexpressible, user_path
from pipeline.checkpoint import Checkpoint

TOOLCHAIN = "torch"
SOURCES = {"float32": "checkpoint", "float16": "onnx/float32", "int8": "onnx/float32"}

KEEPS_FLOAT = ["int8"]

ENTRY = "model.onnx"
CALIBRATION_BATCH = 16
KEPT_FLOAT32 = ("LayerNormalization", "Transpose")
"""Operators of a float16 model that stay float32. Layer normalisation, as PyTorch's autocast has it. Transposing only
moves values; in float16, ONNX Runtime 1.31 fuses it into the next MatMul and crashes (SIGSEGV in NchwcTransformer)
while it loads a vision transformer."""

Arrays = dict[str, np.ndarray[Any, Any]]


def convert(
    source: Path, checkpoint: Path, precision: str, out: Path, keep_float: Sequence[str] = ()
) -> dict[str, Any]:
    """float32: checkpoint folder → `model.onnx`. float16, int8: float32's file → `model.onnx`."""
    opened, path = Checkpoint.open(Path(checkpoint)), Path(out) / ENTRY
    findings: list[str] = []
    details: dict[str, Any] = {}
    check.fits(opened, "ONNX in one file")
    if precision == "float32":
        export(opened, path)
        findings, details = cross_check(opened, path)
    elif precision == "float16":
        to_float16(Path(source), path)
    else:
        details, findings = to_int8(Path(source), opened, path, keep_float)
    finish(path, opened, precision)
    if precision == "float32":
        details["layers"] = layers.record(layers.of_onnx(onnx.load(path)))
    return {"entry": ENTRY, "findings": findings, "details": details}


def export(opened: Checkpoint, path: Path) -> None:
    """Through torch.export, any batch size, constants folded and no-ops removed by the exporter's optimizer."""
    import torch

    example = opened.example()
    shapes = tuple({0: torch.export.Dim("batch")} for _ in example)
    try:
        program = torch.onnx.export(
            opened.model(),
            example,
            dynamo=True,
            optimize=True,
            verbose=False,
            input_names=[tensor.name for tensor in opened.inputs],
            output_names=[tensor.name for tensor in opened.outputs],
            dynamic_shapes=shapes,
            custom_translation_table={torch.ops.aten._adaptive_avg_pool2d.default: adaptive_average},
        )
    except torch.onnx.errors.OnnxExporterError as error:
        if refused := refusal("ONNX", error):
            raise refused from error
        missing = re.search(r"No ONNX function found for .*?op='([\w.:]+)'", _causes(error))
        if missing is None:
            raise
        traced = torch.export.export(opened.model(), example, dynamic_shapes=shapes)
        raise inexpressible("ONNX", {missing[1]: _module_calling(traced, missing[1])}) from error
    assert program is not None
    program.save(str(path))


def adaptive_average(image: Any, output_size: list[int]) -> Any:
    """Adaptive average pooling (N, C, H, W) → (N, C, *output_size) in ONNX's operators.

    PyTorch's exporter makes windows of uneven size (30 pixels to 4) a GatherND of six axes, which onnx2tf converts
    wrongly. A mean over windows is a matrix product on each axis.
    """
    from onnxscript import opset18 as op

    sizes, wanted = [int(axis) for axis in image.shape[2:]], list(output_size)
    if all(size % count == 0 for size, count in zip(sizes, wanted, strict=True)):
        windows = [size // count for size, count in zip(sizes, wanted, strict=True)]
        return op.AveragePool(image, kernel_shape=windows, strides=windows)
    rows, columns = (mean_of_windows(size, count) for size, count in zip(sizes, wanted, strict=True))
    columns = np.ascontiguousarray(columns.T)
    narrow = op.MatMul(image, op.Constant(value=onnx.numpy_helper.from_array(columns)))
    return op.MatMul(op.Constant(value=onnx.numpy_helper.from_array(rows)), narrow)


def mean_of_windows(size: int, count: int) -> np.ndarray[Any, Any]:
    """(count, size) float32: row i averages the i-th of `count` windows; where they are uneven, they overlap."""
    matrix = np.zeros((count, size), np.float32)
    for index in range(count):
        start, end = index * size // count, -(-(index + 1) * size // count)
        matrix[index, start:end] = 1 / (end - start)
    return matrix


def _causes(error: BaseException) -> str:
    """An exception's message and those of what caused it."""
    return str(error) + (_causes(error.__cause__) if error.__cause__ else "")


def _module_calling(program: Any, operator: str) -> str:
    """The path of the first module that calls an ATen operator."""
    for node in program.graph.nodes:
        if getattr(getattr(node.target, "_schema", None), "name", "").replace("::", ".") == operator.replace("::", "."):
            paths = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
            return user_path(paths[-1]) if paths else ""
    return ""


def cross_check(opened: Checkpoint, path: Path) -> tuple[list[str], dict[str, Any]]:
    """Export once more, through TorchScript, and compare the two graphs on golden inputs.

    The two exporters share no code above the operators: where they disagree, one of them is wrong.
    """
    import torch

    other = path.with_name("cross_check.onnx")
    names = [tensor.name for tensor in opened.inputs + opened.outputs]
    golden = opened.golden()
    inputs = {tensor.name: golden[f"input.{tensor.name}"][: check.SAMPLES] for tensor in opened.inputs}
    first = run(path, inputs)  # ours: where it cannot run, the conversion has failed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                opened.model(),
                opened.example(),
                str(other),
                dynamo=False,
                input_names=[tensor.name for tensor in opened.inputs],
                output_names=[tensor.name for tensor in opened.outputs],
                dynamic_axes={name: {0: "batch"} for name in names},
            )
        second = run(other, inputs)
    except Exception as error:  # noqa: BLE001  # whatever the deprecated exporter meets is no fault of the artifact
        print(f"cross-check: {type(error).__name__}: {error}")
        return [f"no cross-check: the TorchScript-based exporter failed ({type(error).__name__}; see the log)"], {}
    finally:
        for file in path.parent.glob("cross_check*"):
            file.unlink()
    ratios = {name: check.sqnr(first[name], second[name]) for name in first}
    findings = [
        f"the two PyTorch exporters disagree on {name}: SQNR {ratio:.1f} dB over {check.SAMPLES} golden inputs "
        f"({check.SAME_DB:.0f} needed). "
        "Compare both with golden: anywhere validate judges the torch.export-based one."
        for name, ratio in ratios.items()
        if not ratio >= check.SAME_DB
    ]
    return findings, {
        "cross_check_sqnr_db": {name: check.rounded(ratio) for name, ratio in ratios.items()},
        "cross_check_samples": check.SAMPLES,
    }


def run(path: Path, inputs: Arrays) -> Arrays:
    """Named arrays in, named arrays out, in ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def to_float16(source: Path, path: Path) -> None:
    """Weights and arithmetic in float16; inputs, outputs and `KEPT_FLOAT32` float32."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    kept = [*DEFAULT_OP_BLOCK_LIST, *KEPT_FLOAT32]
    model = convert_float_to_float16(onnx.load(source), keep_io_types=True, op_block_list=kept)
    # The converter casts a tensor once for every kept operator that reads it, all under one name, and appends its
    # casts at the end: neither is ONNX.
    once = {node.output[0]: node for node in reversed(model.graph.node)}
    nodes = [node for node in model.graph.node if once[node.output[0]] is node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    ordered = onnx_ir.from_proto(model)
    ordered.graph.sort()
    onnx.save(onnx_ir.to_proto(ordered), path)


def to_int8(
    source: Path, opened: Checkpoint, path: Path, keep_float: Sequence[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """uint8 activations with the calibration's least and greatest values, int8 weights per channel; → details,
    findings.

    Weights use 7 of their 8 bits (`reduce_range`): x86 processors without VNNI add two products of uint8 and int8 in
    16 bits, which saturates with 8 (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
    An artifact is to give the same numbers everywhere; on the default checkpoint it costs 0.8 of 35 dB.
    """
    samples = check.calibration(opened)
    findings: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        ranges = Ranges(source, samples, Path(folder))
        places, found = ranges.places, None
        if list(keep_float) == [repair.AUTO]:
            first, second = repair.divided(samples)
            halved = Ranges(source, first, Path(folder) / "halved", unseen=second)
            found = repair.repair(halved.weights, halved.alone, halved.attempt)
            kept = list(found.kept)
            findings = [found.sentence]
        else:
            kept = layers.chosen(places.values(), keep_float)
        ranges.quantize(path, kept)
        details = {**check.provenance(samples), "weight_bits": 7}
        details |= halves(source, samples, kept, Path(folder))
    return details | repair.details(kept, found), findings


class Ranges:
    """A float32 model made ready, and the ranges of its tensors, measured once for every way to quantize it."""

    def __init__(self, source: Path, samples: Arrays, folder: Path, unseen: Arrays | None = None):
        """unseen: samples that attempts are measured on; those that set the ranges never overrun them."""
        from onnxruntime.quantization.shape_inference import quant_pre_process

        folder.mkdir(exist_ok=True)
        self.source, self.samples, self.folder, self.unseen = source, samples, folder, unseen or samples
        self.prepared = folder / "prepared.onnx"
        quant_pre_process(str(source), str(self.prepared), skip_symbolic_shape=True)
        known, graph = layers.of_onnx(onnx.load(source)), onnx.load(self.prepared).graph
        self.places = {
            node.name: known[output].module for node in graph.node for output in node.output if output in known
        }
        """Node → the module it is part of."""
        constants = {item.name: onnx.numpy_helper.to_array(item).nbytes for item in graph.initializer}
        self.weights = dict.fromkeys(self.places.values(), 0)
        """Module → bytes of its constants."""
        for node in graph.node:
            if node.name in self.places:
                self.weights[self.places[node.name]] += sum(constants.get(name, 0) for name in node.input)

    def quantize(self, path: Path, kept: Collection[str] = (), only: str = "") -> None:
        """With these modules in float32, or with this one alone in integers."""
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        quantize_static(
            str(self.prepared),
            str(path),
            Batches(self.samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_quantize=[name for name, module in self.places.items() if module == only] or None,
            nodes_to_exclude=[name for name, module in self.places.items() if module in kept] or None,
            calibration_cache_path=str(self.folder / "ranges.json"),
        )

    def some(self, count: int) -> Arrays:
        """The first samples to measure on."""
        return {name: values[:count] for name, values in self.unseen.items()}

    def alone(self, module: str) -> float:
        """SQNR in dB with only this module in integers."""
        path = self.folder / "alone.onnx"
        self.quantize(path, only=module)
        some = self.some(repair.RANKED)
        return check.least(run(path, some), run(self.source, some))

    def attempt(self, kept: Collection[str]) -> repair.Score:
        """With these modules in float32."""
        path = self.folder / "attempt.onnx"
        self.quantize(path, kept)
        some = self.some(repair.SAMPLES)
        return repair.score(run(path, some), run(self.source, some), path.stat().st_size)


def halves(source: Path, samples: Arrays, kept: Collection[str], folder: Path) -> dict[str, Any]:
    """How far the models of two halves of the calibration lie apart: whether its samples are enough."""
    some = {name: values[: repair.SAMPLES] for name, values in samples.items()}
    outputs = []
    for name, half in zip(("first", "second"), repair.divided(samples), strict=True):
        ranges = Ranges(source, half, folder / name)
        ranges.quantize(folder / f"{name}.onnx", kept)
        outputs.append(run(folder / f"{name}.onnx", some))
    return {"calibration_halves_sqnr_db": check.rounded(check.least(*outputs))}


class Batches:
    """ONNX Runtime's CalibrationDataReader: gives batches of named arrays, then None."""

    def __init__(self, samples: Arrays):
        self._parts = self._split(samples)

    @staticmethod
    def _split(samples: Arrays) -> Iterator[Arrays]:
        for start in range(0, len(next(iter(samples.values()))), CALIBRATION_BATCH):
            yield {name: values[start : start + CALIBRATION_BATCH] for name, values in samples.items()}

    def get_next(self) -> Arrays | None:
        """The next batch."""
        return next(self._parts, None)

    def __iter__(self) -> Iterator[Arrays]:
        return self._parts


def finish(path: Path, opened: Checkpoint, precision: str) -> None:
    """Infer shapes, write what an app needs into the metadata, take out what is nobody's business, check."""
    model = onnx.load(path)
    if precision != "float32":
        del model.graph.value_info[:]  # they are float32's
    strict = precision == "float32" and agrees(model)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=strict)
    for node in model.graph.node:
        # The exporter records the source line of every operator, with the paths of this machine.
        kept = {item.key: item.value for item in node.metadata_props if "stack_trace" not in item.key}
        del node.metadata_props[:]  # and with them the items
        onnx.helper.set_metadata_props(node, kept)
    onnx.helper.set_model_props(
        model,
        {
            "task": opened.task,
            "labels": json.dumps(opened.labels),
            "normalisation": json.dumps(dict(opened.normalisation)),
            "preparation": json.dumps(dict(opened.preparation)),
            "checkpoint_sha256": opened.sha256,
            "precision": precision,
        },
    )
    onnx.checker.check_model(model, full_check=strict)
    onnx.save(model, path)


def agrees(model: onnx.ModelProto) -> bool:
    """True if ONNX's inference has the shapes that PyTorch recorded.

    Before opset 22 it counts a last pooling window that begins in the padding, which neither PyTorch nor ONNX Runtime
    does (`AvgPool2d(4, 3, padding=2, ceil_mode=True)` on 31 pixels: 12 instead of 11).
    """
    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        print(f"shape inference: {error}")
        return False
    return True
