"""Which tensor inside an artifact belongs to which PyTorch module: what finds a faulty layer by name.

    known = of_onnx(onnx.load(path))                 # from what PyTorch's exporter writes beside every node
    found = matched(known, onnx_values, tf_values)   # by value: onnx2tf keeps no names; the importer says them

Both go into a manifest as `details["layers"]`. Runs inside toolchains: numpy only; nodes are ONNX's.
"""

import ast
import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.graphs.operators import SCOPES, user_path
from measures.distance import sqnr_db
from records.tensor import Array

NORMALISATION = "normalisation"
"""The name of what our own module around the user's does before it calls it."""
ROOT = "the model"
"""The name of the user's model itself."""
ALIKE_DB = 80.0
"""SQNR of two tensors that are the same one, at least: float32 rounding leaves 115 dB and more."""


@dataclass(frozen=True)
class Place:
    """Where an ONNX tensor comes from."""

    module: str
    """The deepest module it is computed in, as a path in the user's model: `features.4.block.2`."""
    call: int | None
    """Which call of the module it is the output of: 0 for the first. None: it is inside, such as a sum or a plain
    function of `forward`."""


@dataclass(frozen=True)
class Twin:
    """The ONNX tensor that a TensorFlow tensor has the values of."""

    tensor: str
    stored: tuple[int, ...] | None
    """The axis in TensorFlow of each of ONNX's; None: as it comes."""
    module: str
    """As `Place` has it."""


def of_onnx(model: Any) -> dict[str, Place]:
    """ONNX tensor → place, in graph order, for every node of which the exporter says it."""
    nodes = [node for node in model.graph.node if _modules(node)[:1] == [""]]  # others are shapes and constants
    scopes = [_modules(node) for node in nodes]
    calls: dict[str, int] = {}
    found: dict[str, Place] = {}
    for index, node in enumerate(nodes):
        paths, following = scopes[index], scopes[index + 1] if index + 1 < len(nodes) else []
        ended = [path for path in paths if path not in following]
        for path in ended:
            calls[path] = calls.get(path, -1) + 1
        call = calls[ended[-1]] if ended else None
        module = user_path(ended[-1] if ended else paths[-1]) or ROOT
        if paths == [""] and not any(len(one) > 1 for one in scopes[:index]):  # before the user's model is called
            module, call = NORMALISATION, 0 if len(following) > 1 else None
        found[node.output[0]] = Place(module, call)
    return found


def _modules(node: Any) -> list[str]:
    """Paths of the modules a node lies in, the outermost first; our own one is ''."""
    said = next((item.value for item in node.metadata_props if item.key == SCOPES), "")
    return ast.literal_eval(said)[:-1] if said else []


def canonical(name: str) -> str:
    """A TensorFlow tensor's name without the functions that were inlined around it."""
    return re.sub(r"^(?:(?:Stateful)?PartitionedCall(?:_\d+)?/)+", "", name.partition(":")[0])


def fused(name: str, known: Collection[str]) -> list[str]:
    """Of the names TFLite gives to what it fused (`relu;add;conv`, in any order) those that are known."""
    return [part for one in name.split(";") if (part := canonical(one).removesuffix("_inner")) in known]


def latest(name: str, known: Sequence[str]) -> str | None:
    """Which of those the tensor is: the first, which is what all was fused into; where a product comes first, the one
    that is last in the graph.

    known: names in graph order. None: it is none of them, such as a convolution with hard-swish's `+ 3` in its bias.
    """
    first = name.partition(";")[0]
    if first.endswith("/MatMul"):
        return max(fused(name, known), key=list(known).index, default=None)
    return next(iter(fused(first, known)), None)


def matched(known: Mapping[str, Place], reference: Mapping[str, Array], values: Mapping[str, Array]) -> dict[str, Twin]:
    """Names of `values` (N, …) → the known tensor of `reference` with the same values: but for rounding, and for the
    axes of images. In the order of `values`."""
    found: dict[str, Twin] = {}
    by_size: dict[int, list[str]] = {}
    for name in known:
        if name in reference:
            by_size.setdefault(reference[name].size, []).append(name)
    for name, value in values.items():
        for candidate in by_size.get(value.size, []):
            stored = _twins(value, reference[candidate])
            if stored is not None:
                found[name] = Twin(candidate, stored, known[candidate].module)
                break
    return found


def _twins(value: Array, expected: Array) -> tuple[int, ...] | None:
    """How the one stores the other: in the same order, or an image with its channels last; None: they differ."""
    orders = [tuple(range(expected.ndim)), *([(0, 3, 1, 2)] if expected.ndim == 4 else [])]
    for stored in orders:
        if value.ndim != expected.ndim:
            continue
        seen = np.transpose(value, stored)
        if seen.shape == expected.shape and _alike(seen, expected):
            return stored
    return None


def _alike(value: Array, expected: Array) -> bool:
    sample = slice(None, None, max(1, value.size // 64))
    if not np.allclose(value.ravel()[sample], expected.ravel()[sample], rtol=1e-2, atol=1e-3):
        return False
    return bool(np.any(expected)) and sqnr_db(value, expected) > ALIKE_DB


def chosen(modules: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Those of the modules that are meant by a path, its parents' paths included: `features.4` is all within it.

    Raises ValueError for a path that is none, with the nearest.
    """
    modules = list(dict.fromkeys(modules))
    found: list[str] = []
    for path in wanted:
        inside = [module for module in modules if module == path or module.startswith(f"{path}.")]
        if not inside:
            near = difflib.get_close_matches(path, modules, n=3, cutoff=0.4)
            raise ValueError(f"unknown layer {path!r}. Nearest: {', '.join(near or modules[:3])}.")
        found += inside
    return list(dict.fromkeys(found))


def spread(names: Sequence[str], known: Mapping[str, Twin]) -> dict[str, str]:
    """Tensor → module, for tensors in graph order: what is not known belongs to the next that is.

    Of a layer and the plain function that was fused into it (`relu` in somebody's `forward`), the layer.
    """
    found: dict[str, str] = {}
    waiting: list[str] = []
    for name in names:
        waiting.append(name)
        modules = [known[part].module for part in fused(name, known)]
        if modules:
            deepest = max(modules, key=lambda module: -1 if module == ROOT else module.count("."))
            found.update(dict.fromkeys(waiting, deepest))
            waiting = []
    return found


def beside(artifact: Path) -> dict[str, Twin]:
    """What the manifest beside a SavedModel says."""
    return twins(json.loads((artifact.parent / "manifest.json").read_text())["details"])


def twins(details: Mapping[str, Any]) -> dict[str, Twin]:
    """From a SavedModel's manifest."""
    return {
        name: Twin(one["tensor"], None if one.get("stored") is None else tuple(one["stored"]), one["module"])
        for name, one in details.get("layers", {}).items()
    }


def places(details: Mapping[str, Any]) -> dict[str, Place]:
    """From an ONNX artifact's manifest."""
    return {name: Place(**place) for name, place in details.get("layers", {}).items()}


def modules(details: Mapping[str, Any]) -> set[str]:
    """From either's."""
    return {one["module"] for one in details.get("layers", {}).values()}


def record(found: Mapping[str, Place] | Mapping[str, Twin]) -> dict[str, dict[str, Any]]:
    """As a manifest keeps it."""
    return {name: asdict(one) for name, one in found.items()}
