"""Resizing along axes: by TensorFlow's operator where it means the same, else by a matrix or by places an axis."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.interpolation import Axis, Rule, places, weights
from export.graphs.importer.node import Node, narrow, since
from export.graphs.importer.operators import resizing_open
from export.graphs.importer.value import Value, channels_last, product, reshaped
from records.tensor import Array


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
    unknown = resizing_open.open_axes(node, value, scales, sizes)
    if unknown:
        return resizing_open.resized(node, value, unknown, rule)
    return resized(node, value, _axes(node, value, roi, scales, sizes), rule)


@since(7)
def Upsample(node: Node, value: Value, scales: Value | None = None) -> Value:
    """Build a resizing by scales, as it was named before Resize."""
    factors = node.known(scales, "scales").ravel() if scales is not None else np.array(node.attributes["scales"])
    rule = Rule(node.text("mode", "nearest"), "asymmetric", "floor", -0.75, False, False, 0)
    changed = {axis: float(factor) for axis, factor in enumerate(factors) if factor != 1}
    if any(value.shape[axis] is None for axis in changed):
        return resizing_open.resized(node, value, resizing_open.scaled(value, changed), rule)
    axes = {
        axis: Axis(size := node.static(value, axis), math.floor(size * factor), factor)
        for axis, factor in changed.items()
    }
    return resized(node, value, axes, rule)


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
    """Return the sizes that are asked for, by axis; the batch stays what it is."""
    asked = zip(axes, resizing_open.asked(node, sizes), strict=True)
    sizes_out = {axis: size for axis, size in asked if isinstance(size, int) and value.shape[axis] is not None}
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
