"""SavedModel, for TensorFlow Serving and plain TensorFlow: onnx2tf's graph, frozen, any batch size, NHWC.

onnx2tf finds the layout of every tensor by rules and trials, and saves through Keras for minutes what takes seconds
without. So its graph is taken in memory, by the first way whose outputs are ONNX Runtime's on golden inputs.
"""

from export.tensorflow_graph import (  # isort: skip  # before TensorFlow
    SERVING,
    SINGLE,
    by_name,
    freeze,
    inner,
    load_graph,
    nhwc,
)

import importlib.util
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx2tf
import onnxruntime
import tensorflow as tf
from onnx import helper, numpy_helper

from export import check, layers, memory
from export.operators import first_modules, inexpressible, module_of
from pipeline.checkpoint import Checkpoint, Tensor

TOOLCHAIN = "tensorflow"
SOURCES = {"float32": "onnx/float32"}

VERSION = "1"
"""TensorFlow Serving loads the folder with the greatest number."""
BATCH = 8
"""Samples of one call of a check: more than one, and little memory at any image size."""
NEVER_NEGATIVE = {"Relu", "Sigmoid", "HardSigmoid"}
KEEP_SIGN = {"Add", "AveragePool", "Concat", "GlobalAveragePool", "Identity", "MaxPool", "Mul"}
"""Never negative where none of their inputs is."""
ONE_BY_ONE = "a batch is computed image by image: onnx2tf gives this network for a batch of one only"
Arrays = dict[str, np.ndarray[Any, Any]]
Graph = Callable[[Any], Any]
"""A tensor or a list of tensors to a tensor or a list of tensors."""


def convert(source: Path, checkpoint: Path, precision: str, out: Path) -> dict[str, Any]:
    """onnx/float32's file → `1/saved_model.pb` with the signature `serving_default`."""
    opened = Checkpoint.open(Path(checkpoint))
    inputs, outputs = tuple(map(nhwc, opened.inputs)), tuple(map(nhwc, opened.outputs))
    check.fits(opened, "a SavedModel with frozen weights")
    model = onnx.load(source)
    check_operators(model)
    prepared = prepare(model)
    golden = golden_inputs(opened)
    reference = run_onnx(Path(source), golden)
    tried: dict[str, str] = {}
    for way in WAYS:
        name = way.__name__
        try:
            batch = build(way, prepared, inputs, outputs, Path(out) / VERSION)
            ratio = check.least(run(Path(out) / VERSION, golden, inputs, outputs), reference)
        except Exception as error:  # noqa: BLE001  # onnx2tf raises whatever its rules run into
            print(f"{name}: {type(error).__name__}: {error}")
            tried[name] = f"{type(error).__name__}: {error}".partition("\n")[0]
            continue
        if ratio >= check.SAME_DB:
            details = {
                "way": name,
                "sqnr_db_against_onnx": check.rounded(ratio),
                "samples": check.SAMPLES,
                "modules": first_modules(model),
                "layers": layers.record(find_layers(Path(source), Path(out) / VERSION, opened, inputs)),
            }
            return {
                "entry": VERSION,
                "findings": [ONE_BY_ONE] if batch else [],
                "details": details | ({"tried": tried} if tried else {}),
                "inputs": [asdict(tensor) for tensor in inputs],
                "outputs": [asdict(tensor) for tensor in outputs],
            }
        tried[name] = f"SQNR {ratio:.1f} dB against ONNX ({check.SAME_DB:.0f} needed)"
    raise ValueError(
        "no way through onnx2tf gives this model: " + "; ".join(f"{one}: {why}" for one, why in tried.items())
    )


def check_operators(model: onnx.ModelProto) -> None:
    """Every one has a file in onnx2tf. Raises Inexpressible."""
    unknown = {
        node.op_type: module_of(node)
        for node in model.graph.node
        if importlib.util.find_spec(f"onnx2tf.ops.{node.op_type}") is None
    }
    if unknown:
        raise inexpressible("onnx2tf", unknown)


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function in the words onnx2tf reads rightly.

    An elementwise operator with one constant per channel, (C, 1, 1) or (1, C, 1, 1), becomes a depthwise 1×1
    convolution: of the constant, onnx2tf turns the axes twice where the batch is dynamic. Max pooling is padded by an
    operator of its own: onnx2tf pads with the least float32, which as part of an integer range leaves one step of 10³⁶
    (resnet18 in int8: LiteRT aborts the process).
    """
    graph = model.graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    ranks = {item.name: len(item.type.tensor_type.shape.dim) for item in [*inferred.input, *inferred.value_info]}
    positive = never_negative(graph)
    uses = Counter(name for node in graph.node for name in node.input)
    nodes: list[onnx.NodeProto] = []
    affines: dict[str, Affine] = {}
    for node in graph.node:
        affine = per_channel(node, constants, ranks)
        if affine is not None:
            before = affines.get(affine.tensor)
            if before and uses[affine.tensor] == 1:  # mean and deviation: one convolution instead of two
                nodes = [one for one in nodes if one.output[0] != affine.tensor]
                affine = Affine(before.tensor, before.scale * affine.scale, before.shift * affine.scale + affine.shift)
            affines[node.output[0]] = affine
            nodes.append(_depthwise(affine, node, graph))
        elif node.op_type == "MaxPool" and (mode := padding_mode(node, positive)):
            nodes += _padded(node, mode, graph)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


@dataclass(frozen=True)
class Affine:
    """scale · tensor + shift, per channel of a rank-4 tensor."""

    tensor: str
    scale: np.ndarray[Any, Any]
    """(C,)."""
    shift: np.ndarray[Any, Any]
    """(C,)."""


def _depthwise(affine: Affine, node: onnx.NodeProto, graph: onnx.GraphProto) -> onnx.NodeProto:
    weight, bias = f"{node.output[0]}.scale", f"{node.output[0]}.shift"
    graph.initializer.append(numpy_helper.from_array(affine.scale.reshape(-1, 1, 1, 1), weight))
    graph.initializer.append(numpy_helper.from_array(affine.shift, bias))
    made = helper.make_node(
        "Conv",
        [affine.tensor, weight, bias],
        list(node.output),
        node.name,
        group=len(affine.scale),
        kernel_shape=[1, 1],
    )
    made.metadata_props.extend(node.metadata_props)
    return made


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)


def never_negative(graph: onnx.GraphProto) -> set[str]:
    """Tensors without a value below zero, whatever the input."""
    found: set[str] = set()
    for node in graph.node:
        if node.op_type in NEVER_NEGATIVE or (node.op_type in KEEP_SIGN and found.issuperset(node.input)):
            found |= set(node.output)
    return found


def padding_mode(node: onnx.NodeProto, positive: set[str]) -> str:
    """What may stand around the input of a max pooling without being its maximum; empty: nothing known.

    Zeros around what is never negative. Else a reflection, where every window that reaches over the edge holds the
    reflected values themselves, too.
    """
    pads, kernel = _attribute(node, "pads", []), _attribute(node, "kernel_shape", [])
    if not any(pads) or len(pads) != 4 or _attribute(node, "ceil_mode", 0):  # it counts windows by what is padding
        return ""
    if node.input[0] in positive:
        return "constant"
    plain = max(_attribute(node, "dilations", [1])) == 1
    inside = all(2 * pad < size for pad, size in zip(pads, kernel * 2, strict=True))
    return "reflect" if plain and inside else ""


def _padded(node: onnx.NodeProto, mode: str, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    (top, left, bottom, right), name = _attribute(node, "pads", []), f"{node.output[0]}.padded"
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    graph.initializer.append(numpy_helper.from_array(pads, f"{name}.pads"))
    pool = onnx.NodeProto()
    pool.CopyFrom(node)
    pool.input[0] = name
    for attribute in pool.attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [0, 0, 0, 0]
    return [helper.make_node("Pad", [node.input[0], f"{name}.pads"], [name], name, mode=mode), pool]


def per_channel(node: onnx.NodeProto, constants: Arrays, ranks: dict[str, int]) -> Affine | None:
    """What an elementwise operator does with one constant per channel; None for every other operator."""
    if node.op_type not in {"Add", "Sub", "Mul", "Div"}:
        return None
    first, second = node.input
    flipped = first in constants
    if flipped and node.op_type in {"Sub", "Div"}:
        return None
    name, constant = (second, constants[first]) if flipped else (first, constants.get(second))
    if constant is None or ranks.get(name) != 4 or constant.dtype != np.float32 or constant.ndim not in {3, 4}:
        return None
    channels = constant.size
    if channels == 1 or constant.shape[-3:] != (channels, 1, 1):
        return None
    value, one, zero = constant.ravel(), np.ones(channels, np.float32), np.zeros(channels, np.float32)
    scale, shift = {"Add": (one, value), "Sub": (one, -value), "Mul": (value, zero), "Div": (one / value, zero)}[
        node.op_type
    ]
    return Affine(name, scale, shift)


def onnx2tf_graph(model: onnx.ModelProto, **options: Any) -> Graph:
    """onnx2tf's network in memory: a callable of one tensor or a list."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        network: Graph = onnx2tf.convert(
            input_onnx_file_path=str(path),
            output_folder_path=folder,
            tflite_backend="tf_converter",
            disable_model_save=True,
            not_use_onnxsim=True,
            disable_strict_mode=True,  # no trying of axis permutations until one fits: the result is checked here
            **options,
        )
    return network


@dataclass(frozen=True)
class Network:
    """One way's result."""

    call: Graph
    batch: int | None
    """The only batch size it takes; None: any."""


def any_batch(model: onnx.ModelProto, inputs: tuple[Tensor, ...]) -> Network:
    """As it is: right for convolutional networks."""
    return Network(onnx2tf_graph(model), None)


def any_batch_nchw(model: onnx.ModelProto, inputs: tuple[Tensor, ...]) -> Network:
    """Inputs keep ONNX's layout, and we transpose: right for networks that transpose by themselves (ConvNeXt)."""
    network = onnx2tf_graph(model, keep_shape_absolutely_input_names=[tensor.name for tensor in inputs])

    def call(values: Any) -> Any:
        given = [values] if len(inputs) == 1 else values
        turned = [
            tf.transpose(value, [0, 3, 1, 2]) if tensor.layout == "NHWC" else value
            for value, tensor in zip(given, inputs, strict=True)
        ]
        return network(turned[0] if len(inputs) == 1 else turned)

    return Network(call, None)


def one_by_one(model: onnx.ModelProto, inputs: tuple[Tensor, ...]) -> Network:
    """For a batch of one, with every shape known: right for transformers whose reshapes mix the batch with others."""
    import onnxsim

    single = onnx.ModelProto()
    single.CopyFrom(model)
    for tensor in [*single.graph.input, *single.graph.output]:
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    del single.graph.value_info[:]
    simplified, _ = onnxsim.simplify(single)
    return Network(onnx2tf_graph(simplified), 1)


WAYS = (any_batch, any_batch_nchw, one_by_one)


def specs(inputs: tuple[Tensor, ...], batch: int | None = None) -> list[Any]:
    """What TensorFlow calls the type of the inputs; batch None: any size."""
    return [tf.TensorSpec([batch, *one.shape[1:]], one.dtype, one.name) for one in inputs]


def build(
    way: Callable[[onnx.ModelProto, tuple[Tensor, ...]], Network],
    model: onnx.ModelProto,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    out: Path,
) -> int | None:
    """One way's SavedModel; → the only batch size its graph takes. What it left in memory is given back."""
    try:
        network = way(model, inputs)
        memory.release()
        save(network, inputs, outputs, out)
        return network.batch
    finally:
        memory.release()


def save(network: Network, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], out: Path) -> None:
    """A SavedModel with `serving_default`, for any batch size and with the checkpoint's names.

    Where the network takes single samples only, they are mapped, and the signature `single` has the graph itself.
    """
    frozen = freeze(
        lambda *values: network.call(values[0] if len(values) == 1 else list(values)), specs(inputs, network.batch)
    )
    memory.release()
    direct = by_name(frozen, [tensor.name for tensor in outputs])

    def mapped(*values: Any) -> dict[str, Any]:
        kinds = {tensor.name: tf.TensorSpec(tensor.shape[1:], tensor.dtype) for tensor in outputs}

        def row(parts: tuple[Any, ...]) -> dict[str, Any]:
            return {name: value[0] for name, value in direct(*(part[None] for part in parts)).items()}

        found: dict[str, Any] = tf.map_fn(row, values, fn_output_signature=kinds)
        return found

    module = tf.Module()
    module.serve = tf.function(mapped if network.batch else direct, input_signature=specs(inputs))
    signatures = {SERVING: module.serve.get_concrete_function()}
    if network.batch:
        module.single = tf.function(direct, input_signature=specs(inputs, network.batch))
        signatures[SINGLE] = module.single.get_concrete_function()
    tf.saved_model.save(module, str(out), signatures=signatures)


def find_layers(source: Path, folder: Path, opened: Checkpoint, inputs: tuple[Tensor, ...]) -> dict[str, layers.Twin]:
    """TensorFlow's name of each ONNX tensor: it has the same values on one sample."""
    model = onnx.load(source)
    known = layers.of_onnx(model)
    names = {name for name in known if name not in {one.name for one in model.graph.output}}
    kinds = {
        one.name: one.type.tensor_type.elem_type for one in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    names = {name for name in names if kinds.get(name) == onnx.TensorProto.FLOAT}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names))
    one = {tensor.name: opened.calibration()[f"input.{tensor.name}"][:1] for tensor in opened.inputs}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    asked = [output.name for output in session.get_outputs()]
    reference = dict(zip(asked, session.run(asked, one), strict=True))
    graph = load_graph(folder)
    given = {
        tensor.name: np.moveaxis(one[tensor.name], 1, 3) if tensor.layout == "NHWC" else one[tensor.name]
        for tensor in inputs
    }
    values = inner(graph)([given[spec.name] for spec in graph.inputs])
    found = layers.matched(known, reference, {layers.canonical(name): value for name, value in values.items()})
    ends = {name: layers.Twin(name, False, known[name].module) for name in graph.outputs if name in known}
    return found | ends  # what TFLite calls them


def golden_inputs(opened: Checkpoint) -> Arrays:
    """The first golden inputs, as the checkpoint has them."""
    golden = opened.golden()
    return {tensor.name: golden[f"input.{tensor.name}"][: check.SAMPLES] for tensor in opened.inputs}


def in_batches(call: Callable[[Arrays], Arrays], arrays: Arrays) -> Arrays:
    """A function of some samples, for all of them."""
    count = len(next(iter(arrays.values())))
    parts = [
        call({name: value[start : start + BATCH] for name, value in arrays.items()}) for start in range(0, count, BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def run_onnx(path: Path, arrays: Arrays) -> Arrays:
    """In ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return in_batches(lambda some: dict(zip(names, session.run(names, some), strict=True)), arrays)


def run(folder: Path, arrays: Arrays, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Arrays:
    """What is on disk, in plain TensorFlow; arrays and results laid out as the checkpoint's."""
    loaded = tf.saved_model.load(str(folder))

    def call(some: Arrays) -> Arrays:
        given = {
            one.name: np.moveaxis(some[one.name], 1, 3) if one.layout == "NHWC" else some[one.name] for one in inputs
        }
        serve = loaded.signatures[SERVING]  # which does not hold its model
        found = serve(**{name: tf.constant(value) for name, value in given.items()})
        return {
            one.name: np.moveaxis(found[one.name].numpy(), 3, 1) if one.layout == "NHWC" else found[one.name].numpy()
            for one in outputs
        }

    return in_batches(call, arrays)
