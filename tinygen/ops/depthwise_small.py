"""Turns a depthwise convolution of a small map into C that skips what lies outside, for cores without DSP extension.

A row of outputs is summed at once, row by row of the window, from the input as it lies; borders take no time. Channels
and the distances between pixels are numbers of the layer, so that layers of one map share the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import depthwise_v6m, depthwise_v7m, dsp, floored_line, lanes, planes, weighted, window_walk
from tinygen.ops.dsp import Sums
from tinygen.ops.planes import OPERANDS, Axis, Plane
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.small.c.j2"
MOST_OUTPUTS = 4
"""Of a row: their sums are in registers."""
MOST_PRODUCTS = 20
"""Of a row of outputs and one of the window: all are printed."""
MOST_MAP = 16
"""Outputs of a channel."""
SQUARE = (3, 3)
MOST_SQUARE_OUTPUTS, MOST_SQUARE_INPUTS = 9, 16
"""Where other kernels have such windows: for Armv6-M, and for Armv7-M."""
FORMS = ("line", "roundings")
"""Of `planes.scaling`, that are cheap."""


@dataclass(frozen=True, eq=False)
class _Scales:
    """What turns the sums of a channel into outputs; what they lack is in it."""

    values: dict[str, Any]
    table: Array
    """[channels, words]"""


@dataclass(frozen=True)
class Element:
    """An input of a row, with the outputs and the taps of which it is part."""

    place: int
    products: tuple[tuple[int, int], ...]


def floored_applies(context: Context) -> bool:
    """A small map, and a line that is proved exact where outputs are not the least one; for Armv6-M."""
    window = convolution_geometry(context)
    most = MOST_SQUARE_OUTPUTS if window.kernel == SQUARE else MOST_MAP
    return math.prod(window.output) <= most and _is_small(context) and _floored(context) is not None


def scaled_applies(context: Context) -> bool:
    """A small map, and a scaling that is proved exact."""
    window = convolution_geometry(context)
    if window.kernel == SQUARE and math.prod(window.input) > MOST_SQUARE_INPUTS:
        return False
    return _is_small(context) and _scaled(context).values["scaling"]["form"] in FORMS


def floored_params(context: Context) -> Kernel:
    """Numbers for the template, taps, and the numbers of the layer with what scales its sums."""
    return _kernel(context, _floored)


def scaled_params(context: Context) -> Kernel:
    """The same, scaled by a multiplication of 64 bits."""
    return _kernel(context, _scaled)


def floored_rows(context: Context) -> Rows | None:
    """A row of it by another kernel."""
    return depthwise_v6m.rows(context) if depthwise_v6m.applies(context) else None


def scaled_rows(context: Context) -> Rows | None:
    """The same."""
    return depthwise_v7m.rows(context) if depthwise_v7m.applies(context) else None


def _is_small(context: Context) -> bool:
    """One filter a channel, no gaps, few outputs, each over some input."""
    window = convolution_geometry(context)
    single = context.input(0).shape[3] == context.output.shape[3] and window.dilation == (1, 1)
    return single and math.prod(window.output) <= MOST_MAP and _best(context) is not None


def _best(context: Context) -> Plane | None:
    """The way with fewest multiplications printed, rows along either axis."""
    ways = planes.planes(convolution_geometry(context))
    fitting = [way for way in ways if way.along.output <= MOST_OUTPUTS and _products(way.along) <= MOST_PRODUCTS]
    fitting = [way for way in fitting if all(_taps(way.down, row) for row in range(way.down.output))]
    return min(fitting, key=_steps, default=None)


def _steps(way: Plane) -> int:
    """Rows of inputs under all rows of outputs."""
    return sum(len(_taps(way.down, row)) for row in range(way.down.output))


def _taps(axis: Axis, output: int) -> range:
    """Those of the window over an output that lie in the input."""
    start = output * axis.stride - axis.pad
    return range(max(0, -start), min(axis.kernel, axis.input - start))


def _products(axis: Axis) -> int:
    return sum(len(_taps(axis, output)) for output in range(axis.output))


def elements(axis: Axis) -> tuple[Element, ...]:
    """The inputs of a row under its outputs, in order."""
    found: dict[int, list[tuple[int, int]]] = {}
    for output in range(axis.output):
        for tap in _taps(axis, output):
            found.setdefault(output * axis.stride - axis.pad + tap, []).append((output, tap))
    return tuple(Element(place, tuple(found[place])) for place in sorted(found))


def _kernel(context: Context, scale: Callable[[Context], _Scales | None]) -> Kernel:
    way, scales, x = _best(context), scale(context), context.input(0)
    assert way is not None and scales is not None  # proved by applies
    limits = weighted.activation_range(context)
    inputs = elements(way.along)
    values: dict[str, Any] = {
        **convolution_geometry(context).values(),
        **scales.values,
        "batches": x.shape[0],
        "zero_point": x.zero_point,
        "turned": way.turned,
        "outputs": way.along.output,
        "rows": way.down.output,
        "elements": inputs,
        "taps_used": tuple(sorted({tap for element in inputs for _, tap in element.products})),
        "taps_along": way.along.kernel,
        "taps": way.along.kernel * way.down.kernel,
        "record_words": scales.table.shape[1],
        "low": limits[0],
        "high": limits[1],
    }
    taps = planes.filters(dsp.sums(context, OPERANDS), way).reshape(x.shape[3], -1)
    numbers = _numbers(context, way, inputs[0].place)
    constants = (
        Constant("weights", taps.astype(np.int8)),
        Constant("layer", lanes.as_int32(np.concatenate([numbers, scales.table.ravel()]))),
    )
    rule = window_walk.by_rows_of_planes(context, convolution_geometry(context), way.turned, again=True)
    return Kernel(values, (0,), constants, overlaps=(rule,))


def _numbers(context: Context, way: Plane, first: int) -> list[int]:
    """In the order of the template: the layer's, then where the input, and the taps, under each row of outputs begin,
    and where the taps end.
    """
    x, y = context.input(0), context.output
    (in_down, in_along), (out_down, out_along) = (_distances(tensor.shape, way.turned) for tensor in (x, y))
    numbers = [x.shape[3], in_down, in_along, out_down, out_along]
    for row in range(way.down.output):
        taps = _taps(way.down, row)
        source = (row * way.down.stride - way.down.pad + taps.start) * in_down + first * in_along
        numbers += [source, taps.start * way.along.kernel, taps.stop * way.along.kernel]
    return numbers


def _distances(shape: tuple[int, ...], turned: bool) -> tuple[int, int]:
    """Bytes from row to row, and along a row."""
    steps = shape[2] * shape[3], shape[3]
    return steps[::-1] if turned else steps


def _outside(context: Context, found: Sums) -> Array:
    """[channels]: what sums of inputs without their zero point lack."""
    return np.asarray(context.input(0).zero_point * found.rows.sum(axis=1))


def _floored(context: Context) -> _Scales | None:
    """By two multiplications of 32 bits, from the first sum on whose output is not the least one."""
    found = dsp.sums(context, OPERANDS)
    steps = lanes.moved(dsp.two_roundings(context, OPERANDS, found), -_outside(context, found))
    line = floored_line.search(steps, np.zeros(1, np.int64), len(found.rows))
    if line is None:
        return None
    right, shift = line.line.shifts[0].tolist()
    table = np.column_stack([line.threshold, line.line.words])
    return _Scales({"scaling": {"form": "floored", "right": right, "shift": shift}}, table)


def _scaled(context: Context) -> _Scales:
    """By what is cheapest with a product of 64 bits."""
    found = dsp.sums(context, OPERANDS)
    scaled = planes.scaling(context, found)
    columns = [constant.data.reshape(len(found.rows), -1).astype(np.int64) for constant in scaled.constants]
    columns[0] = np.column_stack([columns[0][:, 0] + (_outside(context, found) << scaled.bits), columns[0][:, 1:]])
    return _Scales({"scaling": scaled.values, "sum_scale": 2**scaled.bits}, np.concatenate(columns, axis=1))
