"""Resizing along axes: by TensorFlow's operator where it means the same, else by a matrix or by places an axis."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, narrow, since
from export.graphs.importer.value import Extent, Sizes, Value, channels_last, product, reshaped
from records.tensor import Array


@dataclass(frozen=True)
class Axis:
    """How one axis is resized."""

    before: int
    after: int
    scale: float
    """after by before, as the model says it, which is not always the sizes' ratio."""
    start: float = 0.0
    end: float = 1.0
    """Of the part that `tf_crop_and_resize` takes."""


@dataclass(frozen=True)
class Rule:
    """What is the same for all axes."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    exclude_outside: bool
    antialias: bool
    outside: float
    """For `tf_crop_and_resize`."""


@since(10)
def Resize(node: Node, value: Value, *rest: Value | None) -> Value:
    """Build a resizing by scales or to sizes, of some axes or all."""
    roi, scales, sizes = (None, rest[0], None) if node.opset < 11 else (*rest, None, None, None)[:3]
    rule = Rule(
        mode=node.text("mode", "nearest"),
        coordinates=node.text("coordinate_transformation_mode", "half_pixel" if node.opset >= 11 else "asymmetric"),
        nearest=node.text("nearest_mode", "round_prefer_floor" if node.opset >= 11 else "floor"),
        cubic=node.real("cubic_coeff_a", -0.75),
        exclude_outside=node.flag("exclude_outside"),
        antialias=node.flag("antialias"),
        outside=node.real("extrapolation_value"),
    )
    return resized(node, value, _axes(node, value, roi, scales, sizes), rule)


@since(7)
def Upsample(node: Node, value: Value, scales: Value | None = None) -> Value:
    """Build a resizing by scales, as it was named before Resize."""
    factors = node.known(scales, "scales").ravel() if scales is not None else np.array(node.attributes["scales"])
    axes = {
        axis: Axis(size := node.static(value, axis), math.floor(size * float(factor)), float(factor))
        for axis, factor in enumerate(factors)
        if factor != 1
    }
    return resized(node, value, axes, Rule(node.text("mode", "nearest"), "asymmetric", "floor", -0.75, False, False, 0))


def _axes(node: Node, value: Value, roi: Value | None, scales: Value | None, sizes: Value | None) -> dict[int, Axis]:
    """Return the axes that change, with their sizes before and after."""
    axes = [axis % value.rank for axis in node.axes(None) or range(value.rank)]
    parts = node.known(roi, "region").ravel() if roi is not None and roi.shape != (0,) else None
    cropped = node.text("coordinate_transformation_mode") == "tf_crop_and_resize" and parts is not None
    if sizes is not None and sizes.shape != (0,):
        sizes_out = _target_sizes(node, value, axes, sizes)
        ratios = {axis: size / node.static(value, axis) for axis, size in sizes_out.items()}
    else:
        factors = node.known(scales, "scales").ravel()
        ratios = {axis: float(scale) for axis, scale in zip(axes, factors, strict=True) if scale != 1 or cropped}
        sizes_out = {axis: math.floor(node.static(value, axis) * scale) for axis, scale in ratios.items()}
    changes = {}
    for axis, size in sizes_out.items():
        place = axes.index(axis)
        start, end = (float(parts[place]), float(parts[place + len(axes)])) if cropped and parts is not None else (0, 1)
        if size != value.shape[axis] or ratios[axis] != 1 or (start, end) != (0, 1):
            changes[axis] = Axis(node.static(value, axis), size, ratios[axis], start, end)
    return changes


def _target_sizes(node: Node, value: Value, axes: list[int], sizes: Value) -> dict[int, int]:
    """Return the sizes that are asked for, by axis; ONNX's inference fills in some that depend on the input."""
    parts = sizes.parts if isinstance(sizes, Sizes) else list(node.known(sizes, "sizes").ravel())
    inferred = node.outputs[0].shape
    sizes_out: dict[int, int] = {}
    for axis, size in zip(axes, parts, strict=True):
        extent = size if not isinstance(size, Extent) else inferred[axis] if inferred else None
        if extent is None and value.shape[axis] is None and axis == 0:
            continue  # the batch
        if extent is None:
            raise node.refused(f"the size it is to give to axis {axis} depends on the input")
        if value.shape[axis] is not None:
            sizes_out[axis] = int(extent)
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        choose = min if policy == "not_larger" else max
        scale = choose(size / node.static(value, axis) for axis, size in sizes_out.items())
        sizes_out = {axis: math.floor(node.static(value, axis) * scale + 0.5) for axis in sizes_out}
    return sizes_out


def resized(node: Node, value: Value, axes: dict[int, Axis], rule: Rule) -> Value:
    """Return a value resized along axes, one after the other."""
    if rule.mode == "nearest":
        return _nearest(value, axes, rule)
    if _builtin(value, axes, rule):
        size = [axes[axis].after if axis in axes else node.static(value, axis) for axis in (2, 3)]
        image = tf.raw_ops.ResizeBilinear(
            images=value.last, size=size, align_corners=rule.coordinates == "align_corners",
            half_pixel_centers=rule.coordinates in {"half_pixel", "pytorch_half_pixel"},
        )  # fmt: skip
        return Value(image, channels_last(4))
    tensor, outside = value.tensor, None
    for axis, change in axes.items():
        matrix, beyond = weights(change, rule)
        tensor = _mixed(tensor, value.stored[axis], matrix.astype(np.float32))
        outside = _joined(outside, beyond, value.stored[axis], value.rank) if beyond.any() else outside
    if outside is not None:
        tensor = tf.where(outside, tf.constant(rule.outside, tensor.dtype), tensor)
    return Value(tf.cast(tensor, value.dtype), value.stored)


def _joined(earlier: Array | None, beyond: Array, place: int, rank: int) -> Array:
    shaped = beyond.reshape([-1 if axis == place else 1 for axis in range(rank)])
    return shaped if earlier is None else np.asarray(earlier | shaped)


def _builtin(value: Value, axes: dict[int, Axis], rule: Rule) -> bool:
    """True if TensorFlow's bilinear operator, and TFLite's and TF.js', compute the very same."""
    if rule.mode != "linear" or rule.antialias or rule.exclude_outside or value.rank != 4 or not set(axes) <= {2, 3}:
        return False
    if value.dtype != tf.float32 or any(abs(axis.scale - axis.after / axis.before) > 1e-6 for axis in axes.values()):
        return False
    if rule.coordinates == "pytorch_half_pixel":
        return all(axis.after > 1 for axis in axes.values())
    return rule.coordinates in {"half_pixel", "align_corners", "asymmetric"}


def _nearest(value: Value, axes: dict[int, Axis], rule: Rule) -> Value:
    """Return a value of whole pixels: repeated, or gathered from where they are."""
    repeated = all(
        change.after % change.before == 0
        and (places(change, rule) == np.arange(change.after) // (change.after // change.before)).all()
        for change in axes.values()
    )
    if repeated and value.rank == 4 and set(axes) <= {2, 3} and value.dtype == tf.float32:
        size = [axes[axis].after if axis in axes else int(value.shape[axis] or 0) for axis in (2, 3)]
        if 0 not in size:
            image = tf.raw_ops.ResizeNearestNeighbor(images=value.last, size=size)
            return Value(image, channels_last(4))
    tensor = value.tensor
    for axis, change in axes.items():
        tensor = tf.gather(tensor, narrow(places(change, rule).astype(np.int64)), axis=value.stored[axis])
    return Value(tensor, value.stored)


def coordinates(axis: Axis, rule: Rule) -> Array:
    """Return (after,) float64: where in the old axis each new place lies."""
    new = np.arange(axis.after, dtype=np.float64)
    wide = axis.scale * axis.before
    match rule.coordinates:
        case "asymmetric":
            return new / axis.scale
        case "align_corners":
            return new * (axis.before - 1) / (wide - 1) if wide > 1 else new * 0
        case "pytorch_half_pixel" if wide <= 1:
            return new * 0
        case "half_pixel_symmetric":
            moved = axis.before / 2 * (1 - axis.after / wide)
            return moved + (new + 0.5) / axis.scale - 0.5
        case "tf_crop_and_resize":
            first, last = axis.start * (axis.before - 1), axis.end * (axis.before - 1)
            return first + new * (last - first) / (wide - 1) if wide > 1 else new * 0 + (first + last) / 2
    return (new + 0.5) / axis.scale - 0.5


ROUNDING: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda place: np.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: np.floor(place + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def places(axis: Axis, rule: Rule) -> Array:
    """Return (after,) int: which old pixel each new one is."""
    rounded = ROUNDING[rule.nearest](coordinates(axis, rule))
    return np.asarray(rounded.clip(0, axis.before - 1).astype(np.int64))


def weights(axis: Axis, rule: Rule) -> tuple[Array, Array]:
    """Return (after, before) float64, and (after,) bool: true for places outside of all old ones."""
    place = coordinates(axis, rule)
    shrink = min(axis.scale, 1.0) if rule.antialias else 1.0
    support = (1 if rule.mode == "linear" else 2) / shrink
    matrix = np.zeros((axis.after, axis.before))
    for row, centre in enumerate(place):
        taps = np.arange(math.floor(centre - support) + 1, math.ceil(centre + support) + 1)
        shares = _shares((taps - centre) * shrink, rule)
        inside = (taps >= 0) & (taps < axis.before)
        if rule.exclude_outside:
            shares = shares * inside
        if shares.sum():
            shares = shares / shares.sum()
        np.add.at(matrix[row], taps.clip(0, axis.before - 1), shares)
    beyond = (place < 0) | (place > axis.before - 1)
    return matrix, beyond if rule.coordinates == "tf_crop_and_resize" else np.zeros_like(beyond)


def _shares(apart: Array, rule: Rule) -> Array:
    """Return how much a pixel counts that lies so far away; cubic: R. Keys, 1981, with a = `cubic_coeff_a`."""
    far, a = np.abs(apart), rule.cubic
    if rule.mode == "linear":
        return np.asarray(np.maximum(1 - far, 0))
    near = ((a + 2) * far - (a + 3)) * far * far + 1
    next_to = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    return np.asarray(np.where(far <= 1, near, np.where(far < 2, next_to, 0)))


def _mixed(tensor: Any, place: int, matrix: Array) -> Any:
    """Return a tensor with a physical axis multiplied by a matrix (after, before)."""
    kind = tf.as_dtype(tensor.dtype)
    wide = tensor if kind == tf.float32 else tf.cast(tensor, tf.float32)
    sizes = Value(wide).sizes
    if place == len(sizes) - 1:
        rows = reshaped(wide, [product(sizes[:-1]), sizes[-1]])
        return reshaped(tf.matmul(rows, np.ascontiguousarray(matrix.T)), [*sizes[:-1], len(matrix)])
    three = reshaped(wide, [product(sizes[:place]), sizes[place], product(sizes[place + 1 :])])
    return reshaped(tf.matmul(matrix[None], three), [*sizes[:place], len(matrix), *sizes[place + 1 :]])
