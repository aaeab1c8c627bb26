"""Turns a row of 3x3 windows into the columns that a kernel walks through, each of which has a part in three outputs.

A column ends the sum of one output, goes on with that of the next, and begins that of the one behind. Its two upper
elements lie in a word, the lower of them in the low half: two multiplications give a part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir import Array
from tinygen.ops import dsp, planes
from tinygen.ops.depthwise_dsp import MOST_OFFSET
from tinygen.ops.planes import OPERANDS, Axis, Plane, Scaling
from tinygen.ops.spec import Constant, Context, Kernel, Overlap
from tinygen.ops.unroll import chunk
from tinygen.ops.window import convolution_geometry

WORD_BYTES = 4
RECORD_BYTES = 17
UNIT = 2
"""Columns after which all is as it was: two sums take turns, or with stride 2 every second column ends one."""
TAP_PLACES = (2, 3, 6, 0, 1, 4, 5, 7, 8)
"""Where each tap is among 9 bytes: two words whose bytes 0 and 2, and 1 and 3, are pairs, and the last one."""


@dataclass(frozen=True)
class Column:
    """What a column of the padded input does; offsets are in bytes from where the registers are by then."""

    read: int | None
    """Where its elements are in a row of the input; None in the border."""
    kept: int
    """Where its word is in a line of one word a column."""
    ends: int | None
    """Where the output goes that is complete with it."""
    goes_on: bool
    begins: bool
    turn: int
    """Which of two registers holds the sum that ends, and then the one that begins."""


@dataclass(frozen=True)
class Walk:
    """Columns one after another, some of them in rounds."""

    head: tuple[Column, ...]
    round: tuple[Column, ...]
    rounds: int
    tail: tuple[Column, ...]
    read_step: int
    """Bytes by which a round moves on in the input, in the line, in the output."""
    kept_step: int
    stored_step: int

    def reaches(self, beyond: int = 0) -> bool:
        """Whether the instructions reach all elements, and those so many bytes behind."""
        columns = self.head + self.round + self.tail
        reads = [column.read + beyond for column in columns if column.read is not None]
        stores = [column.ends for column in columns if column.ends is not None]
        kept = [column.kept for column in columns]
        return max(reads + stores + kept) <= MOST_OFFSET and max(self.read_step, self.stored_step) <= MOST_OFFSET


def walk(along: Axis, read_bytes: int, stored_bytes: int, most: int) -> Walk:
    """The columns under a row of outputs; elements of the input, and outputs, lie so many bytes apart.

    Rows of more than `most` columns have rounds of at most so many.
    """
    alike = [index for index in range(along.reach) if _is_alike(along, index)]
    size = UNIT * chunk(len(alike) // UNIT, most // UNIT) if along.reach > most else 0
    rounds = len(alike) // size if size else 0
    if rounds == 1:
        size, rounds = 0, 0
    first = alike[0] if rounds else 0

    def placed(begin: int, end: int, behind: int = 0) -> tuple[Column, ...]:
        return tuple(_column(along, index, behind, read_bytes, stored_bytes) for index in range(begin, end))

    return Walk(
        placed(0, first),
        placed(first, first + size),
        rounds,
        placed(first + rounds * size, along.reach, rounds * size),
        size * read_bytes,
        size * WORD_BYTES,
        size // along.stride * stored_bytes,
    )


def _is_alike(along: Axis, index: int) -> bool:
    """Whether a column is like those two before and behind: inside the input, with a part in as many outputs as any."""
    last = (along.output - 1) * along.stride
    return max(3 - along.stride, along.pad) <= index <= min(last, along.pad + along.read - 1)


def _column(along: Axis, index: int, behind: int, read_bytes: int, stored_bytes: int) -> Column:
    """Column `index`, with all registers `behind` columns further than at the first."""
    outputs = range(along.output)
    parts = [divmod(index - tap, along.stride) for tap in range(along.kernel)]
    begun, going, ended = (place if not odd and place in outputs else None for place, odd in parts)
    inside = along.pad <= index < along.pad + along.read
    return Column(
        (index - along.pad - behind) * read_bytes if inside else None,
        (index - behind) * WORD_BYTES,
        None if ended is None else (ended - behind // along.stride) * stored_bytes,
        going is not None,
        begun is not None,
        index % UNIT if along.stride == 1 else 0,
    )


def plane_of(context: Context) -> Plane:
    """The channels as they lie, rows along the width."""
    return next(way for way in planes.planes(convolution_geometry(context)) if not way.turned)


def records_of(context: Context, sizes: list[int]) -> tuple[Scaling, Constant]:
    """How the sums of such a plane are scaled; and the records of all channels behind `sizes`, int32."""
    found = dsp.sums(context, OPERANDS)
    scaling = planes.scaling(context, found)
    start, multiplier = (constant.data for constant in scaling.constants)
    of_channels = records(planes.filters(found, plane_of(context)), start, multiplier)
    words = np.array(sizes, "<i4").view(np.int8)
    return scaling, Constant(of_channels.role, np.concatenate([words, of_channels.data.ravel()]))


def sized_kernel(context: Context, outputs: int, scratch_bytes: int, rule: Overlap) -> Kernel:
    """The kernel of such a plane whose sizes are among its words, in rounds of so many outputs."""
    _, rows, columns, channels = context.input(0).shape
    scaling, words = records_of(context, [channels, columns, rows])
    values = {
        "scaling": scaling.values,
        "fill": context.input(0).zero_point,
        "round": outputs,
        "record_bytes": RECORD_BYTES,
    }
    return Kernel(values, (0,), (words,), scratch_bytes, (rule,))


def records(filters: Array, start: Array, multiplier: Array) -> Constant:
    """Bytes of each channel: where its sums start, its multiplier, its taps, of filters [channels, 3, 3].

    No word is filled up: that would be a sixth more, and to read a word from any address takes a cycle more.
    """
    taps = np.zeros((len(filters), len(TAP_PLACES)), np.int8)
    taps[:, TAP_PLACES] = filters.reshape(len(filters), -1)
    words = np.column_stack([start, multiplier]).astype("<i4").view(np.int8)
    return Constant("records", np.concatenate([words, taps], axis=1))
