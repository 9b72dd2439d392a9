"""Arithmetic on shapes of which some numbers are known: `Shape` → `Gather` → `Concat` → `Reshape` stays out of the
graph where only the batch is open.

    build(node, values)          # the result, or None: compute it as any other tensor
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from export.graphs.importer.node import Node
from export.graphs.importer.value import Dim, Extent, Sizes, Value, number, product, whole


def build(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    """Return an operator's result for whole numbers that are known one by one; None: not known here."""
    rule = RULES.get(node.operator)
    parts = [None if value is None else _parts(value) for value in inputs]
    if rule is None or any(value is not None and part is None for value, part in zip(inputs, parts, strict=True)):
        return None
    return rule(node, [part or [] for part in parts], [value.rank if value is not None else 1 for value in inputs])


def _parts(value: Value) -> list[Dim] | None:
    """Return the numbers of a vector or a scalar; None: it is neither, or not of whole numbers."""
    if isinstance(value, Sizes):
        return value.parts
    if value.constant and value.rank < 2 and np.issubdtype(value.tensor.dtype, np.integer):
        return [int(number) for number in np.ravel(value.tensor)]
    return None


Parts = list[list[Dim]]


def _gather(node: Node, parts: Parts, ranks: list[int]) -> Value | None:
    places = [place for place in parts[1] if isinstance(place, int)]
    if len(places) < len(parts[1]) or ranks[0] == 0:
        return None
    return whole([parts[0][place] for place in places], ranks[1])


def _slice(node: Node, parts: Parts, ranks: list[int]) -> Value | None:
    if len(parts) < 3 or any(isinstance(number, Extent) for numbers in parts[1:] for number in numbers):
        return None
    (start,), (end,) = parts[1], parts[2]
    (step,) = parts[4] if len(parts) > 4 and parts[4] else [1]
    begin, stop, stride = (int(number) for number in (start, end, step) if isinstance(number, int))
    if stride < 0 and stop < -(2**31):
        return whole(parts[0][begin::stride])
    return whole(parts[0][begin:stop:stride])


def _concat(node: Node, parts: Parts, ranks: list[int]) -> Value | None:
    return whole([number for numbers in parts for number in numbers])


def _same(node: Node, parts: Parts, ranks: list[int]) -> Value | None:
    return whole(parts[0], ranks[0])


def _unsqueeze(node: Node, parts: Parts, ranks: list[int]) -> Value | None:
    return whole(parts[0]) if ranks[0] == 0 else None


def _squeeze(node: Node, parts: Parts, ranks: list[int]) -> Value | None:
    return whole(parts[0], 0) if ranks[0] == 1 and len(parts[0]) == 1 else None


def _reshape(node: Node, parts: Parts, ranks: list[int]) -> Value | None:
    if len(parts[1]) > 1:
        return None
    return whole(parts[0], len(parts[1])) if len(parts[1]) or len(parts[0]) == 1 else None


def _cast(node: Node, parts: Parts, ranks: list[int]) -> Value | None:
    kind = node.outputs[0].dtype
    return whole(parts[0], ranks[0]) if kind in (tf.int32, tf.int64) else None


def _product(node: Node, parts: Parts, ranks: list[int]) -> Value | None:
    return whole([product(parts[0])], 1 if node.flag("keepdims", True) else 0)


def _pairs(combine: Callable[[Dim, Dim], Dim | None]) -> Callable[[Node, Parts, list[int]], Value | None]:
    def rule(node: Node, parts: Parts, ranks: list[int]) -> Value | None:
        first, second = parts
        count = max(len(first), len(second))
        if not {len(first), len(second)} <= {1, count}:
            return None
        results = [combine(first[i % len(first)], second[i % len(second)]) for i in range(count)]
        return whole([number for number in results if number is not None], max(ranks)) if None not in results else None

    return rule


def _times(first: Dim, second: Dim) -> Dim | None:
    return product([first, second])


def _plus(first: Dim, second: Dim) -> Dim | None:
    if isinstance(first, int) and isinstance(second, int):
        return first + second
    if first == 0 or second == 0:
        return second if first == 0 else first
    return Extent(lambda: number(first) + number(second))


def _minus(first: Dim, second: Dim) -> Dim | None:
    if isinstance(first, int) and isinstance(second, int):
        return first - second
    return first if second == 0 else Extent(lambda: number(first) - number(second))


def _divided(first: Dim, second: Dim) -> Dim | None:
    """Return the quotient of sizes, which are not negative: rounding down is rounding towards zero."""
    if second == 1:
        return first
    if isinstance(first, int) and isinstance(second, int):
        return int(first / second) if second else None
    return Extent(lambda: number(first) // number(second))


RULES: dict[str, Callable[[Node, Parts, list[int]], Value | None]] = {
    "Add": _pairs(_plus),
    "Cast": _cast,
    "Concat": _concat,
    "Div": _pairs(_divided),
    "Gather": _gather,
    "Identity": _same,
    "Mul": _pairs(_times),
    "ReduceProd": _product,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _pairs(_minus),
    "Unsqueeze": _unsqueeze,
}
