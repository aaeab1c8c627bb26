"""Turns weights that take few values into indices of 2, 3 or 4 bits, with the tables of what they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir import Array

SIZES = (2, 3, 4)
"""Bits of an index."""
MIDDLE = 8
"""Without a table an index is the weight plus so much, in 4 bits."""
GROUP = 8
"""Indices that fill whole bytes, whatever their size."""


@dataclass(frozen=True, eq=False)
class Codes:
    """The weights [channels, n] of a layer as indices."""

    indices: Array
    """uint8 [channels, n]"""
    bits: int
    tables: Array | None
    """int8 [1 or channels, 2**bits]: what the indices of all channels, or of each, stand for; None: weight + MIDDLE."""

    @property
    def bytes(self) -> int:
        """Of all indices and tables."""
        return self.indices.size * self.bits // 8 + (0 if self.tables is None else self.tables.size)

    @property
    def per_channel(self) -> bool:
        """Whether each channel has a table of its own."""
        return self.tables is not None and len(self.tables) > 1


def find(rows: Array) -> Codes | None:
    """The smallest codes of weights [channels, n]; None where they are no smaller than bytes."""
    found = [codes for codes in (_uniform(rows), _shared(rows), _own(rows)) if codes is not None]
    best = min(found, key=lambda codes: codes.bytes, default=None)
    return best if best is not None and best.bytes < rows.size else None


def _uniform(rows: Array) -> Codes | None:
    if rows.min() < -MIDDLE or rows.max() >= MIDDLE:
        return None
    return Codes((rows + MIDDLE).astype(np.uint8), 4, None)


def _shared(rows: Array) -> Codes | None:
    """One table for all."""
    values, indices = np.unique(rows, return_inverse=True)
    bits = _bits(len(values))
    if bits is None:
        return None
    return Codes(indices.reshape(rows.shape).astype(np.uint8), bits, _table(values, bits)[None])


def _own(rows: Array) -> Codes | None:
    """One table for each channel."""
    each = [np.unique(row, return_inverse=True) for row in rows]
    bits = _bits(max(len(values) for values, _ in each))
    if bits is None:
        return None
    indices = np.stack([indices for _, indices in each]).astype(np.uint8)
    return Codes(indices, bits, np.stack([_table(values, bits) for values, _ in each]))


def _bits(values: int) -> int | None:
    """Of an index of so many values."""
    return next((bits for bits in SIZES if values <= 1 << bits), None)


def _table(values: Array, bits: int) -> Array:
    return np.pad(values, (0, (1 << bits) - len(values))).astype(np.int8)


def pack(indices: Array, bits: int) -> Array:
    """Indices as a run of bytes, the first in the lowest bits; filled up to whole groups of GROUP."""
    flat = np.pad(indices.ravel(), (0, -indices.size % GROUP))
    ones = (flat[:, None] >> np.arange(bits)) & 1
    return np.packbits(ones.astype(np.uint8).ravel(), bitorder="little")
