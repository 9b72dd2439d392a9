"""A checkpoint to ONNX by PyTorch's exporters: the torch.export-based one, and the other to check it by.

export(Checkpoint.open(folder), Path("model.onnx"))
findings, details = cross_check(opened, path)
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export import self_check
from export.graphs.captured import program_of
from export.graphs.onnx_runtime import run
from export.graphs.operators import inexpressible, user_path
from measures import tasks
from measures.distance import sqnr_db
from measures.tolerance import SAME_DB
from pipeline.checkpoint import Checkpoint
from records.errors import raise_if_full
from records.tensor import Array

TRACED = 2
"""Samples of the second graph: what is traced keeps all that is in between, 16 GiB of eight samples of a Mask R-CNN."""


def export(opened: Checkpoint, path: Path) -> None:
    """Write the checkpoint's program as ONNX, for any batch size. Raises Inexpressible.

    The exporter's optimizer folds constants and removes operators without effect.
    """
    import torch

    program = program_of(opened, "ONNX")
    try:
        with without_traces():
            exported = torch.onnx.export(
                program,
                (),
                dynamo=True,
                optimize=True,
                verbose=False,
                input_names=[tensor.name for tensor in opened.inputs],
                output_names=[tensor.name for tensor in opened.outputs],
                custom_translation_table={torch.ops.aten._adaptive_avg_pool2d.default: adaptive_average},
            )
    except torch.onnx.errors.OnnxExporterError as error:
        missing = re.search(r"No ONNX function found for .*?op='([\w.:]+)'", _causes(error))
        if missing is None:
            raise
        raise inexpressible("ONNX", {missing[1]: _module_calling(program, missing[1])}) from error
    assert exported is not None
    name_axes(exported.model, opened)
    exported.save(str(path), external_data=self_check.beyond_one_file(opened))


@contextmanager
def without_traces() -> Iterator[None]:
    """Keep PyTorch from noting for every operator where in Python it was called: a program has no such place, and in
    a profile of SSDLite320's export the notes took 20 seconds.
    """
    from torch.fx import config

    before = getattr(config, "do_not_emit_stack_traces", None)
    if before is None:  # PyTorch before 2.10
        yield
        return
    config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = before


def name_axes(model: Any, opened: Checkpoint) -> None:
    """Call the axes of any length in an ONNX model as the checkpoint does, `batch` for PyTorch's own `s77`; in place.

    model: onnx_ir's. An axis of which nothing is known stays without a name: all axes of one name are equally long to
    ONNX Runtime, which stops where they are not.
    """
    names: dict[str, str] = {}
    for value, tensor in zip(model.graph.inputs, opened.inputs, strict=True):
        for axis, size in enumerate(tensor.shape):
            if isinstance(size, str):
                names[str(value.shape[axis])] = size
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b") if names else None
    for value in [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]:
        for axis, size in enumerate(value.shape or ()):
            if pattern and not isinstance(size, int) and size.value is not None:
                value.shape[axis] = pattern.sub(lambda found: names[found[1]], str(size.value))


def adaptive_average(image: Any, output_size: list[int]) -> Any:
    """Return adaptive average pooling (N, C, H, W) → (N, C, *output_size) in ONNX's operators.

    For windows of uneven size (30 pixels to 4) PyTorch's exporter makes a GatherND of six axes, which onnx2tf converts
    wrongly. A mean over windows is a matrix product on each axis.
    """
    from onnxscript import opset18 as op

    sizes, counts = [int(axis) for axis in image.shape[2:]], list(output_size)
    if all(size % count == 0 for size, count in zip(sizes, counts, strict=True)):
        windows = [size // count for size, count in zip(sizes, counts, strict=True)]
        return op.AveragePool(image, kernel_shape=windows, strides=windows)
    rows, columns = (mean_of_windows(size, count) for size, count in zip(sizes, counts, strict=True))
    columns = np.ascontiguousarray(columns.T)
    narrow = op.MatMul(image, op.Constant(value=onnx.numpy_helper.from_array(columns)))
    return op.MatMul(op.Constant(value=onnx.numpy_helper.from_array(rows)), narrow)


def mean_of_windows(size: int, count: int) -> Array:
    """Return a matrix (count, size) float32 whose row i averages the i-th of `count` windows; they may overlap."""
    matrix = np.zeros((count, size), np.float32)
    for index in range(count):
        start, end = index * size // count, -(-(index + 1) * size // count)
        matrix[index, start:end] = 1 / (end - start)
    return matrix


def _causes(error: BaseException) -> str:
    """Return an exception's message and those of its causes."""
    return str(error) + (_causes(error.__cause__) if error.__cause__ else "")


def _module_calling(program: Any, operator: str) -> str:
    """Return the path of the first module that calls an ATen operator; empty: not known."""
    for node in program.graph.nodes:
        if getattr(getattr(node.target, "_schema", None), "name", "").replace("::", ".") == operator.replace("::", "."):
            paths = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
            return user_path(paths[-1]) if paths else ""
    return ""


def cross_check(opened: Checkpoint, path: Path) -> tuple[list[str], dict[str, Any]]:
    """Export once more, through TorchScript, and compare the two graphs on golden inputs; return findings and details.

    The two exporters share no code above the operators: where they disagree, one of them is wrong.
    """
    import torch

    if self_check.beyond_one_file(opened):
        return ["no cross-check: the TorchScript-based exporter writes 2 GiB at most"], {}
    second_path = path.with_name("cross_check.onnx")
    golden = opened.golden().inputs
    count = min(self_check.SAMPLES, len(next(iter(golden.values()))))
    size = opened.batch or min(TRACED, count)
    count -= count % size  # the second graph takes no other number
    inputs = {tensor.name: golden[tensor.name][:count] for tensor in opened.inputs}
    first = run(path, inputs, size)  # ours: where it cannot run, the conversion has failed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                opened.model(),
                tuple(torch.from_numpy(values[:size]) for values in inputs.values()),
                str(second_path),
                dynamo=False,
                input_names=[tensor.name for tensor in opened.inputs],
                output_names=[tensor.name for tensor in opened.outputs],
            )
        second = run(second_path, inputs, size)
    except Exception as error:  # noqa: BLE001  # whatever the deprecated exporter meets is no fault of the artifact
        raise_if_full(error)
        print(f"cross-check: {type(error).__name__}: {error}")
        return [f"no cross-check: the TorchScript-based exporter failed ({type(error).__name__}; see the log)"], {}
    finally:
        for file in path.parent.glob("cross_check*"):
            file.unlink()
    ordered = tasks.in_order(tasks.load(opened.task), second, first, opened.decoding)
    floats = [name for name, values in first.items() if np.issubdtype(values.dtype, np.floating)]
    ratios = {name: sqnr_db(ordered[name], first[name]) for name in floats or first}
    findings = [
        f"the two PyTorch exporters disagree on {name}: SQNR {ratio:.1f} dB over {count} golden inputs "
        f"({SAME_DB:.0f} needed). "
        "Compare both with golden: anywhere validate judges the torch.export-based one."
        for name, ratio in ratios.items()
        if not ratio >= SAME_DB
    ]
    return findings, {
        "cross_check_sqnr_db": {name: self_check.rounded(ratio) for name, ratio in ratios.items()},
        "cross_check_samples": count,
    }
