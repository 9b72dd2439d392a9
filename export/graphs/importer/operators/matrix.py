"""Products of matrices. They want their two axes last; the axes before may lie in any order, if in the same."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node, since
from export.graphs.importer.value import Dim, Value, product, reshaped


@since(1)
def MatMul(node: Node, first: Value, second: Value) -> Value:
    """Build a product of matrices as numpy's matmul; float16 is summed in float32."""
    if first.dtype == tf.float16:
        wide = MatMul(node, *(Value(tf.cast(value.tensor, tf.float32), value.stored) for value in (first, second)))
        return wide.over(lambda tensor: tf.cast(tensor, tf.float16))
    if second.rank == 2 and first.rank > 2 and first.stored[-1] == first.rank - 1:
        return _dense(first, second)
    if first.rank == 1 or second.rank == 1:
        return _with_vector(first, second)
    left, turn_left = _matrices(first)
    right, turn_right = _matrices(second)
    return Value(tf.matmul(left, right, transpose_a=turn_left, transpose_b=turn_right))


def _dense(value: Value, weight: Value) -> Value:
    """Return (…, C) times (C, D) as one product of all rows, however the other axes are stored."""
    inside = [value._physical(place) for place in range(value.rank)]
    rows = reshaped(value.tensor, [product(inside[:-1]), inside[-1]])
    products = tf.matmul(rows, weight.logical)
    return Value(reshaped(products, [*inside[:-1], weight.size(1)]), value.stored)


def _matrices(value: Value) -> tuple[Any, bool]:
    """Return a tensor in order, or with its last two axes exchanged and True: products take both."""
    rank = value.rank
    exchanged = (*range(rank - 2), rank - 1, rank - 2)
    if value.stored == exchanged and not value.constant:
        return value.tensor, True
    return value.logical, False


def _with_vector(first: Value, second: Value) -> Value:
    left = first.logical[None] if first.rank == 1 else first.logical
    right = second.logical[..., None] if second.rank == 1 else second.logical
    products = tf.matmul(left, right)
    gone = [axis for axis, value in ((-2, first), (-1, second)) if value.rank == 1]
    return Value(tf.squeeze(products, gone))


@since(7)
def Gemm(node: Node, first: Value, second: Value, third: Value | None = None) -> Value:
    """Build alpha · A · B + beta · C, A and B transposed on request."""
    products = tf.matmul(
        first.logical, _weight(second, node.flag("transB")), transpose_a=node.flag("transA"),
        transpose_b=node.flag("transB") and not second.constant,
    )  # fmt: skip
    alpha, beta = (np.array(node.real(name, 1)).astype(products.dtype.as_numpy_dtype) for name in ("alpha", "beta"))
    products = products if alpha == 1 else products * alpha
    if third is None:
        return Value(products)
    return Value(products + (third.logical if beta == 1 else third.logical * beta))


def _weight(value: Value, turned: bool) -> Any:
    """Return a weight as the product takes it; a constant is transposed here."""
    return np.ascontiguousarray(value.array.T) if value.constant and turned else value.logical


@since(10)
def MatMulInteger(
    node: Node, first: Value, second: Value, zero: Value | None = None, other: Value | None = None
) -> Value:
    """Build a product of 8-bit numbers less their zero points, in 32 bits."""
    left, right = (tf.cast(value.logical, tf.int32) for value in (first, second))
    if zero is not None:
        point = tf.cast(zero.logical, tf.int32)
        left = left - (point[:, None] if zero.rank == 1 and zero.shape[0] != 1 else point)
    if other is not None:
        right = right - tf.cast(other.logical, tf.int32)
    return Value(tf.matmul(left, right))


@since(12)
def Einsum(node: Node, *values: Value) -> Value:
    """Build sums of products by a formula: transpositions, reshapes and one product of matrices for each pair."""
    inputs, output = _formula(node, [value.rank for value in values])
    factor = (inputs[0], values[0])
    for index in range(1, len(values)):
        later = set(output).union(*inputs[index + 1 :])
        factor = _contracted(node, factor, (inputs[index], values[index]), later)
    labels, value = _summed(factor, set(output))
    return Value(value.tensor, [value.stored[labels.index(label)] for label in output])


def _formula(node: Node, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Return the labels of each input and of the output; the axes of `...` have labels of their own."""
    text = node.text("equation").replace(" ", "")
    left, arrow, output = text.partition("->")
    inputs = left.split(",")
    count = max([rank - len(part.replace("...", "")) for part, rank in zip(inputs, ranks, strict=True)], default=0)
    unnamed = "".join(chr(0x3B1 + index) for index in range(max(0, count)))
    named = []
    for part, rank in zip(inputs, ranks, strict=True):
        own = rank - len(part.replace("...", ""))
        named.append(part.replace("...", unnamed[len(unnamed) - own :]))
        if max(Counter(named[-1]).values(), default=1) > 1:
            raise node.refused(f"the diagonal in {text}")
    if not arrow:
        once = Counter(label for part in left.replace("...", "") for label in part if label != ",")
        output = ("..." if "..." in left else "") + "".join(sorted(label for label in once if once[label] == 1))
    return named, output.replace("...", unnamed)


Factor = tuple[str, Value]


def _summed(factor: Factor, needed: set[str]) -> Factor:
    """Return a factor without the axes whose labels nothing needs."""
    labels, value = factor
    gone = [axis for axis, label in enumerate(labels) if label not in needed]
    if not gone:
        return factor
    left = "".join(label for label in labels if label in needed)
    ordered = Value(value.logical)
    return left, Value(tf.reduce_sum(ordered.tensor, gone))


def _contracted(node: Node, first: Factor, second: Factor, later: set[str]) -> Factor:
    """Return two factors multiplied, without the labels that no later factor has."""
    first, second = _summed(first, later | set(second[0])), _summed(second, later | set(first[0]))
    (first_labels, left), (two, right) = first, second
    both = [label for label in first_labels if label in two]
    batch = [label for label in both if label in later]
    inner = [label for label in both if label not in later]
    rows = [label for label in first_labels if label not in both]
    columns = [label for label in two if label not in both]

    sizes: dict[str, Dim] = {}
    for labels, value in (first, second):
        for axis, label in enumerate(labels):
            size = value.size(axis)
            sizes[label] = size if sizes.get(label, 1) == 1 else sizes[label]

    def matrices(labels: str, value: Value, before: list[str], behind: list[str]) -> Any:
        """Return a factor as (batch …, before, behind)."""
        order = [labels.index(label) for label in [*batch, *before, *behind]]
        turned = Value(value.tensor, [value.stored[axis] for axis in order])
        own = {label: value.size(axis) for axis, label in enumerate(labels)}
        groups = [
            *(own[label] for label in batch),
            *(product([own[label] for label in axes]) for axes in (before, behind)),
        ]
        return reshaped(turned.logical, groups)

    products = tf.matmul(matrices(first_labels, left, rows, inner), matrices(two, right, inner, columns))
    joined = [*batch, *rows, *columns]
    return "".join(joined), Value(reshaped(products, [sizes[label] for label in joined]))


@since(1)
def Det(node: Node, value: Value) -> Value:
    """Build the determinants of square matrices by TensorFlow's operator, which no other format has."""
    return Value(tf.linalg.det(value.logical))
