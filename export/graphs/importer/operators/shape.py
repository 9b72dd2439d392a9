"""What moves, joins, cuts and repeats tensors, and what makes shapes."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, narrow, running, since
from export.graphs.importer.value import (
    Dim,
    Extent,
    Sizes,
    Value,
    broadcast,
    channels_last,
    number,
    product,
    reshaped,
    whole,
    without,
)
from records.tensor import Array


@since(1)
def Transpose(node: Node, value: Value) -> Value:
    """Build another order of the axes: nothing is computed."""
    order = node.numbers("perm") or list(range(value.rank))[::-1]
    return Value(value.tensor, [value.stored[axis] for axis in order])


@since(5)
def Reshape(node: Node, value: Value, shape: Value) -> Value:
    """Build another shape. If only axes that lie beside each other are joined or split, the storage stays."""
    if not shape.constant and not isinstance(shape, Sizes):
        return _reshaped_by(node, value, shape)
    return reshape(value, _target(node, value, _numbers(node, shape, "shape")))


def _reshaped_by(node: Node, value: Value, shape: Value) -> Value:
    """Return a value in a shape that only the running model knows."""
    rank, target = node.static(shape, 0, "the length of its shape"), shape.logical
    if not node.flag("allowzero"):
        own = [*value.sizes, *[0] * rank][:rank]
        target = tf.where(tf.equal(target, 0), tf.stack([number(size) for size in own]), target)
    return Value(tf.reshape(value.logical, tf.ensure_shape(target, [rank])))


def reshape(value: Value, target: Sequence[Dim]) -> Value:
    """Return a value with other sizes, in its storage if that is possible."""
    groups = _groups(value, target)
    if groups is None or value.stored == tuple(range(value.rank)):
        return Value(reshaped(value.logical, target))
    placed = []
    for old, new in groups:
        places = [value.stored[axis] for axis in old if value.shape[axis] != 1] or [value.stored[old[0]]]
        if places != list(range(places[0], places[0] + len(places))) and not _touching(value, places):
            return Value(reshaped(value.logical, target))
        placed.append((places[0], new))
    order = [axis for _, new in sorted(placed, key=lambda placed_run: placed_run[0]) for axis in new]
    stored = [0] * len(target)
    for place, axis in enumerate(order):
        stored[axis] = place
    return Value(reshaped(value.tensor, [target[axis] for axis in order]), stored)


def _touching(value: Value, places: list[int]) -> bool:
    """True if between these physical axes, in this order, there are only axes of size 1."""
    if places != sorted(places):
        return False
    static = list(value.tensor.shape)
    between = [axis for axis in range(places[0], places[-1] + 1) if axis not in places]
    return all(static[axis] == 1 for axis in between)


def _groups(value: Value, target: Sequence[Dim]) -> list[tuple[list[int], list[int]]] | None:
    """Return runs of old axes and the new axes that hold the same numbers, as short as possible; None: not known."""
    sizes = value.shape
    runs: list[tuple[list[int], list[int]]] = []
    old, new = 0, 0
    while old < len(sizes) and new < len(target):
        old_axes, new_axes = [old], [new]
        left, right = sizes[old], target[new]
        old, new = old + 1, new + 1
        if left is None and isinstance(right, Extent):
            runs.append((old_axes, new_axes))
            continue
        if left is None or isinstance(right, Extent):
            return None
        while left != right:
            if left < right:
                if old == len(sizes) or sizes[old] is None:
                    return None
                left, old_axes, old = left * int(sizes[old] or 0), [*old_axes, old], old + 1
            else:
                following = target[new] if new < len(target) else None
                if not isinstance(following, int):
                    return None
                right, new_axes, new = right * following, [*new_axes, new], new + 1
        runs.append((old_axes, new_axes))
    return _with_ones(runs, sizes, target, old, new)


def _with_ones(
    runs: list[tuple[list[int], list[int]]],
    sizes: Sequence[int | None],
    target: Sequence[Dim],
    old: int,
    new: int,
) -> list[tuple[list[int], list[int]]] | None:
    """Return the runs with the axes of size 1 at the end, which belong to the last run; None: not known."""
    rest, more = list(range(old, len(sizes))), list(range(new, len(target)))
    if not runs or any(sizes[axis] != 1 for axis in rest) or any(target[axis] != 1 for axis in more):
        return None
    old_axes, new_axes = runs[-1]
    return [*runs[:-1], (old_axes + rest, new_axes + more)]


def _numbers(node: Node, value: Value, what: str) -> list[Dim]:
    """Return the numbers of a vector; an Extent for each that only the running model knows."""
    if isinstance(value, Sizes):
        return value.parts
    if value.constant:
        return [int(number) for number in value.array.ravel()]
    count, vector = node.static(value, 0, f"the length of its {what}"), value.logical
    return [Extent(partial(vector.__getitem__, index)) for index in range(count)]


def _target(node: Node, value: Value, numbers: Sequence[Dim]) -> list[Dim]:
    """Return the sizes that a reshape asks for: 0 is the old size, -1 is what is left."""
    sizes = value.sizes
    keeps = not node.flag("allowzero")
    target = [sizes[index] if size == 0 and keeps else size for index, size in enumerate(numbers)]
    if -1 not in target:
        return target
    place = target.index(-1)
    rest = [size for index, size in enumerate(target) if index != place]
    left, right = _without_common(sizes, rest)
    total, part = product(left), product(right)
    if isinstance(total, int) and isinstance(part, int):
        target[place] = total // part if part else 0
    elif isinstance(total, Extent) and part == 1 and total in sizes:
        target[place] = total
    else:
        target[place] = Extent(lambda: tf.math.floordiv(number(total), number(part)))
    return target


def _without_common(sizes: Sequence[Dim], target: Sequence[Dim]) -> tuple[list[Dim], list[Dim]]:
    """Return both lists without the extents that are in both, such as the batch."""
    left, right = list(sizes), []
    for extent in target:
        if isinstance(extent, Extent) and extent in left:
            left.remove(extent)
        elif isinstance(extent, Extent) and (same := [size for size in left if isinstance(size, Extent)]):
            left.remove(same[0])  # one unknown size, written another way
        else:
            right.append(extent)
    return left, right


@since(1)
def Flatten(node: Node, value: Value) -> Value:
    """Build two axes: all before `axis`, and the rest."""
    axis = node.integer("axis", 1)
    axis = axis % value.rank if axis < 0 else axis
    return reshape(value, [product(value.sizes[:axis]), product(value.sizes[axis:])])


@since(1)
def Squeeze(node: Node, value: Value, positions: Value | None = None) -> Value:
    """Build a value without axes of size 1."""
    axes = node.axes(positions)
    if axes is None:
        axes = [axis for axis in range(value.rank) if node.static(value, axis) == 1]
    axes = [axis % value.rank for axis in axes]
    places = [axis for _, axis in sorted((value.stored[axis], axis) for axis in range(value.rank) if axis not in axes)]
    return Value(reshaped(value.tensor, [value.size(axis) for axis in places]), without(value.stored, axes))


@since(1)
def Unsqueeze(node: Node, value: Value, positions: Value | None = None) -> Value:
    """Build a value with new axes of size 1, each stored beside its neighbours if their order allows it."""
    axes = node.axes(positions) or []
    rank = value.rank + len(axes)
    new = {axis % rank for axis in axes}
    old = iter(value.stored)
    keys: list[tuple[float, int]] = []
    before = -1.0
    for axis in range(rank):
        before = before if axis in new else float(next(old))
        keys.append((before + (0.5 if axis in new else 0.0), axis))
    order = [axis for _, axis in sorted(keys)]
    sizes = iter([value._physical(place) for place in range(value.rank)])
    stored = [0] * rank
    for place, axis in enumerate(order):
        stored[axis] = place
    return Value(reshaped(value.tensor, [1 if axis in new else next(sizes) for axis in order]), stored)


@since(4)
def Concat(node: Node, *values: Value) -> Value:
    """Build values one behind the other along an axis."""
    rank = max(value.rank for value in values)
    axis = node.integer("axis") % rank
    moving = [value for value in values if not value.constant] or list(values)
    stored = max(moving, key=lambda value: sum(size or 4096 for size in value.shape)).stored
    return Value(tf.concat([value.to(stored) for value in values], stored[axis]), stored)


@since(2)
def Split(node: Node, value: Value, sizes: Value | None = None) -> tuple[Value, ...]:
    """Build the parts of a value along an axis, as even as possible or of the sizes given."""
    axis = node.integer("axis") % value.rank
    count = node.integer("num_outputs", len(node.outputs))
    size = node.static(value, axis)
    lengths = (
        [int(length) for length in node.known(sizes, "parts").ravel()] if sizes is not None else node.numbers("split")
    )
    if not lengths:
        step = -(-size // count)
        lengths = [min(step, size - step * index) for index in range(count)]
    parts = tf.split(value.tensor, lengths if len(set(lengths)) > 1 else len(lengths), value.stored[axis])
    return tuple(Value(part, value.stored) for part in parts)


@since(1)
def Slice(
    node: Node,
    value: Value,
    starts: Value | None = None,
    ends: Value | None = None,
    axes: Value | None = None,
    steps: Value | None = None,
) -> Value:
    """Build a value cut along axes: from, to and by; attributes before opset 10."""
    begin, end = (
        node.numbers(name) if bounds is None else _numbers(node, bounds, name)
        for name, bounds in (("starts", starts), ("ends", ends))
    )
    along = node.axes(axes) or list(range(len(begin)))
    stride = (
        [int(step_size) for step_size in node.known(steps, "steps").ravel()] if steps is not None else [1] * len(begin)
    )
    cuts: list[Any] = [slice(None)] * value.rank
    for axis, first, last, step in zip(along, begin, end, stride, strict=True):
        cuts[value.stored[axis % value.rank]] = _cut(first, last, step, value.shape[axis % value.rank])
    return Value(value.tensor[tuple(cuts)], value.stored)


def _cut(first: Dim, last: Dim, step: int, size: int | None) -> slice:
    """Return Python's slice; an end beyond 32 bits, or beyond the size, is the axis's end."""

    def bound(place: Dim) -> Any:
        if isinstance(place, Extent):
            return place.tensor
        if size is not None and step > 0:
            return None if place >= size else max(place, -size)
        return None if abs(place) >= 2**31 - 1 else place

    if isinstance(first, int) and step < 0 and size is not None:
        first = min(first, size - 1)
        if isinstance(last, int) and (last < -size or (last == -size - 1)):
            return slice(first, None, step)
        return slice(first, bound(last), step)
    if isinstance(first, int) and size is not None and first >= size:
        return slice(0, 0, step)
    return slice(bound(first), bound(last), step)


@since(1)
def Pad(node: Node, value: Value, *rest: Value | None) -> Value:
    """Build a value with more at the ends of axes, or less; attributes before opset 11."""
    pads, filler, positions = (*rest, None, None, None)[:3]
    widths = [int(width) for width in node.known(pads, "widths").ravel()] if pads is not None else node.numbers("pads")
    axes = [axis % value.rank for axis in node.axes(positions) or range(value.rank)]
    mode = node.text("mode", "constant")
    constant: Any = filler.tensor if filler is not None else np.array(node.real("value"))
    around = [(0, 0)] * value.rank
    for index, axis in enumerate(axes):
        around[value.stored[axis]] = (widths[index], widths[index + len(axes)])
    tensor = value.tensor
    if any(width < 0 for pair in around for width in pair):
        tensor = tensor[tuple(slice(max(0, -low), None if high >= 0 else high) for low, high in around)]
        around = [(max(0, low), max(0, high)) for low, high in around]
    return Value(padded(node, tensor, around, mode, constant), value.stored)


def padded(node: Node, tensor: Any, around: Sequence[tuple[int, int]], mode: str, constant: Any = 0) -> Any:
    """Return a tensor with more at the ends of its physical axes: a constant, its mirror image, edge or other end."""
    if not any(low or high for low, high in around):
        return tf.identity(tensor)
    if mode == "constant":
        if isinstance(constant, np.ndarray) and not constant.any():
            return tf.pad(tensor, around)
        return tf.pad(tensor, around, constant_values=tf.reshape(tf.cast(constant, tensor.dtype), []))
    if mode not in {"reflect", "edge", "wrap"}:
        raise node.refused(f"mode {mode}")
    for axis, (low, high) in enumerate(around):
        if low or high:
            tensor = _along(node, tensor, axis, low, high, mode)
    return tensor


def _along(node: Node, tensor: Any, axis: int, low: int, high: int, mode: str) -> Any:
    size = tensor.shape[axis]
    if size is None:
        raise node.refused(f"mode {mode} along a dynamic axis")
    if mode == "reflect" and max(low, high) < size:
        around = [(0, 0)] * len(tensor.shape)
        around[axis] = (low, high)
        return tf.pad(tensor, around, "REFLECT")
    places = np.arange(-low, size + high)
    if mode == "edge":
        places = places.clip(0, size - 1)
    elif mode == "wrap":
        places %= size
    else:
        places = np.abs((places + size - 1) % max(1, 2 * (size - 1)) - (size - 1))
    return taken(tensor, axis, places)


def taken(tensor: Any, axis: int, places: Array) -> Any:
    """Return slices at known places along an axis: joined runs if those are few, else gathered."""
    jumps = np.flatnonzero(np.diff(places) != 1) + 1
    runs = np.split(places, jumps)
    if len(runs) > 8:
        return tf.gather(tensor, narrow(places), axis=axis)
    front = (slice(None),) * axis
    return tf.concat([tensor[(*front, slice(int(run[0]), int(run[-1]) + 1))] for run in runs], axis)


@since(8)
def Expand(node: Node, value: Value, shape: Value) -> Value:
    """Build a value repeated along axes of size 1, as in broadcasting."""
    numbers = _numbers(node, shape, "shape")
    (tensor, _), stored = broadcast([value, Value(np.zeros((1,) * len(numbers), bool))])
    same = Value(tensor, stored)
    sizes = [1] * (same.rank - len(numbers)) + list(numbers)
    target: list[Dim] = [0] * same.rank
    repeated = False
    for axis, size in enumerate(sizes):
        own = same.shape[axis]
        target[stored[axis]] = size if own == 1 else same.size(axis)
        repeated |= own == 1 and size != 1
        if own is None and not isinstance(size, Extent) and size != 1:
            raise node.refused("it repeats along an axis that may or may not have size 1")
    if not repeated:
        return Value(tf.identity(tensor), stored)
    return Value(_repeated(tensor, target), stored)


def _repeated(tensor: Any, target: Sequence[Dim]) -> Any:
    if all(isinstance(size, int) for size in target):
        return tf.broadcast_to(tensor, [int(number(size)) for size in target])
    static = list(tensor.shape)
    if not any(isinstance(size, Extent) and own == 1 for size, own in zip(target, static, strict=True)):
        return tf.tile(tensor, [number(size) if own == 1 else 1 for size, own in zip(target, static, strict=True)])
    result = tf.broadcast_to(tensor, tf.stack([number(size) for size in target]))
    result.set_shape([None if isinstance(size, Extent) else size for size in target])
    return result


@since(6)
def Tile(node: Node, value: Value, repeats: Value) -> Value:
    """Build the whole tensor again and again along each axis."""
    counts = _numbers(node, repeats, "repeats")
    physical: list[Dim] = [1] * value.rank
    for axis, count in enumerate(counts):
        physical[value.stored[axis]] = count
    if all(isinstance(count, int) for count in physical):
        return value.over(lambda tensor: tf.tile(tensor, [int(number(count)) for count in physical]))
    return value.over(lambda tensor: tf.tile(tensor, tf.stack([number(count) for count in physical])))


@since(1)
def Shape(node: Node, value: Value) -> Value:
    """Build the sizes of a value, as numbers where they are known."""
    first = node.integer("start")
    last = node.integer("end", value.rank)
    return whole(value.sizes[first:last])


@since(1)
def Size(node: Node, value: Value) -> Value:
    """Build the number of elements."""
    return whole([product(value.sizes)], 0)


@since(9)
def ConstantOfShape(node: Node, shape: Value) -> Value:
    """Build a tensor of one number everywhere."""
    filler = np.ravel(node.attributes.get("value", np.zeros(1, np.float32)))[0]
    sizes = _numbers(node, shape, "shape")
    if all(isinstance(size, int) for size in sizes):
        return Value(np.full([int(number(size)) for size in sizes], filler))
    result = tf.fill(tf.stack([number(size) for size in sizes]), tf.cast(filler, running(filler.dtype)))
    result.set_shape([None if isinstance(size, Extent) else size for size in sizes])
    return Value(result)


@since(11)
def Range(node: Node, start: Value, limit: Value, delta: Value) -> Value:
    """Build numbers from, to and by."""
    return Value(tf.range(start.logical, limit.logical, delta.logical))


@since(9)
def EyeLike(node: Node, value: Value) -> Value:
    """Build 1 on a diagonal, 0 elsewhere."""
    rows, columns = (node.static(value, axis) for axis in (0, 1))
    kind = node.outputs[0].dtype or value.dtype
    return Value(np.eye(rows, columns, node.integer("k"), kind.as_numpy_dtype))


@since(14)
def Trilu(node: Node, value: Value, diagonal: Value | None = None) -> Value:
    """Build the upper or the lower triangle of the last two axes, 0 elsewhere."""
    offset = int(node.known(diagonal, "k").item()) if diagonal is not None else 0
    rows, columns = (node.static(value, axis) for axis in (-2, -1))
    ones = np.ones((rows, columns), bool)
    mask = np.triu(ones, offset) if node.flag("upper", True) else np.tril(ones, offset)
    (tensor, inside), stored = broadcast([value, Value(mask.reshape((1,) * (value.rank - 2) + mask.shape))])
    return Value(tf.where(inside, tensor, tf.zeros_like(tensor)), stored)


@since(1)
def DepthToSpace(node: Node, value: Value) -> Value:
    """Build (N, C / b², H · b, W · b) from (N, C, H, W)."""
    block = node.integer("blocksize")
    channels, height, width = (node.static(value, axis) for axis in (1, 2, 3))
    depth = channels // block**2
    if node.text("mode", "DCR") == "DCR":
        return Value(tf.nn.depth_to_space(value.last, block), channels_last(4))
    # The depth is outermost among the channels: gather it innermost, and it is the other mode.
    order = np.arange(channels).reshape(depth, block * block).T.ravel()
    tensor = tf.gather(value.last, order.astype(np.int32), axis=3)
    tensor.set_shape([value.shape[0], height, width, channels])
    return Value(tf.nn.depth_to_space(tensor, block), channels_last(4))


@since(1)
def SpaceToDepth(node: Node, value: Value) -> Value:
    """Build (N, C · b², H / b, W / b) from (N, C, H, W)."""
    return Value(tf.nn.space_to_depth(value.last, node.integer("blocksize")), channels_last(4))


@since(18)
def CenterCropPad(node: Node, value: Value, shape: Value) -> Value:
    """Build a value cut, or padded with zeros, around the middle."""
    target = [int(size) for size in node.known(shape, "shape").ravel()]
    axes = [axis % value.rank for axis in node.axes(None) or range(value.rank)]
    tensor, around, cuts = value.tensor, [(0, 0)] * value.rank, [slice(None)] * value.rank
    for axis, size in zip(axes, target, strict=True):
        more, place = size - node.static(value, axis), value.stored[axis]
        if more > 0:
            around[place] = (more // 2, more - more // 2)
        elif more < 0:
            first = -more // 2
            cuts[place] = slice(first, first + size)
    return Value(tf.pad(tensor[tuple(cuts)], around), value.stored)


@since(10)
def ReverseSequence(node: Node, value: Value, lengths: Value) -> Value:
    """Build the first elements along the time axis in reverse order, as many as each sample says."""
    time, batch = node.integer("time_axis"), node.integer("batch_axis", 1)
    return Value(
        tf.reverse_sequence(value.tensor, lengths.logical, seq_axis=value.stored[time], batch_axis=value.stored[batch]),
        value.stored,
    )
