"""TensorFlow.js models taken apart: constants out of their shards and in again, and the operators of the graph."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from records.tensor import Array

TOOLCHAIN = "torch"


@contextmanager
def edited(path: str) -> Iterator[Any]:
    """model.json, which is written back."""
    model = json.loads(Path(path).read_text())
    yield model
    Path(path).write_text(json.dumps(model))


def _nodes(model: Any) -> list[Any]:
    return model["modelTopology"]["node"]


def _shards(path: str, group: Any) -> list[Path]:
    return [Path(path).with_name(name) for name in group["paths"]]


def _stored(entry: Any) -> Any:
    return np.dtype(entry.get("quantization", entry)["dtype"])


def _constants(path: str, group: Any) -> dict[str, Array]:
    content, at, found = b"".join(file.read_bytes() for file in _shards(path, group)), 0, {}
    for entry in group["weights"]:
        kind = _stored(entry)
        count = int(np.prod(entry["shape"], dtype=int))
        found[entry["name"]] = np.frombuffer(content, kind, count, at).reshape(entry["shape"])
        at += count * kind.itemsize
    return found


def read(path: str, out: str) -> None:
    """Every constant as it is stored; scale and least value of those of eight bits as `<name>/steps`."""
    (group,) = json.loads(Path(path).read_text())["weightsManifest"]
    found = _constants(path, group)
    for entry in group["weights"]:
        if "scale" in entry.get("quantization", {}):
            values = entry["quantization"]
            found[f"{entry['name']}/steps"] = np.array([values["scale"], values["min"]])
    save_file({name: np.asarray(value, order="C") for name, value in found.items()}, out)


def write(path: str, changed: str) -> None:
    """Constants by the names of `read`; all shards into the first, the others empty."""
    values = load_file(changed)
    with edited(path) as model:
        (group,) = model["weightsManifest"]
        found = _constants(path, group)
        for entry in group["weights"]:
            if (steps := values.get(f"{entry['name']}/steps")) is not None:
                entry["quantization"] |= {"scale": float(steps[0]), "min": float(steps[1])}
        content = b"".join(values.get(name, value).tobytes() for name, value in found.items())
        first, *others = _shards(path, group)
        first.write_bytes(content)
        for file in others:
            file.write_bytes(b"")


def rename(path: str, kind: str, to: str) -> None:
    """The first operator of a kind becomes another one."""
    with edited(path) as model:
        next(node for node in _nodes(model) if node["op"] == kind)["op"] = to


def resize(path: str, align_corners: bool) -> None:
    """Where bilinear resizing takes its pixels."""
    with edited(path) as model:
        node = next(node for node in _nodes(model) if node["op"] == "ResizeBilinear")
        node["attr"] |= {"align_corners": {"b": align_corners}, "half_pixel_centers": {"b": False}}


def activation(path: str, old: str, new: str) -> None:
    """What is fused into the first operator that has the old activation."""
    before, after = (base64.b64encode(name.encode()).decode() for name in (old, new))
    with edited(path) as model:
        for node in _nodes(model):
            fused = node.get("attr", {}).get("fused_ops", {}).get("list", {}).get("s", [])
            if before in fused:
                fused[fused.index(before)] = after
                return
        raise ValueError(f"nothing has {old}")


def turn_products(path: str) -> None:
    """Matrix products whose second factor is stored transposed, as PyTorch has it: the same numbers."""
    with edited(path) as model:
        (group,) = model["weightsManifest"]
        found = _constants(path, group)
        entries = {entry["name"]: entry for entry in group["weights"]}
        for node in _nodes(model):
            if node["op"] == "_FusedMatMul":
                name = node["input"][1]
                found[name] = np.ascontiguousarray(found[name].T)
                entries[name]["shape"] = list(found[name].shape)
                node["attr"]["transpose_b"] = {"b": True}
        _shards(path, group)[0].write_bytes(b"".join(value.tobytes() for value in found.values()))


def swap_shards(path: str) -> None:
    """Two halves, named in the wrong order."""
    with edited(path) as model:
        (group,) = model["weightsManifest"]
        (file,) = _shards(path, group)
        content = file.read_bytes()
        half = len(content) // 8 * 4
        group["paths"] = ["second.bin", file.name]
        file.write_bytes(content[:half])
        file.with_name("second.bin").write_bytes(content[half:])


def metadata(path: str, **values: Any) -> None:
    """What the model says of itself; None: it says nothing any more."""
    with edited(path) as model:
        known = model["userDefinedMetadata"] | values
        model["userDefinedMetadata"] = {key: value for key, value in known.items() if value is not None}


def fix_batch(path: str) -> None:
    """The signature says that the model takes one image."""
    with edited(path) as model:
        model["signature"]["inputs"]["image"]["tensorShape"]["dim"][0]["size"] = "1"


def from_elsewhere(path: str) -> None:
    """Weights that lie beside the artifact, where nobody hashes them."""
    with edited(path) as model:
        (group,) = model["weightsManifest"]
        (file,) = _shards(path, group)
        file.rename(file.parents[1] / ".weights.bin")
        group["paths"] = ["../.weights.bin"]
