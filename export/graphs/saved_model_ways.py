"""Makes a SavedModel from ONNX by the first way whose result is right: our importer, then onnx2tf's ways.

    choice = first(Case.of(Path("model.onnx"), opened), Path("1"))
    choice.way          # "importer"

Right is what gives PyTorch's or ONNX Runtime's outputs, one image at a time and several.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import onnx

from export import self_check
from export.graphs import affine, by_onnx2tf, layers
from export.graphs.importer import graph as importer
from export.graphs.importer.node import Refused
from export.graphs.operators import Inexpressible
from export.graphs.saved_model_case import Case, measured
from export.graphs.saved_model_file import save, specs
from export.graphs.saved_model_layers import find_layers, output_layers
from export.graphs.tensorflow import fixed, freeze, nhwc
from pipeline.checkpoint import Checkpoint
from records.errors import raise_if_full
from records.tensor import Tensor
from workers import memory

IMPORTER = "importer"
Way: TypeAlias = Callable[[Case, Path], tuple[bool, dict[str, layers.Twin]]]
"""Writes a SavedModel; returns whether it computes a batch image by image, and its layers; empty: it does not say."""


@dataclass(frozen=True)
class Choice:
    """The way whose SavedModel gives what ONNX does."""

    way: str
    ratios: dict[str, float]
    """SQNR in dB against each of the references."""
    single: bool
    """True if a batch is computed image by image."""
    layers: dict[str, layers.Twin]
    """Empty: the way does not say."""
    tried: dict[str, str]
    """Ways that were tried before → why each is not the one."""


def first(case: Case, place: Path) -> Choice:
    """Return the first way whose result is right, which is left at `place`. Raises Inexpressible, ValueError."""
    refusals: list[Refused] = []
    tried: dict[str, str] = {}
    for name, way in {IMPORTER: by_importer, **{way.__name__: by_other(way) for way in by_onnx2tf.WAYS}}.items():
        try:
            single, twins = way(case, place)
            ratios = measured(case, place)
        except Exception as error:  # noqa: BLE001  # onnx2tf raises whatever its rules run into
            raise_if_full(error)
            print(f"{name}: {type(error).__name__}: {error}")
            refusals += [error] if isinstance(error, Refused) else []
            tried[name] = str(error).partition("\n")[0] if name == IMPORTER else _sentence(error)
            continue
        finally:
            memory.release()
        if max(ratios.values()) >= case.allowed_db:
            return Choice(name, ratios, single, twins, tried)
        distances = ", ".join(f"{ratio:.1f} dB against {reference}" for reference, ratio in ratios.items())
        tried[name] = f"SQNR {distances} ({case.allowed_db:.0f} needed)"
    others = "; ".join(f"{name}: {why}" for name, why in tried.items() if name != IMPORTER)
    if refusals:
        raise Inexpressible(f"{refusals[0]}. onnx2tf was tried, too: {others}.")
    raise ValueError(f"no way gives this model: {'; '.join(f'{name}: {why}' for name, why in tried.items())}")


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def told(case: Case, choice: Choice, place: Path, opened: Checkpoint) -> dict[str, Any]:
    """Return what converters ask of the manifest beside a SavedModel: its layers, and golden's shapes of one sample."""
    shapes = {name: values.shape for name, values in case.golden.items()}
    return {
        "layers": layers.record(choice.layers or find_layers(case, place, opened)),
        "shapes": {tensor.name: list(nhwc(fixed(tensor, shapes[tensor.name])).shape[1:]) for tensor in opened.inputs},
    }


def by_importer(case: Case, place: Path) -> tuple[bool, dict[str, layers.Twin]]:
    """Write what the project's own importer makes of the model: operator by operator, as ONNX means them."""
    images = [tensor.name for tensor in (*case.inputs, *case.outputs) if tensor.layout == "NHWC"]
    model = onnx.load(case.path)
    affine.merge(model, {tensor.name: len(tensor.shape) for tensor in case.inputs if tensor.layout == "NHWC"})
    network = importer.read(model, images)
    del model  # which holds all weights once more
    names = [tensor.name for tensor in case.inputs]

    def call(*values: Any) -> list[Any]:
        outputs = network(**dict(zip(names, values, strict=True)))
        return [outputs[tensor.name] for tensor in case.outputs]

    frozen = freeze(call, specs(case.inputs, case.batch))
    network.constants.clear()  # the graph has them
    save(frozen, case.batch, case.inputs, case.outputs, place)
    twins = {
        name: layers.Twin(twin.tensor, twin.stored, case.places[twin.tensor].module)
        for name, twin in network.twins.items()
        if twin.tensor in case.places
    }
    return case.batch is not None, twins | output_layers(case)


def by_other(way: Callable[[onnx.ModelProto, tuple[Tensor, ...]], by_onnx2tf.Network]) -> Way:
    """Return what writes the model by one of onnx2tf's ways."""

    def make(case: Case, place: Path) -> tuple[bool, dict[str, layers.Twin]]:
        model = onnx.load(case.path)
        by_onnx2tf.check_operators(model)
        network = way(by_onnx2tf.prepare(model), case.inputs)
        memory.release()
        frozen = freeze(network.call, specs(case.inputs, network.batch))
        save(frozen, network.batch, case.inputs, case.outputs, place)
        return network.batch is not None, {}

    return make


def opinion(case: Case, place: Path) -> tuple[dict[str, Any], list[str]]:
    """Return what onnx2tf makes of the model, and a finding if none of its ways is right.

    Each way → its SQNR in dB against the nearer reference, or why there is none. `place` is empty afterwards.
    """
    verdicts: dict[str, Any] = {}
    for way in by_onnx2tf.WAYS:
        try:
            by_other(way)(case, place)
            verdicts[way.__name__] = self_check.rounded(max(measured(case, place).values()))
        except Exception as error:  # noqa: BLE001  # onnx2tf raises whatever its rules run into
            raise_if_full(error)
            print(f"{way.__name__}: {type(error).__name__}: {error}")
            verdicts[way.__name__] = _sentence(error)
        finally:
            memory.release()
            shutil.rmtree(place, ignore_errors=True)
        verdict = verdicts[way.__name__]
        if isinstance(verdict, float) and verdict >= case.allowed_db:
            return verdicts, []
    return verdicts, ["second opinion: no way through onnx2tf gives what the importer and ONNX Runtime agree on"]
