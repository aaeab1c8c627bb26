"""Turns a pooling into vectors of Helium: 16 channels at a time for maxima, 8 for averages, whose sums have 16 bits.

Sums that need more bits, and those of an odd number of channels, are taken four at a time: what scales the sums of 8
does so in two vectors of words, where the end of a row has to leave out both words of a pair or none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tinygen import quant
from tinygen.ops import gather, pool_rows, reduction
from tinygen.ops.spec import Context, Kernel, Rows, Variant
from tinygen.ops.unroll import chunk

TEMPLATE = "kernels/pool_2d.mve.c.j2"
LEAST_CHANNELS = 4
"""Fewer leave most of a vector empty."""
MOST_SHORT_AREA = 255
"""Elements whose sum, less 1, fits 16 bits."""
MOST_LANES = 16
"""Maxima at a time."""
LONG_LANES = 4
"""Sums at a time that have 32."""
MOST_TAPS = 9
"""Elements of a window's row that are taken one after another; more become a loop."""
MOST_OFFSET = 127
"""Bytes that a load of bytes moves its register on by."""
MOST_UNROLLED = 16
"""Elements of a whole window that are."""


@dataclass(frozen=True)
class Mean:
    """How a sum becomes a mean, halves away from zero: sum * 2**left * multiplier / 2**31 rounded, then / 2**shift.

    `below`: sums below zero are lowered by 1 first. With a multiplier of 1 the sum is shifted alone.

    The first rounding is exact where the mean is a half: the multiplier is less than a half off, and the sum moved left
    has 32 bits. All other means are further from a half than that rounding moves them.
    """

    left: int
    multiplier: int
    shift: int
    below: bool


def mean(area: int, lanes: int) -> Mean:
    """That of so many int8, whose sums have 16 bits or, if 4 lanes are taken, 32."""
    size = area.bit_length() - 1
    if area == 1 << size:
        return Mean(0, 1, size, below=area > 1)
    left = 31 - (-quant.RANGES["int8"][0] * area + 1).bit_length() if lanes == LONG_LANES else 16
    return Mean(left, ((1 << 32 + size) + area) // (2 * area), left + size, below=area % 2 == 0)


def lanes(channels: int, area: int) -> int:
    """Sums of so many elements that are taken at a time."""
    return LONG_LANES if channels % 2 or area > MOST_SHORT_AREA else 8


def _applies(context: Context, average: bool) -> bool:
    """Enough channels; averages of windows inside the input."""
    return context.input(0).shape[3] >= LEAST_CHANNELS and not (average and reduction.pool_geometry(context).padded)


def _params(context: Context, average: bool) -> Kernel:
    """The numbers of the plain kernel, and how a window is walked; windows over whole rows are one row."""
    kernel = reduction.pool_kernel(context, average)
    flat = not kernel.values["padded"] and kernel.values["kernel_width"] == kernel.values["in_width"]
    return replace(kernel, values={**kernel.values, **_walk(kernel, flat)})


def _walk(kernel: Kernel, flat: bool) -> dict[str, Any]:
    """How the elements of a window are taken: so many channels at a time, so many elements one after another."""
    values = kernel.values
    at_once = lanes(values["channels"], values["area"]) if values["average"] else MOST_LANES
    lines, columns = (1, values["area"]) if flat else (values["kernel_height"], values["kernel_width"])
    taps = 1 if values["padded"] else columns if columns <= MOST_TAPS else chunk(columns, MOST_TAPS)
    return {
        "lines": lines,
        "columns": columns,
        "taps": taps,
        "unrolled": not values["padded"] and taps == columns and lines * columns <= MOST_UNROLLED,
        "lanes": at_once,
        "far": values["channels"] > MOST_OFFSET,
        "mean": mean(values["area"], at_once) if values["average"] else None,
        "has_low": values["clamp_min"] > quant.RANGES["int8"][0],
        "has_high": values["clamp_max"] < quant.RANGES["int8"][1],
    }


def _rows(context: Context, average: bool) -> Rows | None:
    gathered = gather.of_pool_in_words(context) if average else None
    kernel = reduction.pool_kernel(context, average)
    kernel = replace(kernel, values={**kernel.values, **_walk(kernel, flat=False)})
    spans = [(channel, channel + 1) for channel in range(context.input(0).shape[3])]
    return gathered or pool_rows.rows(context, kernel, TEMPLATE, spans)


def variant(average: bool) -> Variant:
    """The record of the kernel, for averages or for maxima."""

    def applies(context: Context) -> bool:
        return _applies(context, average)

    def params(context: Context) -> Kernel:
        return _params(context, average)

    def rows(context: Context) -> Rows | None:
        return _rows(context, average)

    return Variant("mve", TEMPLATE, frozenset({"mve"}), applies, params, rows)
