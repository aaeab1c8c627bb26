"""Turns the weights and the scaling of a layer into the words that kernels of byte pairs read, for the DSP extension.

The weights of two channels share the halfword 256 * odd + even. One multiplication by an input then serves both: the
pair's sum is 256 times the odd channel's plus the even one's, which is summed beside it from the low byte alone.
A block of channels is one run of words, read from first to last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant, requantize
from tinygen.ir import Array
from tinygen.ops import weighted
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Context
from tinygen.requantize import Line, Roundings, Steps

SHIFT = 8
"""The odd channel's sum comes out shifted left by so much; the even one's is shifted like it."""
WORD_BYTES = 4


@dataclass(frozen=True, eq=False)
class Finish:
    """How sums become outputs: the numbers that templates/kernels/byte_pairs.j2 prints, and words for each channel."""

    values: Mapping[str, Any]
    start: Array
    """int32 [channels]: where the sum of a pair starts whose odd weight is of this channel."""
    even: Array
    """int32 [channels, words]: what the sum of an even channel needs."""
    odd: Array
    """int32 [channels, words]"""


def block_starts(channels: int, size: int) -> list[int]:
    """The first channels of blocks of `size`; a last one that would be smaller starts earlier, some work done twice."""
    return sorted({*range(0, channels - size + 1, size), channels - size})


def fit(found: Sums, size: int) -> bool:
    """Whether weights can be paired in blocks of `size` channels: every pair is an int16, 256 times a sum an int32.

    Not where -128 is paired with a negative weight.
    """
    if len(found.rows) < size or np.abs(found.range).max() >= 2 ** (31 - SHIFT):
        return False
    firsts = np.array(block_starts(len(found.rows), size))[:, None] + np.arange(0, size, 2)
    pairs = (found.rows[firsts + 1] << SHIFT) + found.rows[firsts]
    return bool(pairs.min() >= quant.RANGES["int16"][0])


def finish(
    context: Context, scaling: weighted.Scaling | None, found: Sums, steps: Steps, shared: bool = False
) -> Finish | None:
    """The cheapest way to store these sums that is proved exact for all channels; None when there is none.

    `scaling` is there when it has two roundings; `shared` allows one multiplier for all channels.
    """
    limits = weighted.activation_range(context)
    clamp = None if limits == quant.RANGES["int8"] else {"low": limits[0], "high": limits[1]}
    single = requantize.line(steps, SHIFT, shared=True) if shared else None
    line = single or requantize.line(steps, SHIFT)
    if line is not None:
        return _of_line(line, clamp, single is not None)
    exact = _roundings(context, scaling, found)
    return None if exact is None else _of_roundings(exact, clamp)


def can_finish(context: Context, scaling: weighted.Scaling | None, found: Sums, steps: Callable[[], Steps]) -> bool:
    """Whether `finish` finds a way; in nearly all layers without a search."""
    return _roundings(context, scaling, found) is not None or requantize.line(steps(), SHIFT) is not None


def _roundings(context: Context, scaling: weighted.Scaling | None, found: Sums) -> Roundings | None:
    if scaling is None:
        return None
    zero_point = context.output.zero_point
    return requantize.roundings(scaling.multiplier, scaling.shift, found.bias, found.range, zero_point)


def _of_line(line: Line, clamp: Mapping[str, int] | None, shared: bool) -> Finish:
    """The offset of an odd channel is in its sum from the start."""
    multiplier = int(line.multiplier[0]) if shared else None
    values = {"form": "line", "addend": line.addend, "shift": line.shift, "clamp": clamp, "multiplier": multiplier}
    odd = np.zeros((len(line.offset), 0), np.int32) if shared else line.multiplier[:, None]
    even = np.concatenate([line.offset[:, None], odd], axis=1)
    return Finish({**values, "right": None, "words": (even.shape[1], odd.shape[1])}, line.offset, even, odd)


def _of_roundings(exact: Roundings, clamp: Mapping[str, int] | None) -> Finish:
    columns = [exact.offset, exact.multiplier]
    values: dict[str, Any] = {
        "form": "roundings",
        "clamp": clamp,
        "multiplier": None,
        "addend": None,
        "shift": None,
        "right": None,
    }
    if np.all(exact.shift == exact.shift[0]):
        values |= {"addend": int(exact.addend[0]), "shift": int(exact.shift[0])}
    else:
        values |= {"addend": None, "shift": None}
        columns += [exact.addend, exact.shift]
    values["words"] = (len(columns), len(columns))
    table = np.stack(columns, axis=1)
    return Finish(values, np.zeros(len(table), np.int32), table, table)


def in_order_of_bytes(inputs: int) -> list[tuple[int, int]]:
    """Which two inputs each step of the inner loop takes; -1 is none.

    Widening a word of four bytes gives bytes 0 and 2, then 1 and 3. Behind the last whole word: the first and the last
    of what is left, then the one between.
    """
    whole, rest = inputs // 4 * 4, inputs % 4
    steps = [(first + i, first + i + 2) for first in range(0, whole, 4) for i in range(2)]
    behind = ((), ((0, -1),), ((0, 1),), ((0, 2), (1, -1)))[rest]
    return steps + [(whole + first, whole + second if second >= 0 else -1) for first, second in behind]


def sums_of_groups(found: Sums, groups: int) -> list[Sums]:
    """Those of each of so many groups of channels."""
    low, high = found.range
    parts = (np.split(array, groups) for array in (found.rows, found.bias, low, high))
    return [Sums(rows, bias, (least, most)) for rows, bias, least, most in zip(*parts, strict=True)]


def words_of_groups(found: Sums, finish: Finish, order: list[tuple[int, int]], size: int, groups: int) -> Array:
    """`words` of each group, one after another; channels count from the first of the group."""
    parts = zip(*(np.split(array, groups) for array in (finish.start, finish.even, finish.odd)), strict=True)
    finishes = (replace(finish, start=start, even=even, odd=odd) for start, even, odd in parts)
    each = zip(sums_of_groups(found, groups), finishes, strict=True)
    return np.concatenate([words(sums, own, order, size) for sums, own in each])


def words(found: Sums, finish: Finish, order: list[tuple[int, int]], size: int) -> Array:
    """All blocks of `size` channels, each a run of int32 words.

    Where the sums of its pairs start; for each step the weights of each pair, of the step's two inputs in a word; its
    first channel; then what each of its channels needs to be stored.
    """
    rows = np.pad(found.rows, ((0, 0), (0, 1)))[:, np.array(order)]
    runs = []
    for first in block_starts(len(rows), size):
        even, odd = np.arange(first, first + size, 2), np.arange(first + 1, first + size, 2)
        pairs = (rows[odd] << SHIFT) + rows[even]
        weights = (pairs[..., 1] << 16) + (pairs[..., 0] & 0xFFFF)
        stored = np.concatenate([finish.even[even], finish.odd[odd]], axis=1)
        runs += [finish.start[odd], weights.T.ravel(), [first], stored.ravel()]
    return np.concatenate(runs).astype(np.int32)
