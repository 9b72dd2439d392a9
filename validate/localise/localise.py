"""Finds the layer at fault: every tensor inside an artifact against PyTorch's, in graph order.

    localisations = localise_all(run, ["tflite/int8"], registry.find(), print)
    localisations[0].culprit                   # features.4.block.2, CONV_2D, 41 dB before and 9 dB after

The values that modules return are PyTorch's own. Those between modules (sums, plain functions of `forward`) are the
ONNX float32 artifact's, as far as that agrees with PyTorch.

A target whose inside can be read is a file in `validate/localise/readers/`, named as the target:

    TOOLCHAIN = "litert"                       # whose environment runs the file
    ENVIRONMENT = {"NAME": "value"}            # variables its process is started with

    def version() -> str: ...
    def collect(path, manifest, names, golden, samples, out) -> [{tensor, operator, scale}]
    def operators(path) -> [{name, kind, version, tensor}]     # for failed.py

`checkpoint.py` there reads PyTorch's. Each runs in a process of its own, like a runner.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from export.artifact import Artifact
from export.graphs.layers import Place, Twin
from export.run import Run
from measures.distance import CEILING_DB, sqnr_db
from measures.tolerance import INTEGER_DB
from records.constants import constants
from records.errors import BadInput
from records.folder import Scratch
from records.tensor import Array
from validate.report.records import Culprit, Layer, Localisation
from workers.toolchain import Toolchain
from workers.worker import Worker, WorkerFailed

FOLDER = Path(__file__).parent / "readers"
SAMPLES = 4
"""Golden inputs that are run: noise is a mean over thousands of values of each."""
LIMIT_S = 300.0
JUMP_DB = 5.0
"""Fall of SQNR that is a fault: the layer has three times the noise of all before it …"""
SOUND_DB = {"float32": 90.0, "float16": 45.0}
"""… unless its SQNR is that of a sound artifact's inside: 120 to 300 dB in float32, 57 to 80 in float16, 22 and more
where integers do well (mobilenet_v3_small). The first layer's rounding is a jump, too, and no fault. What integers
must reach at the end is where it begins to matter for them."""


ONNX, SAVED_MODEL = "onnx/float32", "saved_model/float32"


@dataclass(frozen=True)
class Call:
    """The value that one call of a module returned in PyTorch."""

    module: str
    call: int
    leaf: bool
    value: Array


@dataclass(frozen=True)
class Point:
    """The correct value of one tensor of the network."""

    module: str
    after: int
    """How many calls have ended when it is computed: its own included, where it is what a module returns."""
    value: Array


@dataclass(frozen=True)
class Reference:
    """The correct values of the network."""

    calls: Sequence[Call]
    points: Mapping[str, Point]
    """Points by the name of the ONNX tensor, in graph order."""
    twins: Mapping[str, Twin]
    """TensorFlow's names for these tensors."""


def readable(folder: Path = FOLDER) -> dict[str, Path]:
    """Return the targets whose inside can be read, each with its file."""
    files = [*folder.glob("*.py"), *folder.glob("*.mjs")]
    return {file.stem: file for file in sorted(files) if file.stem not in {"__init__", "checkpoint"}}


Start = Callable[[Toolchain, Path, Path], AbstractContextManager[Worker]]
"""A function of a toolchain, a file and a log that returns the worker which runs the file."""


def in_its_own_process(chain: Toolchain, file: Path, log: Path) -> AbstractContextManager[Worker]:
    """Start a worker for one artifact only. Raises BadInput."""
    chain.build()
    return chain.start(log, [file], constants(file).get("ENVIRONMENT", {}))


def localise_all(
    run: Run,
    names: Sequence[str],
    toolchains: Mapping[str, Toolchain],
    progress: Callable[[str], None],
    start: Start = in_its_own_process,
) -> list[Localisation]:
    """Return the localisation of every one of these artifacts whose inside can be read."""
    readable_names = [name for name in names if name.partition("/")[0] in readable() and run.holds(name)]
    if not readable_names:
        return []
    progress("PyTorch, layer by layer")
    try:
        expected = reference(run, toolchains, start)
    except (WorkerFailed, BadInput, OSError, SafetensorError) as error:
        return [
            Localisation(name, "", 0, [], None, f"PyTorch's layers cannot be had: {error}") for name in readable_names
        ]
    localisations = []
    for name in readable_names:
        progress(f"{name}, layer by layer")
        localisations.append(localise(run, run.artifact(name), expected, toolchains, start))
    return localisations


def reference(run: Run, toolchains: Mapping[str, Toolchain], start: Start = in_its_own_process) -> Reference:
    """Return the values of PyTorch's modules and, between them, of ONNX's tensors. Raises WorkerFailed, BadInput."""
    job = {"path": str(run.checkpoint.folder.absolute()), "samples": SAMPLES}
    chain = toolchains["torch"]
    answer, values = _collect(FOLDER / "checkpoint.py", chain, run.log("localise", "checkpoint"), job, start)
    calls = [
        Call(layer["module"], layer["call"], layer["leaf"], values[str(index)])
        for index, layer in enumerate(answer["layers"])
    ]
    artifact = run.artifact(ONNX)
    onnx_places = artifact.places
    if not onnx_places:
        raise BadInput(
            f"the manifest of {ONNX} does not say which tensor is which module's. Convert it again: anywhere export "
            f"{run.name} --force."
        )
    try:
        log = run.log("localise", f"{ONNX}-reference")
        onnx_answer, arrays = _collect(readable()["onnx"], chain, log, _job(run, artifact, list(onnx_places)), start)
        inner = {layer["tensor"]: arrays[str(index)] for index, layer in enumerate(onnx_answer["layers"])}
    except WorkerFailed:
        inner = {}  # it is its own row that says why
    tensor_twins = run.artifact(SAVED_MODEL).twins if run.holds(SAVED_MODEL) else {}
    return Reference(calls, points(onnx_places, calls, inner), tensor_twins)


def points(onnx_places: Mapping[str, Place], calls: Sequence[Call], inner: Mapping[str, Array]) -> dict[str, Point]:
    """Return PyTorch's value of each tensor where there is one; else ONNX's, until that goes wrong itself."""
    index = {(call.module, call.call): position for position, call in enumerate(calls)}
    tensor_points: dict[str, Point] = {}
    after, sound = 0, True
    for tensor, place in onnx_places.items():
        call_index = index.get((place.module, place.call)) if place.call is not None else None
        onnx_value = inner.get(tensor)
        if call_index is not None:
            value = calls[call_index].value
            after = call_index + 1
            if onnx_value is not None and onnx_value.shape == value.shape:
                sound = sound and not sqnr_db(onnx_value.astype(np.float64), value) < SOUND_DB["float32"]
            tensor_points[tensor] = Point(place.module, after, value)
        elif sound and onnx_value is not None:
            tensor_points[tensor] = Point(place.module, after, onnx_value)
    return tensor_points


def localise(
    run: Run,
    artifact: Artifact,
    expected: Reference,
    toolchains: Mapping[str, Toolchain],
    start: Start = in_its_own_process,
) -> Localisation:
    """Return one artifact's layers and the culprit among them."""
    file, log = readable()[artifact.target], run.log("localise", artifact.name)
    is_onnx = artifact.target == "onnx"
    names = {name: Twin(name, None, "") for name in expected.points} if is_onnx else expected.twins
    if not names:
        problem = (
            f"{SAVED_MODEL} does not say which tensor is which. Convert it again: anywhere export {run.name} --force."
        )
        return Localisation(artifact.name, "", 0, [], None, problem)
    try:
        job = _job(run, artifact, list(names))
        answer, arrays = _collect(file, toolchains[constants(file)["TOOLCHAIN"]], log, job, start)
    except (WorkerFailed, BadInput, OSError, SafetensorError) as error:
        return Localisation(artifact.name, "", 0, [], None, f"{error} Log: {log}")
    layers = compare(answer["layers"], arrays, names, expected)
    if not layers:
        return Localisation(artifact.name, answer["version"], 0, [], None, "none of its tensors is a known module's")
    return Localisation(artifact.name, answer["version"], SAMPLES, layers, culprit(layers, artifact.precision), "")


def _job(run: Run, artifact: Artifact, names: Sequence[str]) -> dict[str, Any]:
    return {
        "path": str(artifact.path.absolute()),
        "manifest": {"inputs": [dataclasses.asdict(tensor) for tensor in artifact.inputs]},
        "names": names,
        "golden": str((run.checkpoint.folder / "golden.safetensors").absolute()),
        "samples": SAMPLES,
    }


def _collect(
    file: Path, chain: Toolchain, log: Path, job: Mapping[str, Any], start: Start
) -> tuple[dict[str, Any], dict[str, Array]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    with Scratch() as folder, start(chain, file, log) as worker:
        out = folder / "layers.safetensors"
        layers = worker.call(file, "collect", {**job, "out": str(out)}, log, LIMIT_S).value
        version = worker.call(file, "version", {}, log, LIMIT_S).value if file.stem != "checkpoint" else ""
        return {"layers": layers, "version": version}, load_file(out)


def compare(
    records: Sequence[Mapping[str, Any]], arrays: Mapping[str, Array], names: Mapping[str, Twin], expected: Reference
) -> list[Layer]:
    """Return a layer for every tensor that can be compared; a tensor with several names once, by the last."""
    order = {tensor: position for position, tensor in enumerate(expected.points)}
    layers: dict[str, Layer] = {}
    for index, record in enumerate(records):
        twin = names[record["tensor"]]
        point = expected.points.get(twin.tensor)
        actual = None if point is None else laid_out(arrays[str(index)], point.value, twin.stored)
        if point is None or actual is None:
            continue
        ratio = sqnr_db(actual, point.value) if np.isfinite(actual).all() else math.nan
        steps = float(np.abs(actual - point.value).max() / record["scale"]) if record["scale"] else None
        layers[twin.tensor] = Layer(point.module, [], record["operator"], record["tensor"], ratio, steps, 0.0)
    return _with_modules(
        [(expected.points[name].after, layers[name]) for name in sorted(layers, key=order.__getitem__)], expected
    )


def _with_modules(layers: Sequence[tuple[int, Layer]], expected: Reference) -> list[Layer]:
    """Return each layer with the leaf modules since the one before it, and the noise that it adds."""
    start, worst_noise, result = 0, 0.0, []
    for after, layer in layers:
        covered = [call.module for call in expected.calls[start:after] if call.leaf]
        noise = noise_of(layer)
        result.append(
            dataclasses.replace(
                layer,
                module=covered[-1] if covered else layer.module,
                modules=covered or [layer.module],
                damage=max(0.0, noise - worst_noise),
            )
        )
        start, worst_noise = max(start, after), max(worst_noise, noise)
    return result


def laid_out(actual: Array, expected: Array, stored: tuple[int, ...] | None) -> Array | None:
    """Return an array in PyTorch's layout, float64; None where the shapes do not fit."""
    value = np.transpose(actual, stored) if stored and len(stored) == actual.ndim else actual
    if value.shape != expected.shape and actual.ndim == 4 and stored is None:
        value = np.moveaxis(actual, -1, 1)
    if value.squeeze().shape == expected.squeeze().shape:  # 1×1 images, which some formats keep as rows
        value = value.reshape(expected.shape)
    return value.astype(np.float64) if value.shape == expected.shape else None


def noise_of(layer: Layer) -> float:
    """Return a layer's noise ÷ signal, as powers; infinite for values that are no numbers."""
    if layer.sqnr_db is None or math.isnan(layer.sqnr_db):
        return math.inf
    return 0.0 if layer.sqnr_db >= CEILING_DB else 10 ** (-layer.sqnr_db / 10)


def culprit(layers: Sequence[Layer], precision: str) -> Culprit | None:
    """Return the first layer whose SQNR jumps; None: noise builds up from layer to layer, or there is little.

    A layer after which all values are sound again was no fault: grappler takes the maximum before ReLU instead of after
    it.
    """
    sound, least_before = SOUND_DB.get(precision, INTEGER_DB), CEILING_DB
    ratios = [-math.inf if layer.sqnr_db is None or math.isnan(layer.sqnr_db) else layer.sqnr_db for layer in layers]
    for index, (layer, ratio) in enumerate(zip(layers, ratios, strict=True)):
        if min(ratios[index + 1 :], default=ratio) >= sound:
            continue
        if ratio < sound and least_before - ratio >= JUMP_DB:
            return Culprit(layer.module, layer.modules, layer.operator, layer.tensor, least_before, layer.sqnr_db)
        least_before = min(least_before, ratio)
    return None
