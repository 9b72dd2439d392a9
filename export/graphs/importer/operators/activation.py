"""Activations, in forms that TFLite's converter knows and that TensorFlow's optimizer makes no other function of."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.operators.elementwise import unary
from export.graphs.importer.value import Value, broadcast

Relu = unary(6, tf.nn.relu)
Sigmoid = unary(6, tf.sigmoid)
Tanh = unary(6, tf.tanh)
Softsign = unary(1, lambda tensor: tensor / (1 + tf.abs(tensor)))


def softplus(tensor: Any) -> Any:
    """Return log(1 + eˣ) without overflow and without losing small results."""
    return tf.nn.relu(tensor) + tf.math.log1p(tf.exp(-tf.abs(tensor)))


Softplus = unary(1, softplus)


@since(18)
def Mish(node: Node, value: Value) -> Value:
    """Build x · tanh(log(1 + eˣ)).

    With n = eˣ · (eˣ + 2) it is x · n / (n + 2): no logarithm of a number near 1, which costs 17 dB. Beyond 20 it is x
    to the last bit of float32.
    """

    def mish(tensor: Any) -> Any:
        power = tf.exp(tf.minimum(tensor, 20))
        part = power * (power + 2)
        return tensor * (part / (part + 2))

    return value.over(mish)


@since(14)
def HardSwish(node: Node, value: Value) -> Value:
    """Build x · min(max(x / 6 + ½, 0), 1), in the form that TFLite's converter makes one operator of."""
    return value.over(lambda tensor: tensor * tf.nn.relu6(tensor + 3) * np.array(1 / 6, tensor.dtype.as_numpy_dtype))


@since(6)
def HardSigmoid(node: Node, value: Value) -> Value:
    """Build min(max(alpha · x + beta, 0), 1)."""
    alpha, beta = node.real("alpha", 0.2), node.real("beta", 0.5)

    def hard(tensor: Any) -> Any:
        kind = tf.as_dtype(tensor.dtype).as_numpy_dtype
        if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5:
            return tf.nn.relu6(tensor + 3) * np.array(1 / 6, kind)
        return tf.minimum(tf.nn.relu(tensor * np.array(alpha, kind) + np.array(beta, kind)), np.array(1, kind))

    return value.over(hard)


@since(6)
def LeakyRelu(node: Node, value: Value) -> Value:
    """Build x, below zero alpha · x."""
    return value.over(lambda tensor: tf.nn.leaky_relu(tensor, node.real("alpha", 0.01)))


@since(7)
def PRelu(node: Node, value: Value, slope: Value) -> Value:
    """Build x, below zero slope · x."""
    (tensor, factor), stored = broadcast([value, slope])
    if not tf.as_dtype(tensor.dtype).is_floating:
        return Value(tf.where(tf.less(tensor, tf.zeros_like(tensor)), tensor * factor, tensor), stored)
    return Value(tf.nn.relu(tensor) + (-factor) * tf.nn.relu(-tensor), stored)


@since(6)
def Elu(node: Node, value: Value) -> Value:
    """Build x, below zero alpha · (eˣ − 1)."""
    alpha = node.real("alpha", 1)
    return value.over(lambda tensor: tf.nn.elu(tensor) if alpha == 1 else _exponential(tensor, alpha, 1))


@since(12)
def Celu(node: Node, value: Value) -> Value:
    """Build x, below zero alpha · (e^(x / alpha) − 1)."""
    alpha = node.real("alpha", 1)
    return value.over(lambda tensor: tf.nn.relu(tensor) + alpha * tf.nn.elu(-tf.nn.relu(-tensor) / alpha))


@since(6)
def Selu(node: Node, value: Value) -> Value:
    """Build gamma · x, below zero gamma · alpha · (eˣ − 1)."""
    alpha, gamma = node.real("alpha", 1.67326319217681884765625), node.real("gamma", 1.05070102214813232421875)
    return value.over(lambda tensor: _exponential(tensor, alpha * gamma, gamma))


def _exponential(tensor: Any, below: float, above: float) -> Any:
    return above * tf.nn.relu(tensor) + below * tf.nn.elu(-tf.nn.relu(-tensor))


@since(10)
def ThresholdedRelu(node: Node, value: Value) -> Value:
    """Build x above alpha, else 0."""
    alpha = node.real("alpha", 1)
    return value.over(lambda tensor: tf.where(tensor > alpha, tensor, tf.zeros_like(tensor)))


@since(9)
def Shrink(node: Node, value: Value) -> Value:
    """Build x moved towards zero by `bias` outside of ± `lambd`, and 0 inside."""
    bias, limit = node.real("bias"), node.real("lambd", 0.5)

    def shrunk(tensor: Any) -> Any:
        if not tf.as_dtype(tensor.dtype).is_floating and (bias % 1 or limit % 1):
            raise node.refused("whole numbers with a fraction as bias or lambd")
        kind = tf.as_dtype(tensor.dtype).as_numpy_dtype
        edge, move, zeros = np.array(limit, kind), np.array(bias, kind), tf.zeros_like(tensor)
        return tf.where(tensor < -edge, tensor + move, tf.where(tensor > edge, tensor - move, zeros))

    return value.over(shrunk)


@since(24)
def Swish(node: Node, value: Value) -> Value:
    """Build x · sigmoid(alpha · x)."""
    alpha = node.real("alpha", 1)
    return value.over(lambda tensor: tensor * tf.sigmoid(tensor if alpha == 1 else alpha * tensor))


@since(20)
def Gelu(node: Node, value: Value) -> Value:
    """Build x · Φ(x), exactly or by its approximation with tanh."""
    if node.text("approximate", "none") == "tanh":
        return value.over(_gelu_by_tanh)
    return value.over(gelu)


def gelu(tensor: Any) -> Any:
    """Return x · Φ(x) in TensorFlow's form, which TFLite's converter makes one operator of.

    With oneDNN, grappler makes one of a product, its bias and this, too, and that has been 41 dB off: the assertion of
    a shape between them, which holds, keeps them apart.
    """
    return tf.nn.gelu(tf.ensure_shape(tensor, tensor.shape), approximate=False)


def _gelu_by_tanh(tensor: Any) -> Any:
    inner = math.sqrt(2 / math.pi) * (tensor + 0.044715 * tensor * tensor * tensor)
    return tensor * (0.5 * tf.tanh(inner) + 0.5)


@since(6)
def Clip(node: Node, value: Value, least: Value | None = None, greatest: Value | None = None) -> Value:
    """Build x held between two limits, which are attributes before opset 11."""
    low, high = _limit(node, least, "min"), _limit(node, greatest, "max")
    if value.dtype.is_floating and _is(low, 0) and (high is None or _is(high, 6)):
        return value.over(tf.nn.relu if high is None else tf.nn.relu6)

    def clipped(tensor: Any) -> Any:
        result = tensor
        for limit, bound in ((low, tf.maximum), (high, tf.minimum)):
            if limit is not None:
                result = bound(result, tf.cast(limit, tensor.dtype))
        return tf.identity(result) if result is tensor else result

    return value.over(clipped)


def _limit(node: Node, value: Value | None, name: str) -> Any:
    if value is not None:
        return value.tensor
    return np.array(node.real(name), np.float32) if name in node.attributes else None


def _is(limit: Any, number: float) -> bool:
    return isinstance(limit, np.ndarray) and limit.size == 1 and float(limit.item()) == number


@since(1)
def Softmax(node: Node, value: Value) -> Value:
    """Build softmax along an axis, before opset 13 along it and all behind it; float16 is summed in float32."""
    if value.dtype == tf.float16:
        wide = Softmax(node, value.over(lambda tensor: tf.cast(tensor, tf.float32)))
        return wide.over(lambda tensor: tf.cast(tensor, tf.float16))
    axes = _axes(node, value)
    if _innermost(value, axes):
        return value.over(tf.nn.softmax)
    return value.over(lambda tensor: _shares(tensor, [value.stored[axis] for axis in axes]))


@since(1)
def LogSoftmax(node: Node, value: Value) -> Value:
    """Build the logarithm of softmax, computed as one."""
    axes = _axes(node, value)
    if _innermost(value, axes):
        return value.over(tf.nn.log_softmax)

    def logarithm(tensor: Any) -> Any:
        physical = [value.stored[axis] for axis in axes]
        below = tensor - tf.reduce_max(tensor, physical, keepdims=True)
        return below - tf.math.log(tf.reduce_sum(tf.exp(below), physical, keepdims=True))

    return value.over(logarithm)


def _innermost(value: Value, axes: list[int]) -> bool:
    return len(axes) == 1 and value.stored[axes[0]] == value.rank - 1


def _shares(tensor: Any, axes: list[int]) -> Any:
    power = tf.exp(tensor - tf.reduce_max(tensor, axes, keepdims=True))
    return power / tf.reduce_sum(power, axes, keepdims=True)


def _axes(node: Node, value: Value) -> list[int]:
    if node.opset >= 13:
        return [node.integer("axis", -1) % value.rank]
    axis = node.integer("axis", 1)
    return list(range(axis % value.rank if axis < 0 else axis, value.rank))


@since(1)
def Hardmax(node: Node, value: Value) -> Value:
    """Build 1 at the first greatest value along an axis, 0 elsewhere."""
    axes = _axes(node, value)
    if len(axes) > 1:
        if any(value.shape[axis] != 1 for axis in axes[1:]):
            raise node.refused("over several axes, as before opset 13")
        axes = axes[:1]
    place = tf.argmax(value.tensor, value.stored[axes[0]], output_type=tf.int32)
    marks = tf.one_hot(place, node.static(value, axes[0]), axis=value.stored[axes[0]], dtype=value.dtype)
    return Value(marks, value.stored)
