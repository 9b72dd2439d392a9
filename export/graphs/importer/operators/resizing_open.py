"""Resizing along axes of which the running model alone knows a size: the places are computed in the graph."""

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.experimental import numpy as tnp

from export.graphs.importer.interpolation import ROUNDING, Rule, shares
from export.graphs.importer.node import Node
from export.graphs.importer.value import Dim, Extent, Sizes, Value, channels_last, number, product


@dataclass(frozen=True)
class OpenAxis:
    """How an axis is resized of which the running model alone knows a size."""

    before: Dim
    after: Dim
    scale: float | None
    """None: after by before."""

    @property
    def exact(self) -> bool:
        """True if the scale is the sizes' ratio, whatever they are."""
        return self.scale is None or self.scale == int(self.scale)


def open_axes(node: Node, value: Value, scales: Value | None, sizes: Value | None) -> dict[int, OpenAxis]:
    """Return the axes that change, where the running model alone knows a size of one; empty: all are known.

    The batch stays what it is, and so does an axis whose size goes where it came from.
    """
    axes = [axis % value.rank for axis in node.axes(None) or range(value.rank)]
    if sizes is None or sizes.shape == (0,):
        factors = {axis: float(scale) for axis, scale in zip(axes, node.known(scales, "scales").ravel(), strict=True)}
        found = scaled(value, {axis: scale for axis, scale in factors.items() if scale != 1})
    else:
        found = {
            axis: OpenAxis(value.size(axis), size, None)
            for axis, size in zip(axes, asked(node, sizes), strict=True)
            if axis != 0 or (isinstance(size, int) and value.shape[0] is not None)
        }
        found = {axis: one for axis, one in found.items() if isinstance(one.after, Extent) or one.after != one.before}
    return found if any(isinstance(size, Extent) for one in found.values() for size in (one.before, one.after)) else {}


def asked(node: Node, sizes: Value) -> list[Dim]:
    """Return the sizes that a model asks for, one by one; ONNX's inference fills in some that depend on the input."""
    parts = sizes.parts if isinstance(sizes, Sizes) else [int(size) for size in node.known(sizes, "sizes").ravel()]
    inferred = node.outputs[0].shape
    axes = node.axes(None) or range(len(parts))
    known = [inferred[axis] if inferred else None for axis in axes]
    return [
        size if isinstance(size, int) or filled is None else filled for size, filled in zip(parts, known, strict=True)
    ]


def scaled(value: Value, factors: dict[int, float]) -> dict[int, OpenAxis]:
    """Return the axes that change by these scales."""
    return {axis: OpenAxis(value.size(axis), _times(value.size(axis), scale), scale) for axis, scale in factors.items()}


def _times(size: Dim, scale: float) -> Dim:
    """Return a size by a scale, rounded down."""
    if isinstance(size, int):
        return math.floor(size * scale)
    if scale == int(scale):
        return product([size, int(scale)])
    return Extent(lambda: tf.floor(tf.cast(size.tensor, tf.float32) * scale))


def resized(node: Node, value: Value, axes: dict[int, OpenAxis], rule: Rule) -> Value:
    """Return a value resized along axes whose sizes the running model knows."""
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    for what, there in {
        "antialias": not rule.antialias,
        policy: policy == "stretch",
        rule.coordinates: rule.coordinates in {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"},
    }.items():
        if not there:
            raise node.refused(f"{what}, where a size depends on the input. Export the model with one size")
    image = value.rank == 4 and set(axes) <= {2, 3} and value.dtype == tf.float32
    if image and all(axis.exact for axis in axes.values()):
        sizes = [number(axes[axis].after) if axis in axes else number(value.size(axis)) for axis in (2, 3)]
        if rule.mode == "linear" and not rule.exclude_outside:
            tensor = value.last
            if rule.coordinates == "pytorch_half_pixel":
                tensor = _firsts(tensor, axes)
            resize = tf.raw_ops.ResizeBilinear(
                images=tensor, size=sizes, align_corners=rule.coordinates == "align_corners",
                half_pixel_centers=rule.coordinates in {"half_pixel", "pytorch_half_pixel"},
            )  # fmt: skip
            return Value(resize, channels_last(4))
        if rule.mode == "nearest" and rule.coordinates == "asymmetric" and rule.nearest == "floor":
            return Value(tf.raw_ops.ResizeNearestNeighbor(images=value.last, size=sizes), channels_last(4))
    tensor = value.tensor if rule.mode == "nearest" else tf.cast(value.tensor, tf.float32)
    for axis, change in axes.items():
        tensor = _tapped(tensor, value.stored[axis], change, rule)
    return Value(tf.cast(tensor, value.dtype), value.stored)


def _firsts(tensor: Any, axes: dict[int, OpenAxis]) -> Any:
    """Return an image, channels last, of whose axes that become one pixel the first pixel alone is left."""
    ends = {axis: tf.where(number(one.after) > 1, number(one.before), 1) for axis, one in axes.items()}
    return tensor[:, : ends.get(2), : ends.get(3)]


def _tapped(tensor: Any, place: int, axis: OpenAxis, rule: Rule) -> Any:
    """Return a tensor whose physical axis is resized by gathering its pixels as often as each new one has parts."""
    before, after = number(axis.before), number(axis.after)
    scale = axis.scale or tf.cast(after, tf.float32) / tf.cast(before, tf.float32)
    where = _coordinates(tf.cast(tf.range(after), tf.float32), before, after, scale, rule)

    def gathered(index: Any) -> Any:
        return tf.gather(tensor, tf.clip_by_value(tf.cast(index, tf.int32), 0, before - 1), axis=place)

    if rule.mode == "nearest":
        return gathered(ROUNDING[rule.nearest](where, tnp))
    first = tf.floor(where)
    taps = [first + offset for offset in ((0, 1) if rule.mode == "linear" else (-1, 0, 1, 2))]
    parts = [shares(where - tap, rule, tnp) for tap in taps]
    if rule.exclude_outside:
        last = tf.cast(before - 1, tf.float32)
        parts = [tf.where((tap < 0) | (tap > last), 0.0, part) for tap, part in zip(taps, parts, strict=True)]
        parts = [part / tf.add_n(parts) for part in parts]
    along = [-1 if other == place else 1 for other in range(len(tensor.shape))]
    return tf.add_n([gathered(tap) * tf.reshape(part, along) for tap, part in zip(taps, parts, strict=True)])


def _coordinates(new: Any, before: Any, after: Any, scale: Any, rule: Rule) -> Any:
    """Return (after,) float32: where in the old axis each new place lies, as `coordinates` has it."""
    if rule.coordinates == "asymmetric":
        return new / scale
    if rule.coordinates == "align_corners":
        return new * tf.cast(before - 1, tf.float32) / tf.cast(tf.maximum(after - 1, 1), tf.float32)
    where = (new + 0.5) / scale - 0.5
    return tf.where(after > 1, where, tf.zeros_like(where)) if rule.coordinates == "pytorch_half_pixel" else where
