"""A bounds-checked view of flatbuffer bytes: every offset is proved to lie inside before it is followed.

The flatbuffers package has no verifier for Python; its accessors trust the bytes.
Source of the layout: the FlatBuffers internals page.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir import Array


class Reader:
    """The bytes, with a budget of visits so that a file whose tables repeat each other cannot run for ever."""

    def __init__(self, data: bytes, source: str) -> None:
        self.data, self.source, self._visits = data, source, len(data)

    def damaged(self, what: str) -> ModelError:
        """The error for bytes that do not hold together."""
        return ModelError(f"damaged .tflite file: {what}", where=self.source, remedy="copy or convert the model again")

    def number(self, layout: str, position: int) -> int | float:
        """The number of struct `layout` at `position`."""
        self._visits -= 1
        if self._visits < 0:
            raise self.damaged("its tables refer to each other without end")
        if position < 0 or position + struct.calcsize(layout) > len(self.data):
            raise self.damaged(f"an offset points to byte {position} of {len(self.data)}")
        value: int | float = struct.unpack_from(layout, self.data, position)[0]
        return value

    def follow(self, position: int) -> int:
        """The position that the offset stored at `position` points to."""
        return position + int(self.number("<I", position))

    def root(self) -> Table:
        """The file's root table."""
        return Table(self, self.follow(0))


class Table:
    """One table; fields are named by their slot in the schema, counted from 0."""

    def __init__(self, reader: Reader, position: int) -> None:
        self.reader, self.position = reader, position
        vtable = position - int(reader.number("<i", position))
        size = int(reader.number("<H", vtable))
        table_size = int(reader.number("<H", vtable + 2))
        if size < 4 or size % 2 or vtable + size > len(reader.data) or position + table_size > len(reader.data):
            raise reader.damaged(f"the table at byte {position} does not fit")
        self._vtable, self._slots = vtable, (size - 4) // 2
        self._size = table_size

    def _field(self, slot: int) -> int:
        if slot >= self._slots:
            return 0
        offset = int(self.reader.number("<H", self._vtable + 4 + 2 * slot))
        if offset and offset >= self._size:
            raise self.reader.damaged(f"a field of the table at byte {self.position} lies outside it")
        return self.position + offset if offset else 0

    def integer(self, slot: int, layout: str = "<i", default: int = 0) -> int:
        """An integer field of struct `layout`."""
        position = self._field(slot)
        return int(self.reader.number(layout, position)) if position else default

    def table(self, slot: int) -> Table | None:
        """The sub-table in `slot`, if any."""
        position = self._field(slot)
        return Table(self.reader, self.reader.follow(position)) if position else None

    def array(self, slot: int, dtype: str) -> Array | None:
        """The vector of numbers in `slot`, if any; read-only."""
        position = self._field(slot)
        if not position:
            return None
        start, count = self._vector(position, np.dtype(dtype).itemsize)
        return np.frombuffer(self.reader.data, np.dtype(dtype).newbyteorder("<"), count, start)

    def string(self, slot: int) -> str:
        """The text in `slot`, empty when there is none; bytes that are no UTF-8 are replaced."""
        raw = self.array(slot, "u1")
        return "" if raw is None else raw.tobytes().decode("utf-8", "replace")

    def tables(self, slot: int) -> list[Table]:
        """The vector of tables in `slot`, empty when there is none."""
        position = self._field(slot)
        if not position:
            return []
        start, count = self._vector(position, 4)
        return [Table(self.reader, self.reader.follow(start + 4 * index)) for index in range(count)]

    def _vector(self, position: int, item_bytes: int) -> tuple[int, int]:
        start = self.reader.follow(position)
        count = int(self.reader.number("<I", start))
        if start + 4 + count * item_bytes > len(self.reader.data):
            raise self.reader.damaged(f"a list of {count} items at byte {start} runs past the end")
        return start + 4, count

    def unpacked(self, unpack: Callable[[bytes, int], object]) -> dict[str, object]:
        """The fields of a flat options table through the schema's own unpacking class."""
        try:
            return dict(vars(unpack(self.reader.data, self.position)))
        except (struct.error, ValueError, IndexError, TypeError, OverflowError) as error:
            raise self.reader.damaged(f"the options at byte {self.position} cannot be read ({error})") from None
