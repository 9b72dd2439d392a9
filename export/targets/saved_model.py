"""SavedModel, for TensorFlow Serving and plain TensorFlow: a frozen graph, any batch size, NHWC.

The importer writes it from ONNX, right by construction; where it has not an operator, onnx2tf is tried. Either way its
outputs are compared with PyTorch's and with ONNX Runtime's, one image at a time and several.
"""

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export import self_check
from export.graphs import affine, by_onnx2tf, layers
from export.graphs.importer import graph as importer
from export.graphs.importer.node import Refused
from export.graphs.operators import Inexpressible, first_modules
from export.graphs.tensorflow import SERVING, SINGLE, by_name, freeze, inner, load_graph, nhwc
from pipeline.checkpoint import Checkpoint
from records.tensor import Arrays, Tensor
from workers import memory

TOOLCHAIN = "tensorflow"
SOURCES = {"float32": "onnx/float32"}
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""oneDNN would have grappler fuse operators that no other runtime knows; onnx2tf is written for Keras 2."""
OPTIONS = ["second_opinion"]

VERSION = "1"
"""TensorFlow Serving loads the folder with the greatest number."""
BATCHES = (1, 5, 8)
"""Samples of one call of a check: one, an odd number, and little memory at any image size."""
IMPORTER = "importer"


def convert(source: Path, checkpoint: Path, precision: str, out: Path, second_opinion: bool = False) -> dict[str, Any]:
    """onnx/float32's file → `1/saved_model.pb` with the signature `serving_default`.

    second_opinion: also convert by onnx2tf, and say how far the two lie apart.
    """
    opened = Checkpoint.open(Path(checkpoint))
    self_check.fits(opened, "a SavedModel with frozen weights")
    case = Case.of(Path(source), opened)
    place, tried = Path(out) / VERSION, dict[str, str]()
    found = _first(case, place, tried)
    details: dict[str, Any] = {
        "way": found.way,
        "sqnr_db": {name: self_check.rounded(ratio) for name, ratio in found.ratios.items()},
        "samples": self_check.SAMPLES,
        "modules": case.modules,
        "layers": layers.record(found.layers or find_layers(case, place, opened)),
        "transposes": transposes(place),
    }
    findings = [by_onnx2tf.ONE_BY_ONE] if found.single else []
    if tried:
        details["tried"] = tried
        findings.append(f"made by onnx2tf ({found.way}): {next(iter(tried.values()))}")
    if second_opinion and found.way == IMPORTER:
        details["second_opinion"], finding = opinion(case, Path(out) / "second")
        findings += finding
    return {
        "entry": VERSION,
        "findings": findings,
        "details": details,
        "inputs": [asdict(tensor) for tensor in case.inputs],
        "outputs": [asdict(tensor) for tensor in case.outputs],
    }


@dataclass(frozen=True)
class Case:
    """A model and what it must give."""

    path: Path
    modules: dict[str, str]
    """Operator → the first module of PyTorch's that it comes from."""
    known: dict[str, layers.Place]
    """ONNX's tensors, and which modules they belong to."""
    inputs: tuple[Tensor, ...]
    """As TensorFlow has them."""
    outputs: tuple[Tensor, ...]
    golden: Arrays
    """The first golden inputs, as the checkpoint has them."""
    references: dict[str, Arrays]
    """What gives outputs of those → outputs: PyTorch, and ONNX Runtime. One of them is to be met: either may be the one
    that sums in another order where a network is hard on float32."""
    allowed_db: float
    """SQNR, at least."""

    @classmethod
    def of(cls, source: Path, opened: Checkpoint) -> "Case":
        """Of an artifact onnx/float32 and its checkpoint."""
        golden, known, model = golden_inputs(opened), opened.golden(), onnx.load(source)
        return cls(
            source,
            first_modules(model),
            layers.of_onnx(model),
            tuple(map(nhwc, opened.inputs)),
            tuple(map(nhwc, opened.outputs)),
            golden,
            {
                "pytorch": {one.name: known.outputs[one.name][: self_check.SAMPLES] for one in opened.outputs},
                "onnx": run_onnx(source, golden),
            },
            self_check.same_db(opened),
        )


@dataclass(frozen=True)
class Made:
    """A SavedModel that gives what ONNX does."""

    way: str
    ratios: dict[str, float]
    """Against each of the references."""
    single: bool
    """Whether a batch is computed image by image."""
    layers: dict[str, layers.Twin]
    """Empty: the way does not say."""


def _first(case: Case, place: Path, tried: dict[str, str]) -> Made:
    """The first way whose result is right; why not the others goes to `tried`. Raises Inexpressible, ValueError."""
    refusals: list[Refused] = []
    for name, way in {IMPORTER: by_importer, **{way.__name__: by_other(way) for way in by_onnx2tf.WAYS}}.items():
        try:
            single, found = way(case, place)
            ratios = measured(case, place)
        except Exception as error:  # noqa: BLE001  # onnx2tf raises whatever its rules run into
            print(f"{name}: {type(error).__name__}: {error}")
            refusals += [error] if isinstance(error, Refused) else []
            tried[name] = str(error).partition("\n")[0] if name == IMPORTER else _short(error)
            continue
        finally:
            memory.release()
        if max(ratios.values()) >= case.allowed_db:
            return Made(name, ratios, single, found)
        said = ", ".join(f"{ratio:.1f} dB against {other}" for other, ratio in ratios.items())
        tried[name] = f"SQNR {said} ({case.allowed_db:.0f} needed)"
    others = "; ".join(f"{name}: {why}" for name, why in tried.items() if name != IMPORTER)
    if refusals:
        raise Inexpressible(f"{refusals[0]}. onnx2tf was tried, too: {others}.")
    raise ValueError(f"no way gives this model: {'; '.join(f'{name}: {why}' for name, why in tried.items())}")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def by_importer(case: Case, place: Path) -> tuple[bool, dict[str, layers.Twin]]:
    """Ours: operator by operator, as ONNX means them."""
    images = [tensor.name for tensor in (*case.inputs, *case.outputs) if tensor.layout == "NHWC"]
    model = onnx.load(case.path)
    affine.merge(model, {tensor.name: len(tensor.shape) for tensor in case.inputs if tensor.layout == "NHWC"})
    network = importer.read(model, images)
    del model  # which holds all weights once more
    names = [tensor.name for tensor in case.inputs]

    def call(*values: Any) -> list[Any]:
        found = network(**dict(zip(names, values, strict=True)))
        return [found[tensor.name] for tensor in case.outputs]

    frozen = freeze(call, specs(case.inputs))
    network.constants.clear()  # the graph has them
    save(frozen, None, case.inputs, case.outputs, place)
    twins = {
        name: layers.Twin(one.tensor, one.stored, case.known[one.tensor].module)
        for name, one in network.twins.items()
        if one.tensor in case.known
    }
    return False, twins | _ends(case, case.known)


def by_other(
    way: Callable[[onnx.ModelProto, tuple[Tensor, ...]], by_onnx2tf.Network],
) -> Callable[[Case, Path], tuple[bool, dict[str, layers.Twin]]]:
    """One of onnx2tf's."""

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
    """What onnx2tf makes of it: SQNR of each way against ONNX, and a finding where none agrees."""
    said: dict[str, Any] = {}
    for way in by_onnx2tf.WAYS:
        try:
            by_other(way)(case, place)
            said[way.__name__] = self_check.rounded(max(measured(case, place).values()))
        except Exception as error:  # noqa: BLE001  # onnx2tf raises whatever its rules run into
            print(f"{way.__name__}: {type(error).__name__}: {error}")
            said[way.__name__] = _short(error)
        finally:
            memory.release()
            _remove(place)
        if isinstance(said[way.__name__], float) and said[way.__name__] >= case.allowed_db:
            return said, []
    return said, ["second opinion: no way through onnx2tf gives what the importer and ONNX Runtime agree on"]


def _remove(place: Path) -> None:
    import shutil

    shutil.rmtree(place, ignore_errors=True)


def specs(inputs: tuple[Tensor, ...], batch: int | None = None) -> list[Any]:
    """What TensorFlow calls the type of the inputs; batch None: any size."""
    return [tf.TensorSpec([batch, *one.shape[1:]], one.dtype, one.name) for one in inputs]


def save(frozen: Any, batch: int | None, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], out: Path) -> None:
    """Write a SavedModel with `serving_default`, for any batch size and with the checkpoint's names.

    batch: the only size that the graph takes. Samples are mapped then, and the signature `single` has the graph itself.
    """
    memory.release()
    direct = by_name(frozen, [tensor.name for tensor in outputs])

    def mapped(*values: Any) -> dict[str, Any]:
        kinds = {tensor.name: tf.TensorSpec(tensor.shape[1:], tensor.dtype) for tensor in outputs}

        def row(parts: tuple[Any, ...]) -> dict[str, Any]:
            return {name: value[0] for name, value in direct(*(part[None] for part in parts)).items()}

        found: dict[str, Any] = tf.map_fn(row, values, fn_output_signature=kinds)
        return found

    module = tf.Module()
    module.serve = tf.function(mapped if batch else direct, autograph=False, input_signature=specs(inputs))
    signatures = {SERVING: module.serve.get_concrete_function()}
    if batch:
        module.single = tf.function(direct, autograph=False, input_signature=specs(inputs, batch))
        signatures[SINGLE] = module.single.get_concrete_function()
    tf.saved_model.save(module, str(out), signatures=signatures)


def transposes(folder: Path) -> int:
    """Count the transpositions in the file. Loading its graph would take ten times the model's size."""
    graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return sum(node.op == "Transpose" for body in bodies for node in body)


def _ends(case: Case, known: dict[str, layers.Place]) -> dict[str, layers.Twin]:
    """The outputs, by the names that TFLite has for them."""
    names = [tensor.name for tensor in case.outputs if tensor.name in known]
    return {name: layers.Twin(name, None, known[name].module) for name in names}


def find_layers(case: Case, folder: Path, opened: Checkpoint) -> dict[str, layers.Twin]:
    """TensorFlow's name of each ONNX tensor of a graph that does not say it: it has the same values on one sample."""
    model = onnx.load(case.path)
    known = layers.of_onnx(model)
    names = {name for name in known if name not in {one.name for one in model.graph.output}}
    kinds = {
        one.name: one.type.tensor_type.elem_type for one in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    names = {name for name in names if kinds.get(name) == onnx.TensorProto.FLOAT}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names))
    one = {name: values[:1] for name, values in opened.calibration().items()}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    asked = [output.name for output in session.get_outputs()]
    reference = dict(zip(asked, session.run(asked, one), strict=True))
    graph = load_graph(folder)
    given = {tensor.name: tensor.stored(one[tensor.name]) for tensor in case.inputs}
    values = inner(graph)([given[spec.name] for spec in graph.inputs])
    found = layers.matched(known, reference, {layers.canonical(name): value for name, value in values.items()})
    return found | _ends(case, known)


def golden_inputs(opened: Checkpoint) -> Arrays:
    """The first golden inputs, as the checkpoint has them."""
    return {name: values[: self_check.SAMPLES] for name, values in opened.golden().inputs.items()}


def in_batches(call: Callable[[Arrays], Arrays], arrays: Arrays) -> Arrays:
    """A function of some samples, for all of them: of each size of a batch once, then of the greatest."""
    count = len(next(iter(arrays.values())))
    starts = [0, *np.cumsum(BATCHES).tolist()]
    starts = [*starts, *range(starts[-1] + BATCHES[-1], count, BATCHES[-1])]
    bounds = [start for start in starts if start < count] + [count]
    parts = [
        call({name: value[start:end] for name, value in arrays.items()}) for start, end in itertools.pairwise(bounds)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def run_onnx(path: Path, arrays: Arrays) -> Arrays:
    """In ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return in_batches(lambda some: dict(zip(names, session.run(names, some), strict=True)), arrays)


def measured(case: Case, folder: Path) -> dict[str, float]:
    """The least SQNR of what is on disk against each of the references, in dB; NaN counts as minus infinity."""
    actual = run(folder, case.golden, case.inputs, case.outputs)
    ratios = {name: self_check.least(actual, reference) for name, reference in case.references.items()}
    return {name: -np.inf if np.isnan(ratio) else ratio for name, ratio in ratios.items()}


def run(folder: Path, arrays: Arrays, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Arrays:
    """What is on disk, in plain TensorFlow; arrays and results laid out as the checkpoint's."""
    loaded = tf.saved_model.load(str(folder))

    def call(some: Arrays) -> Arrays:
        given = {one.name: one.stored(some[one.name]) for one in inputs}
        serve = loaded.signatures[SERVING]  # which does not hold its model
        found = serve(**{name: tf.constant(value) for name, value in given.items()})
        return {one.name: one.restored(found[one.name].numpy()) for one in outputs}

    return in_batches(call, arrays)
