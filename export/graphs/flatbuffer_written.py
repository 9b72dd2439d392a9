"""Writes tables and vectors of a flatbuffer by their slots: the other half of `export.graphs.flatbuffer`.

    builder = flatbuffers.Builder(0)
    builder.Finish(table(builder, 2, {0: builder.CreateString("red")}, {1: 3}))

A flatbuffer is built from its end to its start: what a table points at is written before it. Needs flatbuffers only.
"""

from collections.abc import Iterable, Mapping, Sequence

import flatbuffers

ALIGNMENT = 16
"""Alignment of a buffer's data, in bytes (`force_align` in TensorFlow's schema.fbs). XNNPACK reads weights in place."""


def table(
    builder: flatbuffers.Builder,
    slots: int,
    offsets: Mapping[int, int],
    bytes_: Mapping[int, int] | None = None,
    integers: Mapping[int, int] | None = None,
    floats: Mapping[int, float] | None = None,
) -> int:
    """Write a table of so many slots and return its offset.

    offsets: of what was written before. bytes_: enums, unions' types and truths. integers: int32. floats: float32.
    """
    builder.StartObject(slots)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, number in (integers or {}).items():
        builder.PrependInt32Slot(slot, number, 0)
    for slot, value in (floats or {}).items():
        builder.PrependFloat32Slot(slot, value, 0)
    for slot, number in (bytes_ or {}).items():
        builder.PrependUint8Slot(slot, number, 0)
    return int(builder.EndObject())


def vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    """Write a vector of tables or strings and return its offset."""
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def floats(builder: flatbuffers.Builder, values: Iterable[float]) -> int:
    """Write a vector of float32 and return its offset."""
    values = list(values)
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())


def aligned(builder: flatbuffers.Builder, data: bytes) -> int:
    """Write a vector of bytes at a multiple of `ALIGNMENT` and return its offset."""
    builder.StartVector(1, len(data), ALIGNMENT)
    builder.head -= len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data
    return int(builder.EndVector())
