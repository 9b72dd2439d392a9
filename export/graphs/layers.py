"""Tells which tensor inside an artifact belongs to which PyTorch module: this is how a faulty layer is found by name.

    onnx_places = of_onnx(onnx.load(path))                   # from what PyTorch's exporter writes beside every node
    twins = matched(onnx_places, onnx_values, tf_values)     # by value: onnx2tf keeps no names; the importer keeps them

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
"""Name of what the project's own module, which wraps the user's, computes before it calls it."""
ROOT = "the model"
"""Name of the user's model itself."""
ALIKE_DB = 80.0
"""SQNR, at least, of two tensors that are the same one: float32 rounding leaves 115 dB and more."""


@dataclass(frozen=True)
class Place:
    """The module in which an ONNX tensor is computed."""

    module: str
    """The deepest module it is computed in, as a path in the user's model: `features.4.block.2`."""
    call: int | None
    """Which call of the module it is the output of: 0 for the first. None: it is inside, such as a sum or a plain
    function of `forward`."""


@dataclass(frozen=True)
class Twin:
    """The ONNX tensor that has the same values as a TensorFlow tensor."""

    tensor: str
    stored: tuple[int, ...] | None
    """The axis in TensorFlow of each of ONNX's axes; None: the order is not known."""
    module: str
    """The module, as in `Place`."""


def of_onnx(model: Any) -> dict[str, Place]:
    """Return ONNX tensor → place, in graph order, for every node whose module the exporter has recorded."""
    nodes = [node for node in model.graph.node if _modules(node)[:1] == [""]]  # others are shapes and constants
    scopes = [_modules(node) for node in nodes]
    calls: dict[str, int] = {}
    tensor_places: dict[str, Place] = {}
    for index, node in enumerate(nodes):
        paths, next_paths = scopes[index], scopes[index + 1] if index + 1 < len(nodes) else []
        ended_paths = [path for path in paths if path not in next_paths]
        for path in ended_paths:
            calls[path] = calls.get(path, -1) + 1
        call = calls[ended_paths[-1]] if ended_paths else None
        module = user_path(ended_paths[-1] if ended_paths else paths[-1]) or ROOT
        if paths == [""] and not any(len(scope) > 1 for scope in scopes[:index]):  # before the user's model is called
            module, call = NORMALISATION, 0 if len(next_paths) > 1 else None
        tensor_places[node.output[0]] = Place(module, call)
    return tensor_places


def _modules(node: Any) -> list[str]:
    """Return the paths of the modules a node lies in, the outermost first; the project's own module is ''."""
    scopes = next((item.value for item in node.metadata_props if item.key == SCOPES), "")
    return ast.literal_eval(scopes)[:-1] if scopes else []


def canonical(name: str) -> str:
    """Return a TensorFlow tensor's name without the functions that were inlined around it."""
    return re.sub(r"^(?:(?:Stateful)?PartitionedCall(?:_\d+)?/)+", "", name.partition(":")[0])


def fused(name: str, names: Collection[str]) -> list[str]:
    """Return those of `names` that are part of the name of a fused TFLite tensor (`relu;add;conv`, in any order)."""
    return [part for fused_name in name.split(";") if (part := canonical(fused_name).removesuffix("_inner")) in names]


def latest(name: str, names: Sequence[str]) -> str | None:
    """Return which of `names`, in graph order, a fused TFLite tensor holds; None: none of them.

    The first part of its name is what all was fused into; if that is a product, it is the part that is last in the
    graph. None is returned for, say, a convolution with hard-swish's `+ 3` in its bias.
    """
    first = name.partition(";")[0]
    if first.endswith("/MatMul"):
        return max(fused(name, names), key=list(names).index, default=None)
    return next(iter(fused(first, names)), None)


def matched(
    tensor_places: Mapping[str, Place], reference: Mapping[str, Array], values: Mapping[str, Array]
) -> dict[str, Twin]:
    """Return names of `values` (N, …) → the tensor of `reference` that has the same values, in the order of `values`.

    The same but for rounding, and for the order of the axes of images. Only tensors that have a place are considered.
    """
    tensor_twins: dict[str, Twin] = {}
    by_size: dict[int, list[str]] = {}
    for name in tensor_places:
        if name in reference:
            by_size.setdefault(reference[name].size, []).append(name)
    for name, value in values.items():
        for candidate in by_size.get(value.size, []):
            stored = _twins(value, reference[candidate])
            if stored is not None:
                tensor_twins[name] = Twin(candidate, stored, tensor_places[candidate].module)
                break
    return tensor_twins


def _twins(value: Array, expected: Array) -> tuple[int, ...] | None:
    """Return how one stores the other: in the same order, or an image with its channels last; None: they differ."""
    orders = [tuple(range(expected.ndim)), *([(0, 3, 1, 2)] if expected.ndim == 4 else [])]
    for stored in orders:
        if value.ndim != expected.ndim:
            continue
        transposed = np.transpose(value, stored)
        if transposed.shape == expected.shape and _alike(transposed, expected):
            return stored
    return None


def _alike(value: Array, expected: Array) -> bool:
    sample = slice(None, None, max(1, value.size // 64))
    if not np.allclose(value.ravel()[sample], expected.ravel()[sample], rtol=1e-2, atol=1e-3):
        return False
    return bool(np.any(expected)) and sqnr_db(value, expected) > ALIKE_DB


def chosen(modules: Iterable[str], paths: Iterable[str]) -> list[str]:
    """Return the modules that the paths name: `features.4` is all modules within it.

    Raises ValueError for a path that names none, with the nearest ones.
    """
    modules = list(dict.fromkeys(modules))
    selected: list[str] = []
    for path in paths:
        inside = [module for module in modules if module == path or module.startswith(f"{path}.")]
        if not inside:
            near = difflib.get_close_matches(path, modules, n=3, cutoff=0.4)
            raise ValueError(f"unknown layer {path!r}. Nearest: {', '.join(near or modules[:3])}.")
        selected += inside
    return list(dict.fromkeys(selected))


def spread(names: Sequence[str], tensor_twins: Mapping[str, Twin]) -> dict[str, str]:
    """Return tensor → module, for tensors in graph order: one without a twin belongs to the next tensor that has one.

    Where a layer and a plain function (`relu` in the user's `forward`) were fused, the module is the layer's.
    """
    tensor_modules: dict[str, str] = {}
    waiting: list[str] = []
    for name in names:
        waiting.append(name)
        modules = [tensor_twins[part].module for part in fused(name, tensor_twins)]
        if modules:
            deepest = max(modules, key=lambda module: -1 if module == ROOT else module.count("."))
            tensor_modules.update(dict.fromkeys(waiting, deepest))
            waiting = []
    return tensor_modules


def beside(artifact: Path) -> dict[str, Twin]:
    """Return the twins in the manifest beside a SavedModel."""
    return twins(json.loads((artifact.parent / "manifest.json").read_text(encoding="utf-8"))["details"])


def twins(details: Mapping[str, Any]) -> dict[str, Twin]:
    """Return the twins that a SavedModel's manifest keeps."""
    return {
        name: Twin(
            layer.get("tensor", ""), None if layer.get("stored") is None else tuple(layer["stored"]), layer["module"]
        )
        for name, layer in details.get("layers", {}).items()
    }


def places(details: Mapping[str, Any]) -> dict[str, Place]:
    """Return the places that an ONNX artifact's manifest keeps."""
    return {name: Place(place["module"], place.get("call")) for name, place in details.get("layers", {}).items()}


def modules(details: Mapping[str, Any]) -> set[str]:
    """Return the modules that the manifest of an ONNX artifact or of a SavedModel names."""
    return {layer["module"] for layer in details.get("layers", {}).values()}


def record(layers: Mapping[str, Place] | Mapping[str, Twin]) -> dict[str, dict[str, Any]]:
    """Return places or twins as a manifest keeps them."""
    return {name: asdict(layer) for name, layer in layers.items()}
