"""Finds the layer at fault: every module's output inside an artifact against PyTorch's, in graph order.

    found = localise(run, run.artifact("tflite/int8"), toolchain.find())
    found.culprit                              # features.4.block.2, CONV_2D, 41 dB before and 9 dB after

A target whose inside can be read is a file in `validate/layers/`, named as the target:

    TOOLCHAIN = "litert"                       # whose environment runs the file
    NAMES_FROM = "saved_model/float32"         # the conversion whose manifest says which tensor is which module's

    def version() -> str: ...
    def collect(path, manifest, names, golden, samples, out) -> [{tensor, operator, scale}]

`checkpoint.py` there is the reference. Each runs in a process of its own, like a runner.
"""

import dataclasses
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from export.artifact import Artifact, BadInput, Run
from export.layers import Place
from export.target import constants
from export.toolchain import Toolchain, WorkerFailed
from validate.compare import CEILING_DB, sqnr_db
from validate.report import Culprit, Layer, Localisation

FOLDER = Path(__file__).parent / "layers"
SAMPLES = 4
"""Golden inputs: noise is a mean over thousands of values of each."""
LIMIT_S = 300.0
JUMP_DB = 6.0
"""A layer with four times the noise of all before it is where the fault came in …"""
SOUND_DB = {"float32": 90.0, "float16": 45.0}
INTEGERS_SOUND_DB = 20.0
"""… unless its SQNR is that of a sound artifact's inside: 120 to 300 dB in float32, 57 to 80 in float16, 22 and more
where integers do well (mobilenet_v3_small). The first layer's rounding is a jump, too, and no fault."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Call:
    """One module's return value in PyTorch."""

    module: str
    call: int
    leaf: bool
    value: Array


def readable(folder: Path = FOLDER) -> dict[str, Path]:
    """Targets whose inside can be read, each with its file."""
    files = [*folder.glob("*.py"), *folder.glob("*.mjs")]
    return {file.stem: file for file in sorted(files) if file.stem not in {"__init__", "checkpoint"}}


def localise_all(
    run: Run,
    names: Sequence[str],
    toolchains: Mapping[str, Toolchain],
    progress: Callable[[str], None],
) -> list[Localisation]:
    """Every one of these artifacts whose inside can be read."""
    wanted = [name for name in names if name.partition("/")[0] in readable() and run.place(name).exists()]
    if not wanted:
        return []
    progress("PyTorch, layer by layer")
    calls = reference(run, toolchains["torch"])
    found = []
    for name in wanted:
        progress(f"{name}, layer by layer")
        found.append(localise(run, run.artifact(name), calls, toolchains))
    return found


def reference(run: Run, chain: Toolchain) -> list[Call]:
    """What every module returns in PyTorch, in the order of return."""
    job = {"path": str(run.checkpoint.folder.absolute()), "samples": SAMPLES}
    said, values = _collect(FOLDER / "checkpoint.py", chain, run.log("localise", "checkpoint"), job)
    return [
        Call(one["module"], one["call"], one["leaf"], values[str(index)]) for index, one in enumerate(said["layers"])
    ]


def localise(run: Run, artifact: Artifact, calls: Sequence[Call], toolchains: Mapping[str, Toolchain]) -> Localisation:
    """One artifact's layers and the culprit among them."""
    file = readable()[artifact.target]
    values = constants(file)
    log = run.log("localise", artifact.name)
    try:
        places = _places(run, values["NAMES_FROM"])
        job = {
            "path": str(artifact.path.absolute()),
            "manifest": {"inputs": [dataclasses.asdict(one) for one in artifact.inputs]},
            "names": list(places),
            "golden": str((run.checkpoint.folder / "golden.safetensors").absolute()),
            "samples": SAMPLES,
        }
        said, arrays = _collect(file, toolchains[values["TOOLCHAIN"]], log, job)
    except (WorkerFailed, BadInput, OSError, SafetensorError) as error:
        return Localisation(artifact.name, "", 0, [], None, f"{error} Log: {log}")
    layers = compare(said["layers"], arrays, places, calls)
    if not layers:
        return Localisation(artifact.name, said["version"], 0, [], None, "none of its tensors is a known module's")
    return Localisation(artifact.name, said["version"], SAMPLES, layers, culprit(layers, artifact.precision), "")


def _places(run: Run, name: str) -> dict[str, Place]:
    said = run.artifact(name).details.get("layers")
    if not said:
        raise BadInput(
            f"the manifest of {name} does not say which tensor is which module's. Convert it again: anywhere export "
            f"{run.name} --force."
        )
    return {tensor: Place(*place) for tensor, place in said.items()}


def _collect(
    file: Path, chain: Toolchain, log: Path, job: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Array]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    chain.build()
    with tempfile.TemporaryDirectory() as folder, chain.start(log, [file]) as worker:
        out = Path(folder) / "layers.safetensors"
        layers = worker.call(file, "collect", {**job, "out": str(out)}, log, LIMIT_S).value
        version = worker.call(file, "version", {}, log, LIMIT_S).value if file.stem != "checkpoint" else ""
        return {"layers": layers, "version": version}, load_file(out)


def compare(
    said: Sequence[Mapping[str, Any]], arrays: Mapping[str, Array], places: Mapping[str, Place], calls: Sequence[Call]
) -> list[Layer]:
    """Every tensor against the module's own output; those of one module once, by its last tensor."""
    known = {(one.module, one.call): index for index, one in enumerate(calls)}
    found: dict[int, Layer] = {}
    for index, one in enumerate(said):
        place = places[one["tensor"]]
        at = known.get((place.module, place.call))
        if at is None:
            continue
        expected = calls[at].value
        actual = laid_out(arrays[str(index)], expected, place.turned)
        if actual is None:
            continue
        ratio = sqnr_db(actual, expected) if np.isfinite(actual).all() else math.nan
        steps = float(np.abs(actual - expected).max() / one["scale"]) if one["scale"] else None
        found.pop(at, None)
        found[at] = Layer(place.module, [], one["operator"], one["tensor"], ratio, steps, 0.0)
    return _with_modules([(at, found[at]) for at in sorted(found)], calls)


def laid_out(actual: Array, expected: Array, turned: bool) -> Array | None:
    """In PyTorch's layout, float64; None where the shapes do not fit."""
    value = np.moveaxis(actual, -1, 1) if turned and actual.ndim == 4 else actual
    if value.shape != expected.shape and actual.ndim == 4 and not turned:
        value = np.moveaxis(actual, -1, 1)
    if value.shape != expected.shape and value.size == expected.size and 1 in expected.shape:
        value = value.reshape(expected.shape)
    return value.astype(np.float64) if value.shape == expected.shape else None


def _with_modules(layers: Sequence[tuple[int, Layer]], calls: Sequence[Call]) -> list[Layer]:
    """Each layer with the leaf modules since the one before it, and the noise that came in."""
    done, before, result = 0, 0.0, []
    for at, layer in layers:
        covered = [one.module for one in calls[done : at + 1] if one.leaf]
        noise = noise_of(layer)
        damage = max(0.0, noise - before)
        result.append(dataclasses.replace(layer, modules=covered or [layer.module], damage=damage))
        done, before = at + 1, max(before, noise)
    return result


def noise_of(layer: Layer) -> float:
    """Noise ÷ signal, as powers; infinite for values that are no numbers."""
    if layer.sqnr_db is None or math.isnan(layer.sqnr_db):
        return math.inf
    return 0.0 if layer.sqnr_db >= CEILING_DB else 10 ** (-layer.sqnr_db / 10)


def culprit(layers: Sequence[Layer], precision: str) -> Culprit | None:
    """The first layer whose noise is a jump; None: noise builds up from layer to layer, or there is little."""
    sound, least = SOUND_DB.get(precision, INTEGERS_SOUND_DB), CEILING_DB
    for layer in layers:
        now = -math.inf if layer.sqnr_db is None or math.isnan(layer.sqnr_db) else layer.sqnr_db
        if now < sound and least - now >= JUMP_DB:
            return Culprit(layer.module, layer.modules, layer.operator, layer.tensor, least, layer.sqnr_db)
        least = min(least, now)
    return None


def ranked(layers: Sequence[Layer]) -> list[Layer]:
    """By damage, the greatest first."""
    return sorted(layers, key=lambda one: -(one.damage if one.damage is not None else math.inf))
