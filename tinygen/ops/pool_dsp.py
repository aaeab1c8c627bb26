"""Turns a pooling into words of four channels at a time, for cores with the DSP extension."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tinygen import quant
from tinygen.ops import gather, pool_rows, reduction, window_walk
from tinygen.ops.spec import Context, Kernel, Overlap, Rows, Variant
from tinygen.ops.window_walk import Span

TEMPLATE = "kernels/pool_2d.dsp.c.j2"
WORD_BYTES = 4
MOST_UNROLLED = 4
"""Elements of a window whose lines compilers print one after another."""
MOST_AREA = 255
"""Elements whose sum fits 16 bits, whatever their values."""
MEAN_BITS = 14
"""Of a mean's fraction: far finer than 1 / (2 * MOST_AREA), the least distance from where rounding changes."""


def _applies(context: Context) -> bool:
    """A word of channels; a maximum with no upper limit, for the lower one is where it starts."""
    return context.input(0).shape[3] >= WORD_BYTES and reduction.pool_range(context)[1] == quant.RANGES["int8"][1]


def _sums_fit(context: Context) -> bool:
    """A word of channels, and sums of 16 bits: of a whole window, or of each of its lines."""
    return context.input(0).shape[3] >= WORD_BYTES and context.attributes.kernel[1] <= MOST_AREA


def _params(context: Context, average: bool) -> Kernel:
    """The numbers of the plain kernel, and how many words are taken at a time; windows over whole rows are one row."""
    kernel = reduction.pool_kernel(context, average)
    values = dict(kernel.values)
    channels = values["channels"]
    lines = average and math.prod(context.attributes.kernel) > MOST_AREA
    flat = values["kernel_width"] == values["in_width"] and values["area"] > MOST_UNROLLED
    whole_rows = flat and not lines and not values["padded"]
    values |= {
        "lines": lines,
        "words": 2 if channels % (2 * WORD_BYTES) == 0 else 1,
        "last": channels % WORD_BYTES and channels - WORD_BYTES,
        "rows": 1 if whole_rows else values["kernel_height"],
        "columns": values["area"] if whole_rows else values["kernel_width"],
        **mean_values(values["area"]),
        "mean_shift": _shift(values) if average and not lines else 0,
        "scaled": not lines and not values["padded"],
        "least_word": (values["clamp_min"] & 0xFF) * 0x01010101,
    }
    rule = _overlap(context, WORD_BYTES * values["words"], average)
    values["apart"] = window_walk.words(rule, channels)
    return replace(kernel, values=values, overlaps=(rule,))


def mean_values(area: int) -> dict[str, int]:
    """How a sum becomes a mean of so many elements: sum * multiplier / 2**16 + addend has MEAN_BITS of fraction.

    The addend is a half; the fraction is then dropped. Halves below zero, which are to go down, are whole with it:
    where `area` is even the kernel takes one away of what is not above zero.
    """
    multiplier = -(-(1 << 16 + MEAN_BITS) // area)
    return {"mean_bits": MEAN_BITS, "mean_multiplier": multiplier, "mean_addend": 1 << MEAN_BITS - 1}


def _shift(values: Mapping[str, Any]) -> int:
    """By how much a sum is shifted to be a mean that has no limits: 0 where no shift makes it one."""
    area = int(values["area"])
    even = area > 1 and area & area - 1 == 0
    return area.bit_length() - 1 if even and not values["padded"] and not values["clamped"] else 0


def _overlap(context: Context, size: int, average: bool) -> Overlap:
    """A few channels at a time, the last ones with some that are written already.

    The maximum of a window that holds it is the same again, so whole pixels are as safe as without those.
    """
    channels = context.input(0).shape[3]
    spans = [(first, min(first + size, channels)) for first in range(0, channels, size)]
    rule = reduction.pool_overlap(context, _words(channels, size))
    once = reduction.pool_overlap(context, spans)
    if average or once.most is None or once.most % channels or once.most == rule.most:
        return rule
    return replace(rule, exact=(once.most,))


def _words(channels: int, size: int) -> list[Span]:
    """What is read and written together."""
    return [(min(first, channels - size), min(first + size, channels)) for first in range(0, channels, size)]


def variant(average: bool) -> Variant:
    """The record of the kernel, for averages or for maxima."""

    def params(context: Context) -> Kernel:
        return _params(context, average)

    def rows(context: Context) -> Rows | None:
        gathered = gather.of_pool_in_words(context) if average else None
        kernel = _params(context, average)
        words = _words(context.input(0).shape[3], WORD_BYTES * kernel.values["words"])
        return gathered or pool_rows.rows(context, kernel, TEMPLATE, words)

    when = _sums_fit if average else _applies
    return Variant("dsp", TEMPLATE, frozenset({"dsp"}), when, params, rows)
