"""Which tensor inside an artifact is which PyTorch module's output: what finds a faulty layer by name.

    known = of_onnx(onnx.load(path))                 # from what PyTorch's exporter writes beside every node
    found = matched(known, onnx_values, tf_values)   # onnx2tf keeps no names, so TensorFlow's are found by value

Both go into a manifest as `details["layers"]`. Runs inside toolchains: numpy only; nodes are ONNX's.
"""

import ast
import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.check import sqnr
from export.operators import SCOPES, user_path

Array = np.ndarray[Any, Any]

NORMALISATION = "normalisation"
"""The name of what our own module around the user's does before it calls it."""
ALIKE_DB = 80.0
"""SQNR of two tensors that are the same one: float32 rounding leaves 115 dB and more, different tensors below 40."""


@dataclass(frozen=True)
class Place:
    """One call of one module."""

    module: str
    """Path in the user's model, such as `features.4.block.2`."""
    call: int
    """0 for the first call: a module may be called more than once."""
    turned: bool = False
    """Whether the tensor is NHWC where PyTorch's is NCHW."""


def of_onnx(model: Any) -> dict[str, Place]:
    """Tensor → place, in graph order, for every node that gives what some module returns; the deepest such module."""
    nodes = [node for node in model.graph.node if _modules(node)[:1] == [""]]  # others are shapes and constants
    scopes = [_modules(node) for node in nodes]
    calls: dict[str, int] = {}
    found: dict[str, Place] = {}
    for index, node in enumerate(nodes):
        following = scopes[index + 1] if index + 1 < len(nodes) else []
        ended = [path for path in scopes[index] if path not in following]
        for path in ended:
            calls[path] = calls.get(path, -1) + 1
        if ended:
            found[node.output[0]] = Place(_label(ended[-1]), calls[ended[-1]])
        elif scopes[index] == [""] and "" not in calls and following != [""]:
            calls[""] = 0  # what comes before the user's model is called, and is left
            found[node.output[0]] = Place(NORMALISATION, 0)
    return found


def whole(model: Any) -> dict[str, str]:
    """Tensor → the deepest module whose node gives it, for every node: also what is inside a module."""
    found = {}
    for node in model.graph.node:
        if paths := _modules(node):
            found.update(dict.fromkeys(node.output, _label(paths[-1]) if paths[-1] else NORMALISATION))
    return found


def _modules(node: Any) -> list[str]:
    """Paths of the modules a node lies in, the outermost first; our own one is ''."""
    said = next((item.value for item in node.metadata_props if item.key == SCOPES), "")
    return ast.literal_eval(said)[:-1] if said else []


def _label(path: str) -> str:
    return user_path(path) or "the model"


def canonical(name: str) -> str:
    """A TensorFlow or TFLite tensor's name without the functions that were inlined around it and what was fused."""
    first = name.partition(";")[0].partition(":")[0]
    return re.sub(r"^(?:(?:Stateful)?PartitionedCall(?:_\d+)?/)+", "", first)


def matched(
    known: Mapping[str, Place], reference: Mapping[str, Array], values: Mapping[str, Array]
) -> dict[str, Place]:
    """Names of `values` (N, …) that are a known tensor of `reference`, with its place: equal but for rounding, and for
    the axes of images. In the order of `values`."""
    found: dict[str, Place] = {}
    by_size: dict[int, list[str]] = {}
    for name in known:
        if name in reference:
            by_size.setdefault(reference[name].size, []).append(name)
    for name, value in values.items():
        for candidate in by_size.get(value.size, []):
            expected, place = reference[candidate], known[candidate]
            for turned in (False, True):
                seen = np.moveaxis(expected, 1, -1) if turned and expected.ndim == 4 else expected
                if (turned and expected.ndim != 4) or seen.shape != value.shape or not _alike(value, seen):
                    continue
                found[name] = Place(place.module, place.call, turned)
                break
            if name in found:
                break
    return found


def _alike(value: Array, expected: Array) -> bool:
    sample = slice(None, None, max(1, value.size // 64))
    if not np.allclose(value.ravel()[sample], expected.ravel()[sample], rtol=1e-2, atol=1e-3):
        return False
    return bool(np.any(expected)) and sqnr(value, expected) > ALIKE_DB


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


def spread(names: Sequence[str], known: Mapping[str, Place]) -> dict[str, str]:
    """Tensor → module, for tensors in graph order: what no module returns belongs to the next that one does."""
    found: dict[str, str] = {}
    waiting: list[str] = []
    for name in names:
        waiting.append(name)
        place = known.get(canonical(name))
        if place:
            found.update(dict.fromkeys(waiting, place.module))
            waiting = []
    return found


def beside(artifact: Path) -> dict[str, Place]:
    """What the manifest beside an artifact says."""
    said = json.loads((artifact.parent / "manifest.json").read_text())["details"].get("layers", {})
    return {name: Place(*place) for name, place in said.items()}


def record(places: Mapping[str, Place]) -> dict[str, list[Any]]:
    """As a manifest keeps it."""
    return {name: [one.module, one.call, one.turned] for name, one in places.items()}
