"""Turns a depthwise convolution into its kernel for Armv6-M cores that takes the window as a list of taps.

A channel lies in scratch in words of two inputs (ops/depthwise_halves.py): one multiplication by a tap is two products,
in lanes of 16 bits. Two products of each lane are added before the lanes are taken apart. Each tap has with it the way
from the first word under an output to its own, so that windows of all sizes, strides and gaps share the kernel; all
sizes are numbers of the layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import quant, scaled_line
from tinygen.ir import Array
from tinygen.ops import depthwise_halves, dsp, lanes, weighted, window_walk
from tinygen.ops.depthwise_halves import Halves, Run
from tinygen.ops.dsp import Sums
from tinygen.ops.planes import OPERANDS
from tinygen.ops.spec import Constant, Context, Kernel
from tinygen.ops.window import convolution_geometry
from tinygen.scaled_line import ScaledLine

TEMPLATE = "kernels/depthwise_conv_2d.taps.v6m.c.j2"
LEAST_OUTPUTS = 16
"""Of a channel: fewer are not worth the list of taps and the words of the plane."""
MOST_WORDS, LEAST_WORDS = 3, 2
"""Of outputs that are computed at once: a sum of two lanes has two registers."""
CHUNK = 2
"""Products that are added before lanes are taken apart."""
ROUND = 8
"""Taps that are printed one after another, a power of 2; an odd one is taken by itself."""
WORD_BYTES = 4
TAPS_OF_WORD, TAP_WORDS = 4, 2
"""In flash, where they are bytes, and in scratch."""
TAP_CYCLES, LONE_CYCLES = {2: 15, 3: 20}, {2: 20, 3: 26}
"""About what a tap takes of so many words, in a round, and alone."""
WORD_CYCLES, GROUP_CYCLES, COPY_CYCLES, RUN_CYCLES = 36, 45, 12, 30
"""The same of a word of outputs that is scaled and stored, and of a group of them; of a word that is copied to the
plane, and of a row of such words."""


def applies(context: Context) -> bool:
    """Some outputs a channel, taps that fit in lanes, a line that is proved exact."""
    height, width = convolution_geometry(context).output
    way, found = _best(context), dsp.sums(context, OPERANDS)
    if way is None or height * width < LEAST_OUTPUTS or not bool(np.all(lanes.fits_lane(_chunked(found, way)))):
        return False
    return _line(context, found) is not None


def params(context: Context) -> Kernel:
    """The layer with its taps and what scales their sums, and room for the list of taps and for a channel."""
    found, way = dsp.sums(context, OPERANDS), _best(context)
    line = _line(context, found)
    assert way is not None and line is not None  # proved by applies
    limits, rule = weighted.activation_range(context), window_walk.by_planes(context, convolution_geometry(context))
    records = _records(found, way, line)
    values: dict[str, Any] = {
        "words_at_once": _at_once(way),
        "round": ROUND,
        "kinked": line.kinked,
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }
    words = np.concatenate([_numbers(context, way, records.shape[1]), records.ravel()])
    listed = -(-way.taps // TAPS_OF_WORD) * TAPS_OF_WORD
    scratch = (TAP_WORDS * listed + way.plane_words) * WORD_BYTES
    return Kernel(values, (0,), (Constant("layer", lanes.as_int32(words)),), scratch, (rule,))


def _best(context: Context) -> Halves | None:
    """The fastest way to lay out a channel."""
    ways = depthwise_halves.ways(convolution_geometry(context))
    return min((way for way in ways if way.words >= LEAST_WORDS), key=_cycles, default=None)


def _cycles(way: Halves) -> float:
    """About what a channel takes."""
    size, lone = _at_once(way), way.taps % CHUNK
    groups = way.rows * -(-way.words // size)
    taps = (way.taps - lone) * TAP_CYCLES[size] + lone * LONE_CYCLES[size]
    copies = sum(run.rows * (RUN_CYCLES + run.words * COPY_CYCLES) for run in way.runs)
    return groups * (taps + size * WORD_CYCLES + GROUP_CYCLES) + copies


def _at_once(way: Halves) -> int:
    return min(way.words, MOST_WORDS)


def _line(context: Context, found: Sums) -> ScaledLine | None:
    """One for each channel; with a kink where outputs have both signs."""
    steps, starts = dsp.two_roundings(context, OPERANDS, found), np.arange(len(found.rows))
    line = scaled_line.search(steps, starts, 1)
    return line or scaled_line.search(lanes.moved(steps, found.bias), starts, 1, kinked=True)


def _ordered(found: Sums, way: Halves) -> Array:
    """[channels, taps] as the plane lies."""
    sizes = way.down.kernel, way.along.kernel
    filters: Array = found.rows.reshape(-1, *(sizes[::-1] if way.turned else sizes))
    return (filters.transpose(0, 2, 1) if way.turned else filters).reshape(len(filters), -1)


def _chunked(found: Sums, way: Halves) -> Array:
    """[channels, chunks, CHUNK]: the taps that are added before lanes are taken apart; a lone one fits by itself."""
    return _ordered(found, way)[:, way.taps % CHUNK :].reshape(len(found.rows), -1, CHUNK)


def _records(found: Sums, way: Halves, line: ScaledLine) -> Array:
    """[channels, words] in the order of the template: taps as bytes, then what scales their sum."""
    taps = _ordered(found, way)
    padded = np.pad(taps, ((0, 0), (0, -taps.shape[1] % TAPS_OF_WORD)))
    bytes_ = np.ascontiguousarray(padded.astype(np.int8))
    high, low, addend, *below = line.words.T
    right, shift = line.shifts.T
    columns = [shift, right, low, high, addend, *below, *([found.bias] if line.kinked else [])]
    return np.concatenate([bytes_.view("<i4"), np.stack(columns, axis=1)], axis=1)


def _numbers(context: Context, way: Halves, record_words: int) -> list[int]:
    """In the order of the template: those of the layer, the columns of the taps, the runs."""
    x, y = context.input(0), context.output
    depth, filters = x.shape[3], y.shape[3]
    (in_down, in_along), (out_down, out_along) = (_steps(tensor.shape, way.turned) for tensor in (x, y))
    down, along = way.apart
    in_apart = down * way.down.stride * in_down + along * way.along.stride * in_along
    numbers = [
        *(x.shape[0], x.size // x.shape[0], y.size // y.shape[0], depth, filters // depth, record_words),
        *(way.plane_words, x.zero_point, way.pitch, in_down, in_along * way.along.stride, in_apart),
        *(way.down.kernel, way.along.kernel, way.down.dilation * way.pitch * WORD_BYTES),
        *(way.rows, way.words, way.down.stride * way.pitch, way.words // _at_once(way) * _at_once(way)),
        *(out_down, out_along, down * out_down + along * out_along, len(way.runs)),
    ]
    columns = [column * WORD_BYTES for column in way.columns]
    return numbers + columns + [number for run in way.runs for number in _span(run, in_down, in_along)]


def _steps(shape: tuple[int, ...], turned: bool) -> tuple[int, int]:
    """Bytes from row to row of the plane, and along a row."""
    steps = shape[2] * shape[3], shape[3]
    return steps[::-1] if turned else steps


def _span(run: Run, in_down: int, in_along: int) -> tuple[int, ...]:
    """The numbers of a run in the order of the template."""
    source = run.down * in_down + run.along * in_along
    return run.rows, run.words, run.place, source, 0 if run.lane is None else 1 + run.lane
