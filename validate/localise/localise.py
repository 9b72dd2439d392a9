"""Finds the layer at fault: every tensor inside an artifact against PyTorch's, in graph order.

    found = localise_all(run, ["tflite/int8"], registry.find(), print)
    found[0].culprit                           # features.4.block.2, CONV_2D, 41 dB before and 9 dB after

What modules return is PyTorch's own. What lies between them (sums, plain functions of `forward`) is the ONNX float32
artifact's, as far as that agrees with PyTorch.

A target whose inside can be read is a file in `validate/localise/readers/`, named as the target:

    TOOLCHAIN = "litert"                       # whose environment runs the file

    def version() -> str: ...
    def collect(path, manifest, names, golden, samples, out) -> [{tensor, operator, scale}]

`checkpoint.py` there gives PyTorch's. Each runs in a process of its own, like a runner.
"""

import dataclasses
import math
import tempfile
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
from export.target import constants
from measures.distance import CEILING_DB, sqnr_db
from measures.tolerance import INTEGER_DB
from records.errors import BadInput
from records.tensor import Array
from validate.report.records import Culprit, Layer, Localisation
from workers.toolchain import Toolchain
from workers.worker import Worker, WorkerFailed

FOLDER = Path(__file__).parent / "readers"
SAMPLES = 4
"""Golden inputs: noise is a mean over thousands of values of each."""
LIMIT_S = 300.0
JUMP_DB = 5.0
"""A layer with three times the noise of all before it is where the fault came in …"""
SOUND_DB = {"float32": 90.0, "float16": 45.0}
"""… unless its SQNR is that of a sound artifact's inside: 120 to 300 dB in float32, 57 to 80 in float16, 22 and more
where integers do well (mobilenet_v3_small). The first layer's rounding is a jump, too, and no fault. What integers
must reach at the end is where it begins to matter for them."""


ONNX, SAVED_MODEL = "onnx/float32", "saved_model/float32"


@dataclass(frozen=True)
class Call:
    """One module's return value in PyTorch."""

    module: str
    call: int
    leaf: bool
    value: Array


@dataclass(frozen=True)
class Point:
    """One tensor of the network, by its ONNX name, as it should be."""

    module: str
    after: int
    """How many of the calls have ended when it is there: its own included, where it is what a module returns."""
    value: Array


@dataclass(frozen=True)
class Reference:
    """The network as it should be."""

    calls: Sequence[Call]
    points: Mapping[str, Point]
    """By the name of the ONNX tensor, in graph order."""
    twins: Mapping[str, Twin]
    """TensorFlow's names for them."""


def readable(folder: Path = FOLDER) -> dict[str, Path]:
    """Targets whose inside can be read, each with its file."""
    files = [*folder.glob("*.py"), *folder.glob("*.mjs")]
    return {file.stem: file for file in sorted(files) if file.stem not in {"__init__", "checkpoint"}}


Start = Callable[[Toolchain, Path, Path], AbstractContextManager[Worker]]
"""Of a toolchain, a file and a log: the worker that runs the file."""


def in_its_own_process(chain: Toolchain, file: Path, log: Path) -> AbstractContextManager[Worker]:
    """A worker for one artifact only. Raises BadInput."""
    chain.build()
    return chain.start(log, [file])


def localise_all(
    run: Run,
    names: Sequence[str],
    toolchains: Mapping[str, Toolchain],
    progress: Callable[[str], None],
    start: Start = in_its_own_process,
) -> list[Localisation]:
    """Every one of these artifacts whose inside can be read."""
    wanted = [name for name in names if name.partition("/")[0] in readable() and run.holds(name)]
    if not wanted:
        return []
    progress("PyTorch, layer by layer")
    try:
        known = reference(run, toolchains, start)
    except (WorkerFailed, BadInput, OSError, SafetensorError) as error:
        return [Localisation(name, "", 0, [], None, f"PyTorch's layers cannot be had: {error}") for name in wanted]
    found = []
    for name in wanted:
        progress(f"{name}, layer by layer")
        found.append(localise(run, run.artifact(name), known, toolchains, start))
    return found


def reference(run: Run, toolchains: Mapping[str, Toolchain], start: Start = in_its_own_process) -> Reference:
    """PyTorch's modules; between them, ONNX's tensors. Raises WorkerFailed, BadInput."""
    job = {"path": str(run.checkpoint.folder.absolute()), "samples": SAMPLES}
    chain = toolchains["torch"]
    said, values = _collect(FOLDER / "checkpoint.py", chain, run.log("localise", "checkpoint"), job, start)
    calls = [
        Call(one["module"], one["call"], one["leaf"], values[str(index)]) for index, one in enumerate(said["layers"])
    ]
    artifact = run.artifact(ONNX)
    known = artifact.places
    if not known:
        raise BadInput(
            f"the manifest of {ONNX} does not say which tensor is which module's. Convert it again: anywhere export "
            f"{run.name} --force."
        )
    try:
        log = run.log("localise", f"{ONNX}-reference")
        read, arrays = _collect(readable()["onnx"], chain, log, _job(run, artifact, list(known)), start)
        inner = {one["tensor"]: arrays[str(index)] for index, one in enumerate(read["layers"])}
    except WorkerFailed:
        inner = {}  # it is its own row that says why
    twins_ = run.artifact(SAVED_MODEL).twins if run.holds(SAVED_MODEL) else {}
    return Reference(calls, points(known, calls, inner), twins_)


def points(known: Mapping[str, Place], calls: Sequence[Call], inner: Mapping[str, Array]) -> dict[str, Point]:
    """PyTorch's value where there is one; else ONNX's, up to where that goes wrong itself."""
    index = {(one.module, one.call): at for at, one in enumerate(calls)}
    found: dict[str, Point] = {}
    after, sound = 0, True
    for tensor, place in known.items():
        at = index.get((place.module, place.call)) if place.call is not None else None
        theirs = inner.get(tensor)
        if at is not None:
            value = calls[at].value
            after = at + 1
            if theirs is not None and theirs.shape == value.shape:
                sound = sound and not sqnr_db(theirs.astype(np.float64), value) < SOUND_DB["float32"]
            found[tensor] = Point(place.module, after, value)
        elif sound and theirs is not None:
            found[tensor] = Point(place.module, after, theirs)
    return found


def localise(
    run: Run,
    artifact: Artifact,
    known: Reference,
    toolchains: Mapping[str, Toolchain],
    start: Start = in_its_own_process,
) -> Localisation:
    """One artifact's layers and the culprit among them."""
    file, log = readable()[artifact.target], run.log("localise", artifact.name)
    own = artifact.target == "onnx"
    names = {name: Twin(name, None, "") for name in known.points} if own else known.twins
    if not names:
        problem = (
            f"{SAVED_MODEL} does not say which tensor is which. Convert it again: anywhere export {run.name} --force."
        )
        return Localisation(artifact.name, "", 0, [], None, problem)
    try:
        job = _job(run, artifact, list(names))
        said, arrays = _collect(file, toolchains[constants(file)["TOOLCHAIN"]], log, job, start)
    except (WorkerFailed, BadInput, OSError, SafetensorError) as error:
        return Localisation(artifact.name, "", 0, [], None, f"{error} Log: {log}")
    layers = compare(said["layers"], arrays, names, known)
    if not layers:
        return Localisation(artifact.name, said["version"], 0, [], None, "none of its tensors is a known module's")
    return Localisation(artifact.name, said["version"], SAMPLES, layers, culprit(layers, artifact.precision), "")


def _job(run: Run, artifact: Artifact, names: Sequence[str]) -> dict[str, Any]:
    return {
        "path": str(artifact.path.absolute()),
        "manifest": {"inputs": [dataclasses.asdict(one) for one in artifact.inputs]},
        "names": names,
        "golden": str((run.checkpoint.folder / "golden.safetensors").absolute()),
        "samples": SAMPLES,
    }


def _collect(
    file: Path, chain: Toolchain, log: Path, job: Mapping[str, Any], start: Start
) -> tuple[dict[str, Any], dict[str, Array]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    with tempfile.TemporaryDirectory() as folder, start(chain, file, log) as worker:
        out = Path(folder) / "layers.safetensors"
        layers = worker.call(file, "collect", {**job, "out": str(out)}, log, LIMIT_S).value
        version = worker.call(file, "version", {}, log, LIMIT_S).value if file.stem != "checkpoint" else ""
        return {"layers": layers, "version": version}, load_file(out)


def compare(
    said: Sequence[Mapping[str, Any]], arrays: Mapping[str, Array], names: Mapping[str, Twin], known: Reference
) -> list[Layer]:
    """Every tensor against the network's own; one that has several names once, by the last."""
    order = {tensor: place for place, tensor in enumerate(known.points)}
    found: dict[str, Layer] = {}
    for index, one in enumerate(said):
        twin = names[one["tensor"]]
        point = known.points.get(twin.tensor)
        actual = None if point is None else laid_out(arrays[str(index)], point.value, twin.stored)
        if point is None or actual is None:
            continue
        ratio = sqnr_db(actual, point.value) if np.isfinite(actual).all() else math.nan
        steps = float(np.abs(actual - point.value).max() / one["scale"]) if one["scale"] else None
        found[twin.tensor] = Layer(point.module, [], one["operator"], one["tensor"], ratio, steps, 0.0)
    return _with_modules(
        [(known.points[name].after, found[name]) for name in sorted(found, key=order.__getitem__)], known
    )


def _with_modules(layers: Sequence[tuple[int, Layer]], known: Reference) -> list[Layer]:
    """Each layer with the leaf modules since the one before it, and the noise that came in."""
    done, before, result = 0, 0.0, []
    for after, layer in layers:
        covered = [one.module for one in known.calls[done:after] if one.leaf]
        noise = noise_of(layer)
        result.append(
            dataclasses.replace(
                layer,
                module=covered[-1] if covered else layer.module,
                modules=covered or [layer.module],
                damage=max(0.0, noise - before),
            )
        )
        done, before = max(done, after), max(before, noise)
    return result


def laid_out(actual: Array, expected: Array, stored: tuple[int, ...] | None) -> Array | None:
    """In PyTorch's layout, float64; None where the shapes do not fit."""
    value = np.transpose(actual, stored) if stored and len(stored) == actual.ndim else actual
    if value.shape != expected.shape and actual.ndim == 4 and stored is None:
        value = np.moveaxis(actual, -1, 1)
    if value.squeeze().shape == expected.squeeze().shape:  # 1×1 images, which some formats keep as rows
        value = value.reshape(expected.shape)
    return value.astype(np.float64) if value.shape == expected.shape else None


def noise_of(layer: Layer) -> float:
    """Noise ÷ signal, as powers; infinite for values that are no numbers."""
    if layer.sqnr_db is None or math.isnan(layer.sqnr_db):
        return math.inf
    return 0.0 if layer.sqnr_db >= CEILING_DB else 10 ** (-layer.sqnr_db / 10)


def culprit(layers: Sequence[Layer], precision: str) -> Culprit | None:
    """The first layer whose noise is a jump; None: noise builds up from layer to layer, or there is little.

    What is sound again in all that follows was no fault: grappler takes the maximum before ReLU instead of after it.
    """
    sound, least = SOUND_DB.get(precision, INTEGER_DB), CEILING_DB
    ratios = [-math.inf if one.sqnr_db is None or math.isnan(one.sqnr_db) else one.sqnr_db for one in layers]
    for index, (layer, now) in enumerate(zip(layers, ratios, strict=True)):
        if min(ratios[index + 1 :], default=now) >= sound:
            continue
        if now < sound and least - now >= JUMP_DB:
            return Culprit(layer.module, layer.modules, layer.operator, layer.tensor, least, layer.sqnr_db)
        least = min(least, now)
    return None
