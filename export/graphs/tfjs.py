"""Rewrites a graph with operators that TensorFlow.js computes correctly on every backend.

    findings = mend(graph)

Some of its kernels are silently wrong on one backend, and some refuse: docs/kernels.md lists them, found by running
every operator on every backend (tests/kernels). A rule here says when an operator is one of those, and how it is
rewritten with others. What no rule can rewrite becomes a finding that names the backends to use.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.einsum import einsum
from export.graphs.graph_def import add_constant

KERNELS = Path(__file__).with_name("tfjs_kernels.json")
"""File of the kernels known to be wrong or refused: a list of {operators, condition, backends, cases, mended}."""
BACKENDS = ("cpu", "wasm", "webgl", "webgpu")
MANY = 5
"""Number of axes from which on some kernels of WebGL and WebGPU are wrong or missing."""
FUSED_APART = {"Tanh"}
"""Activations that no backend fuses."""
Operation = Any


@dataclass(frozen=True)
class Rule:
    """When and how one kind of operator is rewritten."""

    wrong: Callable[[Operation], bool]
    """Returns True for an operator that meets the kernel's fault."""
    mended: Callable[[Operation], tf.Tensor | None]
    """Returns the same value by other operators; None if a dimension that is needed is not known."""


def mend(graph: Any) -> list[str]:
    """Rewrite, in place, every operator whose kernel is known to be wrong; return findings for those that cannot be."""
    split_convolutions(graph)
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
        replacements: dict[str, tf.Tensor] = {}
        findings = []
        for operation in imported.get_operations():
            rule = next((candidate for candidate in RULES.get(operation.type, ()) if candidate.wrong(operation)), None)
            if rule is None:
                continue
            with tf.name_scope(f"{operation.name}/mended/"):
                value = rule.mended(operation)
            if value is None:
                findings.append(finding(operation))
            else:
                replacements[operation.name] = value
    if replacements:
        _replace(graph, imported.as_graph_def(), replacements)
    return list(dict.fromkeys(findings))


def _replace(graph: Any, imported: Any, replacements: dict[str, tf.Tensor]) -> None:
    """Turn each rewritten operator into an identity of its replacement, under its old name."""
    for node in imported.node:
        if node.name in replacements:
            value = replacements[node.name]
            node.op, node.input[:] = "Identity", [value.name.removesuffix(":0")]
            node.attr.clear()
            node.attr["T"].type = value.dtype.as_datatype_enum
    del graph.node[:]
    graph.node.extend(imported.node)


def finding(operation: Operation) -> str:
    """Return what a user has to know of an operator that could not be rewritten."""
    kernel = next(
        record for record in _kernels() if operation.type in record["operators"] and _about(record, operation)
    )
    bad = " and ".join(f"{fault} on {backend}" for backend, fault in kernel["backends"].items())
    good_backends = [backend for backend in BACKENDS if backend not in kernel["backends"]]
    advice = f"use {' or '.join(good_backends)}" if good_backends else "no backend computes it"
    return f"{operation.type} ({kernel['condition']}) is {bad}: {advice}"


def _kernels() -> list[dict[str, Any]]:
    """Return the list of kernels, those for many axes first."""
    return sorted(json.loads(KERNELS.read_text(encoding="utf-8")), key=lambda kernel: -kernel.get("least_rank", 0))


def _about(kernel: dict[str, Any], operation: Operation) -> bool:
    ranks = [_rank(tensor) or 0 for tensor in operation.inputs]
    return max(ranks, default=0) >= int(kernel.get("least_rank", 0))


def split_convolutions(graph: Any) -> None:
    """Split off, in place, activations that no backend fuses, and strides where a convolution also has dilations."""
    for node in list(graph.node):
        if node.op in {"_FusedConv2D", "_FusedMatMul"}:
            _unfuse(graph, node)
    convolutions = [
        node for node in graph.node if node.op in {"Conv2D", "_FusedConv2D"} and min(map(max, _pace(node))) > 1
    ]
    shapes = _shapes(graph) if convolutions else {}
    for node in convolutions:
        pads = _spread(node, shapes)
        if pads is not None:
            _thin(graph, node, pads)


def _pace(node: Any) -> tuple[list[int], list[int]]:
    """Return the strides of a convolution and its dilations, down and across."""
    return list(node.attr["strides"].list.i)[1:3], (list(node.attr["dilations"].list.i) or [1] * 4)[1:3]


def _shapes(graph: Any) -> dict[str, list[int | None]]:
    """Return operator name → shape of its first output, for every one whose rank is known."""
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
    tensors = [operation.outputs[0] for operation in imported.get_operations() if operation.outputs]
    return {tensor.op.name: tensor.shape.as_list() for tensor in tensors if tensor.shape.rank is not None}


def _unfuse(graph: Any, node: Any) -> None:
    """Put an activation that no backend fuses behind the operator it is fused into."""
    steps = list(node.attr["fused_ops"].list.s)
    if steps[-1].decode() not in FUSED_APART:
        return
    inner = graph.node.add()
    inner.CopyFrom(node)
    inner.name = f"{node.name}/mended/fused"
    inner.attr["fused_ops"].list.s[:] = steps[:-1]
    kind = node.attr["T"].type
    node.op, node.input[:] = steps[-1].decode(), [inner.name]
    node.attr.clear()
    node.attr["T"].type = kind


def _spread(node: Any, shapes: dict[str, list[int | None]]) -> list[int] | None:
    """Return how a convolution with strides pads: [0, 0, top, bottom, left, right, 0, 0]; None if that is not known."""
    if node.attr["padding"].s == b"VALID":
        return [0] * 8
    if node.attr["padding"].s == b"EXPLICIT":
        return list(node.attr["explicit_paddings"].list.i)
    image, kernel = (shapes.get(name.partition(":")[0], [None] * 4) for name in node.input[:2])
    pads = [0, 0]
    for size, taps, step, rate in zip(image[1:3], kernel[:2], *_pace(node), strict=True):
        if size is None or taps is None:
            return None
        total = max((-(-size // step) - 1) * step + (taps - 1) * rate + 1 - size, 0)
        pads += [total // 2, total - total // 2]
    return [*pads, 0, 0]


def _strides_and_dilates(operation: Operation) -> bool:
    return min(map(max, _pace(operation.node_def))) > 1


def _thin(graph: Any, node: Any, pads: list[int]) -> None:
    """Compute a convolution with strides and dilations without its strides, then slice: TF.js does one or the other."""
    steps, _ = _pace(node)
    inner = graph.node.add()
    inner.CopyFrom(node)
    inner.name = f"{node.name}/mended/dense"
    inner.attr["strides"].list.i[:] = [1, 1, 1, 1]
    inner.attr["padding"].s = b"EXPLICIT"
    inner.attr["explicit_paddings"].list.i[:] = pads
    kind = node.attr["T"].type
    names = []
    for name, value in (("begin", [0] * 4), ("end", [0] * 4), ("steps", [1, *steps, 1])):
        names.append(f"{node.name}/mended/{name}")
        add_constant(graph, names[-1], np.array(value, np.int32))
    node.op, node.input[:] = "StridedSlice", [inner.name, *names]
    node.attr.clear()
    node.attr["T"].type, node.attr["Index"].type = kind, tf.int32.as_datatype_enum
    node.attr["begin_mask"].i = node.attr["end_mask"].i = 15


def _rank(tensor: tf.Tensor) -> int | None:
    rank: int | None = tensor.shape.rank
    return rank


def _many_axes(operation: Operation) -> bool:
    return any((_rank(tensor) or 0) >= MANY for tensor in operation.inputs)


def _whole(operation: Operation) -> bool:
    """True if its first input is of integers or of booleans."""
    return operation.inputs[0].dtype in {tf.int32, tf.int64, tf.bool}


def _always(_: Operation) -> bool:
    return True


def _same(operation: Operation) -> tf.Tensor:
    return tf.identity(operation.inputs[0])


def _is_not_zero(operation: Operation) -> tf.Tensor:
    return tf.not_equal(operation.inputs[0], tf.zeros([], operation.inputs[0].dtype))


def gathered(operation: Operation) -> tf.Tensor | None:
    """Return a gather with batch axes as one gather from the rows of all batches, at index + row · length.

    The batch axes come first, then the gathered axis.
    """
    params, indices, _ = operation.inputs
    axis, batches = _constant(operation.inputs[2]), operation.get_attr("batch_dims")
    if axis is None or _rank(params) is None or _rank(indices) is None:
        return None
    rank, within = params.shape.rank, indices.shape.rank - batches
    axis = int(axis) % rank
    between = axis - batches
    if between:
        front, back = list(range(batches)), list(range(axis + 1, rank))
        params = tf.transpose(params, [*front, axis, *range(batches, axis), *back])
    sizes, length = tf.shape(params), params.shape[batches] or tf.shape(params)[batches]
    rows = tf.reshape(params, tf.concat([[-1], sizes[batches + 1 :]], 0))
    flat = tf.reshape(tf.cast(indices, tf.int32), tf.concat([[-1], tf.shape(indices)[batches:]], 0))
    starts = tf.reshape(tf.range(tf.shape(flat)[0]) * length, [-1, *[1] * within])
    values = tf.gather(rows, flat + starts)
    if batches > 1:
        values = tf.reshape(values, tf.concat([tf.shape(indices), sizes[batches + 1 :]], 0))
    if between:
        middle = list(range(batches + within, batches + within + between))
        ends = range(batches + within + between, rank + within - 1)
        values = tf.transpose(values, [*range(batches), *middle, *range(batches, batches + within), *ends])
    return values


def _constant(tensor: tf.Tensor) -> Any:
    """Return the value of a tensor that is constant; None for any other."""
    return tf.get_static_value(tensor)


def widened(operation: Operation) -> tf.Tensor:
    """Return a product with batches of one shape, because TF.js repeats batches wrongly (`_repeats_within`)."""
    first, second = operation.inputs
    ranks = max(first.shape.rank, second.shape.rank) - 2
    batches = [_batch(factor, ranks) for factor in (first, second)]
    target = tf.maximum(*batches)
    first, second = (
        tf.broadcast_to(factor, tf.concat([target, tf.shape(factor)[-2:]], 0)) for factor in (first, second)
    )
    options = {"adjoint_a": operation.get_attr("adj_x"), "adjoint_b": operation.get_attr("adj_y")}
    return tf.matmul(first, second, **options)


def _batch(tensor: tf.Tensor, count: int) -> tf.Tensor:
    """Return the shape without the matrix, as `count` axes."""
    return tf.concat([[1] * (count + 2 - tensor.shape.rank), tf.shape(tensor)[:-2]], 0)


def _repeats_within(operation: Operation) -> bool:
    """True if one factor is repeated along an axis that comes after one along which it is not."""
    first, second = operation.inputs
    if _rank(first) is None or _rank(second) is None:
        return False
    count = max(first.shape.rank, second.shape.rank) - 2
    batches = [[1] * (count + 2 - factor.shape.rank) + factor.shape.as_list()[:-2] for factor in (first, second)]
    for sizes, other_sizes in (batches, batches[::-1]):
        varies = False
        for size, other_size in zip(sizes, other_sizes, strict=True):
            if varies and size == 1 and other_size != 1:
                return True
            varies |= size != 1
    return False


def multiplied(operation: Operation) -> tf.Tensor | None:
    """Return an einsum as one matrix product: wasm has no Einsum, and no other backend has an ellipsis."""
    if operation.inputs[0].dtype != tf.float32:
        return None
    return einsum(operation.get_attr("equation").decode(), *operation.inputs)


def _vector_beside_many(operation: Operation) -> bool:
    return _many_axes(operation) and any(_rank(tensor) == 1 for tensor in operation.inputs)


def in_rows(operation: Operation) -> tf.Tensor:
    """Return the operator with a vector, beside a tensor of many axes, as a matrix of one row.

    WebGPU reads a matrix by another shader, which is correct.
    """
    inputs = [tf.reshape(tensor, [1, -1]) if _rank(tensor) == 1 else tensor for tensor in operation.inputs]
    names = [argument.name for argument in operation.op_def.input_arg]
    return getattr(tf.raw_ops, operation.type)(**dict(zip(names, inputs, strict=True)))


def _biased(operation: Operation) -> tf.Tensor:
    return tf.add(operation.inputs[0], tf.reshape(operation.inputs[1], [1, -1]))


def one_hot(operation: Operation) -> tf.Tensor | None:
    """Return a one-hot tensor by comparing indices with a range.

    TF.js always puts the new axis last, and wasm's kernel takes integers only.
    """
    indices, depth, on, off = operation.inputs
    if _rank(indices) is None or _constant(depth) is None:
        return None
    axis = operation.get_attr("axis") % (indices.shape.rank + 1)
    range_shape = [-1 if position == axis else 1 for position in range(indices.shape.rank + 1)]
    numbers = tf.reshape(tf.range(depth), range_shape)
    return tf.cast(tf.equal(tf.expand_dims(tf.cast(indices, tf.int32), axis), numbers), on.dtype) * (on - off) + off


def _floats(value: tf.Tensor) -> tf.Tensor:
    """Return a tensor as float32.

    WebGPU's Cast leaves integers as they are and calls them floats; a multiplication does convert them.
    """
    return value if value.dtype == tf.float32 else tf.cast(value, tf.float32) * tf.ones([])


def through_floats(operation: Operation) -> tf.Tensor:
    """Return the operator computed in float32, which holds every integer up to 2²⁴, on integers or booleans."""
    value = operation.inputs[0]
    result = _IN_FLOATS[operation.type](operation, _floats(value), operation.inputs[1:])
    return tf.not_equal(result, 0.0) if value.dtype == tf.bool else tf.cast(result, value.dtype)


def _reduce(function: Any) -> Callable[..., tf.Tensor]:
    return lambda operation, value, arguments: function(value, arguments[0], operation.get_attr("keep_dims"))


def _thinned(operation: Operation, value: tf.Tensor, arguments: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.strided_slice(value, *arguments, **{name: operation.get_attr(name) for name in MASKS})


_IN_FLOATS: dict[str, Callable[..., tf.Tensor]] = {
    "Sum": _reduce(tf.reduce_sum),
    "Prod": _reduce(tf.reduce_prod),
    "Max": _reduce(tf.reduce_max),
    "Min": _reduce(tf.reduce_min),
    "All": _reduce(tf.reduce_min),
    "Any": _reduce(tf.reduce_max),
    "Transpose": lambda _, value, arguments: tf.transpose(value, arguments[0]),
    "StridedSlice": _thinned,
}
MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def _reduces_within(operation: Operation) -> bool:
    """True if integers or booleans are reduced along other axes than the last ones: WebGPU transposes them, as floats.

    A product of sizes, which may be beyond 2²⁴, is over the last axes, so it stays as it is.
    """
    axes, rank = _constant(operation.inputs[1]), _rank(operation.inputs[0])
    if not _whole(operation) or axes is None or rank is None:
        return _whole(operation)
    along = sorted(int(axis) % rank for axis in np.ravel(axes))
    return along != list(range(rank - len(along), rank))


def power(operation: Operation) -> tf.Tensor:
    """Return a power of integers by float32, rounded: WebGPU leaves out the rounding."""
    first, second = map(_floats, operation.inputs)
    return tf.cast(tf.round(tf.pow(first, second)), operation.inputs[0].dtype)


def running_sum(operation: Operation) -> tf.Tensor | None:
    """Return a cumulative sum along an axis counted from the front, forwards; None if the axis or rank is not known.

    WebGPU gives all cumulative sums of a model the length of the first.
    """
    value, axis = operation.inputs[0], _constant(operation.inputs[1])
    if axis is None or _rank(value) is None:
        return None
    sum_axis, backwards = int(axis) % value.shape.rank, operation.get_attr("reverse")

    def add_up(part: tf.Tensor, axis: int) -> tf.Tensor:
        reversed_part = tf.reverse(part, [axis]) if backwards else part
        sums = tf.cumsum(reversed_part, axis, exclusive=operation.get_attr("exclusive"))
        return tf.reverse(sums, [axis]) if backwards else sums

    if not _many_axes(operation):
        return tf.cast(add_up(_floats(value), sum_axis), value.dtype)
    sums = along_each_axis(_floats(value), {sum_axis: None}, lambda part, _: add_up(part, 1))
    return None if sums is None else tf.cast(sums, value.dtype)


def _running_wrong(operation: Operation) -> bool:
    axis = _constant(operation.inputs[1])
    turned = operation.get_attr("reverse") or axis is None or int(axis) < 0
    return _whole(operation) or _many_axes(operation) or turned


def along_each_axis(
    value: tf.Tensor, changes: dict[int, Any], change: Callable[[tf.Tensor, Any], tf.Tensor]
) -> tf.Tensor | None:
    """Return a value changed along one axis after the other, each as the middle one of three.

    changes: axis → the second argument of `change`, whose first is a tensor (before, axis, after). None if a size is
    not known.
    """
    for axis, argument in changes.items():
        sizes = value.shape.as_list()
        if None in sizes[1:]:
            return None
        after = int(np.prod(sizes[axis + 1 :]))
        parts = change(tf.reshape(value, [-1 if axis else 1, sizes[axis] if axis else -1, after]), argument)
        length = parts.shape[1] if axis else -1
        ends = [*sizes[1:axis], length, *sizes[axis + 1 :]] if axis else sizes[1:]
        value = tf.reshape(parts, [-1, *ends])
    return value


def padded(operation: Operation) -> tf.Tensor | None:
    """Return padding along one axis after the other; None if its amounts or rank are not known."""
    amounts = _constant(operation.inputs[1])
    if amounts is None or _rank(operation.inputs[0]) is None:
        return None
    mode = operation.get_attr("mode").decode() if operation.type == "MirrorPad" else "CONSTANT"
    constant = operation.inputs[2] if operation.type == "PadV2" else 0

    def pad(value: tf.Tensor, sides: Any) -> tf.Tensor:
        return tf.pad(value, [[0, 0], sides, [0, 0]], mode, constant)

    return along_each_axis(
        operation.inputs[0], {axis: pair.tolist() for axis, pair in enumerate(amounts) if pair.any()}, pad
    )


def mirrored(operation: Operation) -> tf.Tensor | None:
    """Return a reversal along one axis after the other; None if its axes or rank are not known."""
    axes = _constant(operation.inputs[1])
    if axes is None or _rank(operation.inputs[0]) is None:
        return None
    changes = dict.fromkeys(sorted(int(axis) % operation.inputs[0].shape.rank for axis in axes))
    return along_each_axis(operation.inputs[0], changes, lambda value, _: tf.reverse(value, [1]))


def stepped(operation: Operation) -> tf.Tensor | None:
    """Return a strided slice along one axis after the other; None if it is not constant or drops or adds an axis."""
    begin, end, steps = (_constant(bound) for bound in operation.inputs[1:4])
    bits = [operation.get_attr(name) for name in MASKS]
    rank = _rank(operation.inputs[0])
    if begin is None or end is None or any(bits[2:]) or rank != len(begin):
        return None
    ranges = {}
    for axis, (first, last, step) in enumerate(zip(begin.tolist(), end.tolist(), steps.tolist(), strict=True)):
        open_begin, open_end = bits[0] >> axis & 1, bits[1] >> axis & 1
        if not (open_begin and open_end and step == 1):
            ranges[axis] = slice(None if open_begin else first, None if open_end else last, step)
    return along_each_axis(operation.inputs[0], ranges, lambda value, span: value[:, span])


def _steps(operation: Operation) -> bool:
    steps = _constant(operation.inputs[3])
    return steps is None or bool((steps != 1).any())


def selected(operation: Operation) -> tf.Tensor | None:
    """Return a selection from flat values: WebGL and WebGPU select in four axes at most.

    None if a rank is not known.
    """
    return None if None in map(_rank, operation.inputs) else _in_one_row(*operation.inputs)


def _in_one_row(*inputs: tf.Tensor) -> tf.Tensor:
    rank = max(tensor.shape.rank for tensor in inputs)
    shapes = [tf.concat([[1] * (rank - tensor.shape.rank), tf.shape(tensor)], 0) for tensor in inputs]
    target = tf.maximum(tf.maximum(shapes[0], shapes[1]), shapes[2])
    numbers = (tf.cast(inputs[0], tf.int32), *inputs[1:])
    flag, first, second = (tf.reshape(tf.broadcast_to(tensor, target), [-1]) for tensor in numbers)
    return tf.reshape(tf.where(tf.not_equal(flag, 0), first, second), target)


def _flag_for_rows(operation: Operation) -> bool:
    """True if one flag decides on all values that have the same first index."""
    flags, values, _ = operation.inputs
    return _rank(flags) == 1 and (_rank(values) or 0) > 1


def selected_by_row(operation: Operation) -> tf.Tensor:
    """Return a selection with the flags along the first axis: TF.js lays them along the last."""
    flags, first, second = operation.inputs
    flags = tf.reshape(flags, [-1, *[1] * (first.shape.rank - 1)])
    return (_in_one_row if _many_axes(operation) else tf.where)(flags, first, second)


def banded(operation: Operation) -> tf.Tensor | None:
    """Return matrices with zeros beside a band of diagonals; None if the bounds or the matrices' sizes are not known.

    TF.js takes a bound below zero, which means no bound, for a number.
    """
    value, *limits = operation.inputs
    below, above = map(_constant, limits)
    if below is None or above is None or _rank(value) is None or None in value.shape[-2:].as_list():
        return None
    rows, columns = value.shape[-2:].as_list()
    down = np.arange(rows)[:, None] - np.arange(columns)
    band = ((below < 0) | (down <= below)) & ((above < 0) | (-down <= above))
    matrices = tf.reshape(value, [-1, rows, columns])
    return tf.reshape(tf.where(band, matrices, tf.zeros([], value.dtype)), tf.shape(value))


def cropped(operation: Operation) -> tf.Tensor:
    """Return crops with the image of each box at the box's own index, by which WebGL looks for it in any case."""
    images, boxes, places, size = operation.inputs
    return tf.raw_ops.CropAndResize(
        image=tf.gather(images, places),
        boxes=boxes,
        box_ind=tf.range(tf.shape(places)[0]),
        crop_size=size,
        method=operation.get_attr("method").decode(),
        extrapolation_value=operation.get_attr("extrapolation_value"),
    )


def space_to_depth(operation: Operation) -> tf.Tensor | None:
    """Return space-to-depth by moving axes: TF.js has no such operator. None if a size is not known."""
    value, block = operation.inputs[0], operation.get_attr("block_size")
    _, height, width, channels = value.shape.as_list()
    if None in {height, width, channels}:
        return None
    parts = tf.reshape(value, [-1, height // block, block, width // block, block, channels])
    return tf.reshape(
        tf.transpose(parts, [0, 1, 3, 2, 4, 5]), [-1, height // block, width // block, block * block * channels]
    )


def _floor_of_quotient(operation: Operation) -> tf.Tensor:
    rows = _vector_beside_many(operation)
    inputs = [tf.reshape(tensor, [1, -1]) if rows and _rank(tensor) == 1 else tensor for tensor in operation.inputs]
    return tf.floor(tf.math.divide(*inputs))


def _by_nothing(_: Operation) -> None:
    return None


BINARY = (
    *("AddV2", "Sub", "Mul", "RealDiv", "FloorMod", "Maximum", "Minimum", "SquaredDifference", "Atan2", "Equal"),
    *("NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalOr"),
)
RULES: dict[str, tuple[Rule, ...]] = {
    "GatherV2": (Rule(lambda operation: operation.get_attr("batch_dims") > 0, gathered),),
    "EnsureShape": (Rule(_always, _same),),
    "Cast": (Rule(lambda operation: operation.outputs[0].dtype == tf.bool != operation.inputs[0].dtype, _is_not_zero),),
    "BatchMatMulV2": (Rule(_repeats_within, widened),),
    "OneHot": (Rule(_always, one_hot),),
    "Cumsum": (Rule(_running_wrong, running_sum),),
    "FloorDiv": (Rule(lambda operation: not _whole(operation), _floor_of_quotient),),
    "Pow": (Rule(_whole, power), Rule(_vector_beside_many, in_rows)),
    **dict.fromkeys(BINARY, (Rule(_vector_beside_many, in_rows),)),
    "SpaceToDepth": (Rule(_always, space_to_depth),),
    "BiasAdd": (Rule(_many_axes, _biased),),
    "SelectV2": (Rule(_many_axes, selected),),
    "Select": (Rule(_flag_for_rows, selected_by_row), Rule(_many_axes, selected)),
    "MatrixBandPart": (Rule(_always, banded),),
    "CropAndResize": (Rule(_always, cropped),),
    "ReverseV2": (Rule(_many_axes, mirrored),),
    "DivNoNan": (Rule(_many_axes, _by_nothing),),
    "Einsum": (Rule(_always, multiplied),),
    **dict.fromkeys(
        [*(f"NonMaxSuppressionV{version}" for version in (2, 3, 4, 5)), "Where"], (Rule(_always, _by_nothing),)
    ),
    **dict.fromkeys(["Conv2D", "_FusedConv2D"], (Rule(_strides_and_dilates, _by_nothing),)),
    "StridedSlice": (
        Rule(lambda operation: _many_axes(operation) and _steps(operation), stepped),
        Rule(lambda operation: _whole(operation) and _steps(operation), through_floats),
    ),
    **dict.fromkeys(["Pad", "PadV2", "MirrorPad"], (Rule(_many_axes, padded),)),
    **dict.fromkeys(["Sum", "Prod", "Max", "Min", "All", "Any"], (Rule(_reduces_within, through_floats),)),
    "Transpose": (Rule(_whole, through_floats),),
}
