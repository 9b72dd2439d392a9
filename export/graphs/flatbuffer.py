"""Reads tables of a flatbuffer by their slots: what the generated code of a schema does, without the schema's code.

    root = root_of(content)
    [text(table, 3) for table in tables(root, 2)]

A file may be anybody's: a vector that says it is longer than its file is a ValueError, and so is a place outside of it.
Needs flatbuffers only.
"""

import struct
from collections.abc import Sequence

from flatbuffers.table import Table


def root_of(content: bytes) -> Table:
    """Return the outermost table of a flatbuffer. Raises ValueError."""
    return Table(content, int(_unpack("<I", content, 0)))


def position(table: Table, slot: int) -> int:
    """Return the position of a field; 0: it has its default."""
    offset = table.Offset(4 + 2 * slot)
    return int(table.Pos + offset) if offset else 0


def number(table: Table, slot: int, form: str = "<I") -> int:
    """Return an integer; 0: it is not there. form: as `struct` spells it, uint32 unless said otherwise."""
    place = position(table, slot)
    return int(_unpack(form, table.Bytes, place)) if place else 0


def text(table: Table, slot: int) -> str:
    """Return a string; empty: it is not there."""
    place = position(table, slot)
    return str(table.String(place).decode()) if place else ""


def inner(table: Table, slot: int) -> Table | None:
    """Return the table in a slot; None: there is none."""
    place = position(table, slot)
    return Table(table.Bytes, table.Indirect(place)) if place else None


def length(table: Table, slot: int, item: int = 1) -> int:
    """Return how many items, of so many bytes, a vector has. Raises ValueError for more than the file holds."""
    place = position(table, slot)
    if not place:
        return 0
    count = int(table.VectorLen(place - table.Pos))
    if count * item > len(table.Bytes):
        raise ValueError(f"a vector of {count:,} items in a file of {len(table.Bytes):,} bytes")
    return count


def tables(table: Table, slot: int) -> list[Table]:
    """Return the tables that a vector lists."""
    return [Table(table.Bytes, table.Indirect(place)) for place in _places(table, slot, 4)]


def texts(table: Table, slot: int) -> list[str]:
    """Return the strings that a vector lists."""
    return [str(table.String(place).decode()) for place in _places(table, slot, 4)]


def numbers(table: Table, slot: int, form: str = "<i") -> list[int]:
    """Return the values of a vector of integers. form: of one, as `struct` spells it, int32 unless said otherwise."""
    return [int(_unpack(form, table.Bytes, place)) for place in _places(table, slot, struct.calcsize(form))]


def floats(table: Table, slot: int) -> list[float]:
    """Return the values of a vector of float32."""
    return [float(_unpack("<f", table.Bytes, place)) for place in _places(table, slot, 4)]


def _places(table: Table, slot: int, item: int) -> Sequence[int]:
    count = length(table, slot, item)
    first = table.Vector(position(table, slot) - table.Pos) if count else 0
    return range(first, first + item * count, item)


def _unpack(form: str, content: bytes, place: int) -> int | float:
    try:
        value: int | float = struct.unpack_from(form, content, place)[0]
    except struct.error as error:
        raise ValueError(f"the file ends before what it names: {error}") from error
    return value
