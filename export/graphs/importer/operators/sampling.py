"""Images read at places between pixels, from one flat table: grids, affine grids, regions of interest."""

import itertools
from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.operators.indexing import ladder, rows
from export.graphs.importer.operators.shape import _numbers
from export.graphs.importer.value import Extent, Value, channels_last, number, reshaped
from records.tensor import Array

Tap = tuple[Any, Any]
"""Whole places along an axis and how much each counts."""


@since(16)
def GridSample(node: Node, image: Value, grid: Value) -> Value:
    """Build (N, C, …) read at the places of a grid (N, …, axes) from -1 to 1, x first."""
    axes = image.rank - 2
    mode = node.text("mode", "linear").removeprefix("bi").replace("cubic", "cubic")
    beyond, corners = node.text("padding_mode", "zeros"), node.flag("align_corners")
    sizes = [node.static(image, 2 + axis, f"axis {2 + axis} of the image it reads") for axis in range(axes)]
    places = grid.logical
    taps = []
    for axis, size in enumerate(sizes):
        place = _pixels(places[..., axes - 1 - axis], size, corners)
        if beyond != "zeros" and mode != "cubic":
            place = _brought_in(place, size, beyond, corners)
        taps.append([_inside(*tap, size, beyond, corners) for tap in _taps(place, mode)])
    table, whole = rows(image)
    start = ladder(whole[0], 0, axes + 1)
    return Value(_read(table, sizes, start, taps), channels_last(image.rank))


def _pixels(place: Any, size: int, corners: bool) -> Any:
    """Return places from -1 … 1 in pixels; the ends are the outer pixels' centres if `corners`, else their edges."""
    return (place + 1) * ((size - 1) / 2) if corners else ((place + 1) * size - 1) * 0.5


def _brought_in(place: Any, size: int, beyond: str, corners: bool) -> Any:
    """Return places inside the image; those outside are moved to the edge or mirrored at it."""
    if beyond == "reflection":
        low, high = (0.0, float(size - 1)) if corners else (-0.5, size - 0.5)
        place = _mirrored(place, low, high)
    return tf.minimum(tf.maximum(place, 0.0), float(size - 1))


def _mirrored(place: Any, low: float, high: float) -> Any:
    span = high - low
    if span <= 0:
        return tf.zeros_like(place)
    apart = tf.abs(place - low)
    turns = tf.floor(apart / span)
    rest = apart - turns * span
    returning = turns - 2 * tf.floor(turns / 2)
    return low + rest + returning * (span - 2 * rest)


def _taps(place: Any, mode: str) -> list[Tap]:
    """Return the pixels that are read around a place, as float numbers, and their shares."""
    if mode == "nearest":
        return [(tf.round(place), None)]
    first = tf.floor(place)
    rest = place - first
    if mode == "linear":
        return [(first, 1 - rest), (first + 1, rest)]
    a = -0.75
    far = [rest + 1, rest, 1 - rest, 2 - rest]
    outer = [((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a for distance in (far[0], far[3])]
    inner = [((a + 2) * distance - (a + 3)) * distance * distance + 1 for distance in (far[1], far[2])]
    shares = [outer[0], inner[0], inner[1], outer[1]]
    return [(first + step, share) for step, share in zip((-1, 0, 1, 2), shares, strict=True)]


def _inside(place: Any, share: Any, size: int, beyond: str, corners: bool) -> Tap:
    """Return a tap with its pixel inside the image; a pixel outside counts nothing, or is another one."""
    if beyond == "reflection":
        place = _mirrored(place, *((0.0, float(size - 1)) if corners else (-0.5, size - 0.5)))
    held = tf.minimum(tf.maximum(place, 0.0), float(size - 1))
    if beyond == "zeros":
        within = tf.cast(tf.equal(held, place), place.dtype)
        share = within if share is None else share * within
    return tf.cast(tf.round(held), tf.int32), share


def _read(table: Any, sizes: list[int], start: Any, taps: list[list[Tap]]) -> Any:
    """Return the sum over all combinations of taps. start: number of the image, as it is broadcast to the places."""
    total: Any = None
    for chosen in itertools.product(*taps):
        index, share = start, None
        for size, (place, part) in zip(sizes, chosen, strict=True):
            index = index * size + place
            share = part if share is None else share if part is None else share * part
        pixels = tf.gather(table, index)
        pixels = pixels if share is None else pixels * tf.expand_dims(share, -1)
        total = pixels if total is None else total + pixels
    return total


@since(20)
def AffineGrid(node: Node, theta: Value, size: Value) -> Value:
    """Build a grid of places from -1 to 1 from matrices (N, 2, 3) or (N, 3, 4)."""
    sizes = _numbers(node, size, "size")
    extents = [extent for extent in sizes[2:] if isinstance(extent, int)]
    if len(extents) < len(sizes) - 2:
        raise node.refused("the size of its grid depends on the input")
    base = _base(extents, node.flag("align_corners")).astype(theta.dtype.as_numpy_dtype)
    points = base.reshape(-1, base.shape[-1]).T  # (axes + 1, places)
    points_out = tf.matmul(theta.logical, np.ascontiguousarray(points)[None])
    turned = tf.transpose(points_out, [0, 2, 1])
    batch = theta.size(0) if isinstance(sizes[0], Extent) or sizes[0] == theta.shape[0] else sizes[0]
    return Value(reshaped(turned, [batch, *extents, len(extents)]))


def _base(extents: list[int], corners: bool) -> Array:
    """Return the places of a grid that is not moved, (…, axes + 1): x first, and a 1 at the end."""
    lines = []
    for size in extents:
        step = np.linspace(-1, 1, size) if corners else (np.arange(size) * 2 + 1) / size - 1
        lines.append(step if size > 1 or not corners else np.zeros(1))
    grids = np.meshgrid(*lines, indexing="ij")
    return np.stack([*grids[::-1], np.ones_like(grids[0])], -1)


@since(10)
def RoiAlign(node: Node, image: Value, regions: Value, numbers: Value) -> Value:
    """Build means or maxima of points in regions: (R, C, height, width).

    image: (N, C, H, W). regions: (R, 4) as x1, y1, x2, y2. numbers: (R,), of the image of each.
    """
    ratio = node.integer("sampling_ratio")
    if ratio < 1:
        raise node.refused("sampling_ratio 0 makes the number of points depend on the input. Give it a number")
    height, width = node.integer("output_height", 1), node.integer("output_width", 1)
    half = node.text("coordinate_transformation_mode", "half_pixel" if node.opset >= 16 else "output_half_pixel")
    boxes = regions.logical * node.real("spatial_scale", 1.0) - (0.5 if half == "half_pixel" else 0.0)
    taps = []
    for axis, (count, size) in enumerate(((height, node.static(image, 2)), (width, node.static(image, 3)))):
        first, last = boxes[:, 1 - axis], boxes[:, 3 - axis]
        long = last - first if half == "half_pixel" else tf.maximum(last - first, 1.0)
        steps = (np.arange(count * ratio, dtype=np.float32) + 0.5) / (count * ratio)
        place = first[:, None] + long[:, None] * steps
        shaped = tf.reshape(place, [-1, count * ratio, 1] if axis == 0 else [-1, 1, count * ratio])
        taps.append(_clamped_taps(shaped, size))
    table, whole = rows(image)
    start = tf.reshape(tf.cast(numbers.logical, tf.int32), [-1, 1, 1])
    sizes = [int(number(extent)) for extent in whole[1:]]
    if node.text("mode", "avg") == "max":
        return _greatest(node, table, sizes, start, taps, (height, width, ratio), image, regions)
    points = _read(table, sizes, start, taps)
    split = reshaped(points, [regions.size(0), height, ratio, width, ratio, image.size(1)])
    return Value(tf.reduce_mean(split, [2, 4]), channels_last(4))


def _clamped_taps(place: Any, size: int) -> list[Tap]:
    """Return the two pixels around a place; a place more than one pixel outside counts nothing."""
    valid = tf.cast(tf.logical_and(place >= -1.0, place <= float(size)), place.dtype)
    held = tf.maximum(place, 0.0)
    first = tf.minimum(tf.floor(held), float(size - 1))
    rest = tf.where(first >= size - 1, tf.zeros_like(held), held - first)
    second = tf.minimum(first + 1, float(size - 1))
    return [(tf.cast(first, tf.int32), (1 - rest) * valid), (tf.cast(second, tf.int32), rest * valid)]


def _greatest(
    node: Node,
    table: Any,
    sizes: list[int],
    start: Any,
    taps: list[list[Tap]],
    window: tuple[int, int, int],
    image: Value,
    regions: Value,
) -> Value:
    """Return the greatest of the weighted pixels themselves, as ONNX has it, not of their sums."""
    height, width, ratio = window
    parts = [_read(table, sizes, start, [[row], [column]]) for row in taps[0] for column in taps[1]]
    greatest = parts[0]
    for part in parts[1:]:
        greatest = tf.maximum(greatest, part)
    split = reshaped(greatest, [regions.size(0), height, ratio, width, ratio, image.size(1)])
    return Value(tf.reduce_max(split, [2, 4]), channels_last(4))
