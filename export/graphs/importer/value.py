"""A tensor and the permutation in which it is stored: what makes a layout known instead of guessed.

    image = Value(tensor, (0, 3, 1, 2))        # logical (N, C, H, W), in memory (N, H, W, C)
    image.to((0, 1, 2, 3))                     # the tensor as (N, C, H, W): here a transposition is made, once

Logical (ONNX) axis `i` is physical axis `stored[i]`. A constant is a numpy array and stays one until an operator takes
it. `Sizes` are shapes of which single numbers are known: what only the running model knows stays out of the rest.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from records.tensor import Array

Stored = tuple[int, ...]


class Extent:
    """A whole number that only the running model knows, such as the batch size; its tensor is made when it is used."""

    def __init__(self, make: Callable[[], Any]):
        self._make = make

    @cached_property
    def tensor(self) -> Any:
        """Return the size as a scalar int32."""
        return tf.cast(self._make(), tf.int32)


Dim = int | Extent


class Value:
    """What an operator takes and gives."""

    def __init__(self, tensor: Any, stored: Iterable[int] | None = None):
        """Take numpy's array for a constant, else TensorFlow's tensor.

        stored: logical axis → physical axis; None: the same.
        """
        self._tensor = tensor
        self.stored: Stored = tuple(range(len(tensor.shape))) if stored is None else tuple(stored)
        self._others: dict[Stored, Any] = {}

    @property
    def tensor(self) -> Any:
        """Return the tensor as it is stored."""
        return self._tensor

    @property
    def constant(self) -> bool:
        """True if its numbers are known while the graph is built."""
        return isinstance(self._tensor, np.ndarray | np.generic)

    @property
    def rank(self) -> int:
        """Return the number of axes."""
        return len(self.stored)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Return the sizes of the logical axes; None for each that only the running model knows."""
        sizes = list(self._tensor.shape)
        return tuple(None if sizes[axis] is None else int(sizes[axis]) for axis in self.stored)

    @property
    def dtype(self) -> Any:
        """Return TensorFlow's type."""
        return tf.as_dtype(self._tensor.dtype)

    @property
    def array(self) -> Array:
        """Return a constant's numbers in the logical order."""
        return np.asarray(np.transpose(self._tensor, self.stored))

    @property
    def logical(self) -> Any:
        """Return the tensor in the logical order."""
        return self.to(range(self.rank))

    @property
    def last(self) -> Any:
        """Return the tensor with axis 1, the channels, last."""
        return self.to(channels_last(self.rank))

    def to(self, stored: Iterable[int]) -> Any:
        """Return the tensor stored in another order. A transposition that only moves axes of size 1 is a reshape."""
        target = tuple(stored)
        if target == self.stored:
            return self.tensor
        if target not in self._others:
            self._others[target] = self._turned(target)
        return self._others[target]

    def _turned(self, target: Stored) -> Any:
        logical_at = {place: axis for axis, place in enumerate(target)}
        axes = [self.stored[logical_at[place]] for place in range(self.rank)]
        if self.constant:
            return np.ascontiguousarray(np.transpose(self._tensor, axes))
        static = list(self.tensor.shape)
        moved = [axis for axis in axes if static[axis] != 1]
        if moved == sorted(moved):
            return reshaped(self.tensor, [self._physical(axis) for axis in axes])
        return tf.transpose(self.tensor, axes)

    def size(self, axis: int) -> Dim:
        """Return the size of a logical axis."""
        return self._physical(self.stored[axis])

    @property
    def sizes(self) -> list[Dim]:
        """Return the sizes of all logical axes."""
        return [self.size(axis) for axis in range(self.rank)]

    def _physical(self, axis: int) -> Dim:
        size = self._tensor.shape[axis]
        return int(size) if size is not None else Extent(lambda: self._running_shape[axis])

    @cached_property
    def _running_shape(self) -> Any:
        return tf.shape(self.tensor)

    def over(self, change: Callable[[Any], Any]) -> "Value":
        """Return the result of an operator that treats all elements alike."""
        return Value(change(self.tensor), self.stored)


class Sizes(Value):
    """A vector of whole numbers, or one alone, some of which only the running model knows."""

    def __init__(self, parts: Sequence[Dim], rank: int = 1):
        """Take whole numbers, each known or an Extent. rank: 1, or 0 for one number alone."""
        self.parts = list(parts)
        self.stored = tuple(range(rank))
        self._others = {}

    @cached_property
    def _stacked(self) -> Any:
        whole = tf.stack([number(part) for part in self.parts]) if self.parts else tf.zeros([0], tf.int32)
        return whole if self.rank else whole[0]

    @property
    def tensor(self) -> Any:
        """Return the numbers as int32."""
        return self._stacked

    @property
    def constant(self) -> bool:
        """Return False: numbers that are all known are a plain value."""
        return False

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Return (n,) or ()."""
        return (len(self.parts),) if self.rank else ()

    @property
    def dtype(self) -> Any:
        """Return the type of numbers that the running model knows."""
        return tf.int32

    def _physical(self, axis: int) -> Dim:
        return len(self.parts)


def whole(parts: Sequence[Dim], rank: int = 1) -> Value:
    """Return whole numbers as a constant if all are known, else as `Sizes`."""
    numbers = [part for part in parts if isinstance(part, int)]
    if len(numbers) < len(parts):
        return Sizes(parts, rank)
    return Value(np.array(numbers if rank else numbers[0], np.int64))


def number(size: Dim) -> Any:
    """Return a size as TensorFlow takes it."""
    return size.tensor if isinstance(size, Extent) else size


def reshaped(tensor: Any, sizes: Sequence[Dim]) -> Any:
    """Return a tensor in another shape, of which one size may be unknown without being computed."""
    unknown = [index for index, size in enumerate(sizes) if isinstance(size, Extent)]
    if len(unknown) > 1:
        result = tf.reshape(tensor, tf.stack([number(size) for size in sizes]))
        result.set_shape([None if isinstance(size, Extent) else size for size in sizes])
        return result
    if isinstance(tensor, np.ndarray) and not unknown:
        return tensor.reshape([int(number(size)) for size in sizes])
    return tf.reshape(tensor, [-1 if isinstance(size, Extent) else size for size in sizes])


def product(sizes: Iterable[Dim]) -> Dim:
    """Return the product of sizes; it is known if all of them are."""
    factor, unknown = 1, []
    for size in sizes:
        if isinstance(size, Extent):
            unknown.append(size)
        else:
            factor *= size
    if not unknown or factor == 0:
        return factor
    if len(unknown) == 1 and factor == 1:
        return unknown[0]

    def running() -> Any:
        result = unknown[0].tensor
        for size in unknown[1:]:
            result = result * size.tensor
        return result * factor if factor != 1 else result

    return Extent(running)


def channels_last(rank: int) -> Stored:
    """Return how an image (N, C, …) is stored with its channels last; with fewer than three axes as it is."""
    return tuple(range(rank)) if rank < 3 else (0, rank - 1, *range(1, rank - 1))


def without(stored: Stored, axes: Iterable[int]) -> Stored:
    """Return the storage that is left when logical axes are removed."""
    gone = set(axes)
    places = [place for axis, place in enumerate(stored) if axis not in gone]
    return ranked(places)


def ranked(places: Sequence[int]) -> Stored:
    """Return the place of each of distinct numbers in their order."""
    order = sorted(places)
    return tuple(order.index(place) for place in places)


def broadcast(values: Sequence[Value]) -> tuple[list[Any], Stored]:
    """Return tensors that can be combined element by element, and their storage: the largest's that is no constant."""
    rank = max((value.rank for value in values), default=0)
    padded = [_padded(value, rank) for value in values]
    moving = [value for value in padded if not value.constant]
    stored = max(moving or padded, key=_elements).stored
    return [_plain(value.to(stored)) if value.constant and moving else value.to(stored) for value in padded], stored


def _padded(value: Value, rank: int) -> Value:
    """Return a value's tensor with axes of size 1 before the others."""
    more = rank - value.rank
    if not more:
        return value
    stored = (*range(more), *(place + more for place in value.stored))
    if value.constant:
        return Value(np.reshape(value.tensor, (1,) * more + value.tensor.shape), stored)
    places = sorted(range(value.rank), key=lambda axis: value.stored[axis])
    return Value(reshaped(value.tensor, [1] * more + [value.size(axis) for axis in places]), stored)


def _elements(value: Value) -> int:
    """Return how many numbers a value has; a size that is not known counts as great."""
    return int(np.prod([4096 if size is None else size for size in value.shape], dtype=np.float64))


def _plain(array: Array) -> Array:
    """Return a constant without leading axes of size 1: converters know (C,), one per channel, as a bias."""
    while array.ndim and array.shape[0] == 1:
        array = array[0]
    return array
