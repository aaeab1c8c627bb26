"""Turns functions into tables of int16 that TensorFlow Lite's kernels for 16-bit activations interpolate in.

Between two samples of a curve a line lies on one side of it. Both kinds of tables move each sample by half of what the
line to the next one misses at its middle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array

STEPS = 512
"""Of a table over all int16; each is a line over 128 of them."""
STEP_BITS = 7
LEAST, MOST = quant.RANGES["int16"]
SIGMOID_STEPS_PER_ONE = 24
SIGMOID_ENTRIES = 256


def over_int16(function: Callable[[Any], Any], low: float, high: float, real: Any) -> Array:
    """int64 [513]: `function` from `low` to `high`, whose value 1 is 32767, computed in the floating-point type `real`.

    Source of the method: TensorFlow Lite's tables for int16 softmax.
    """
    scale = real(high - low) / real(MOST - LEAST)
    begin, end = (real(0), scale * real(MOST - LEAST)) if low == 0 else (scale * real(LEAST - MOST), real(0))
    step = (end - begin) / real(STEPS)
    resolution = real(2) / real(MOST - LEAST)
    unit = real(MOST - LEAST + 1) / (resolution * real(MOST) - resolution * real(LEAST))
    places = begin + np.arange(STEPS).astype(real) * step
    following = begin + np.arange(1, STEPS + 1).astype(real) * step
    samples = _rounded(function(places) * unit)
    middle = _rounded(function(places + step / real(2)) * unit)
    missed = _rounded((function(following) * unit + samples) / real(2)) - middle
    last = _rounded(function(np.array([end], real)) * unit)
    table = np.concatenate([samples - _rounded(missed / real(2)), last])
    return np.asarray(np.clip(table, LEAST, MOST), np.int64)


def between(table: Array, value: Array) -> Array:
    """`table` at int16 values; its C mirror is tg_interpolate."""
    index, rest = (value >> STEP_BITS) + STEPS // 2, value & (2**STEP_BITS - 1)
    base = table[index]
    found: Array = base + (((table[index + 1] - base) * rest + 2 ** (STEP_BITS - 1)) >> STEP_BITS)
    return found


def sigmoid() -> Array:
    """int64 [256]: 1 / (1 + exp(-i / 24)) in Q0.16, as TensorFlow Lite has it; the last one is as good as 1."""
    places = np.arange(SIGMOID_ENTRIES)
    samples, following, middle = (_sigmoid(places + shift) for shift in (0, 1, 0.5))
    table = np.floor(samples + (middle - (samples + following) / 2) / 2 + 0.5).astype(np.int64)
    table[-1] = 2**16 - 1
    return table


def _sigmoid(place: Array) -> Array:
    found: Array = 2**16 / (1 + np.exp(-place / SIGMOID_STEPS_PER_ONE))
    return found


def _rounded(value: Array) -> Array:
    """Halves away from zero, in the type of `value`."""
    rounded: Array = np.copysign(np.floor(np.abs(value) + value.dtype.type(0.5)), value)
    return rounded
