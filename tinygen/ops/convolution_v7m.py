"""Turns a convolution into the numbers, weights and scales of its kernel for Armv7-M cores.

Four channels at a time: their weights are widened to words w0 + (w1 << 16) in scratch, so that one multiplication by an
input is two products, in lanes of 16 bits. The products of two inputs are added before the lanes are taken apart.
A 1x1 convolution is one row of pixels, and so are the rows of a fully connected layer. All sizes are numbers of the
layer, so that layers of every shape share a kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant, requantize
from tinygen.ir import Array, Tensor
from tinygen.ops import byte_pairs, dsp, lanes, weighted
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.window import Geometry, convolution_geometry
from tinygen.quant import Numerics
from tinygen.requantize import Steps

CONVOLUTION = weighted.Operands(channel_axis=0)
FULLY_CONNECTED = weighted.Operands(channel_axis=0, offset_weights=True)
CHANNELS = 4
"""Of a block: two pairs, the sums of which the registers hold beside what the inner loop needs."""
INPUTS = 2
"""Of a step of the inner loop."""
UNROLLED = 8
"""Steps that are printed one after another; more become a loop."""
LINE_BITS = 8
"""Sums are shifted left by so much before one multiplication."""
WORD_BYTES = 4
MOST_COPIED = 1024
"""Bytes of an input inside its border that is copied."""


@dataclass(frozen=True, eq=False)
class Scales:
    """What turns the sums of each channel into outputs."""

    form: str
    """"line": one multiplication; "roundings": two roundings as they are."""
    shift: int
    table: Array
    """int32 [channels, words]"""


def applies(context: Context) -> bool:
    """One group, two inputs or more one behind the other, at least a block of channels that fit."""
    whole = context.input(1).shape[3] == context.input(0).shape[3]
    window = convolution_geometry(context)
    long = _row_inputs(window, context.constant(1)[0].size) >= INPUTS
    return whole and long and _fits(context, CONVOLUTION)


def rows_apply(context: Context) -> bool:
    """Several rows of two inputs or more: the words of a block are worth making."""
    filters, inputs = context.input(1).shape
    several = context.output.size > filters and inputs >= INPUTS
    return several and not weighted.weights_zero_point(context, FULLY_CONNECTED) and _fits(context, FULLY_CONNECTED)


def params(context: Context) -> Kernel:
    """Numbers for the template; of the layer, its weights and scales; room for the words of a block and one window."""
    return _kernel(context, CONVOLUTION, _one_row(convolution_geometry(context), context))


def rows_params(context: Context) -> Kernel:
    """Those of a 1x1 convolution, each row a pixel."""
    rows = context.output.size // context.input(1).shape[0]
    return _kernel(context, FULLY_CONNECTED, Geometry((1, rows), (1, 1), (1, rows), (1, 1), (1, 1), (0, 0)))


def rows(context: Context) -> Rows | None:
    """None: the words of each block would be made again for every row."""
    return None


def _fits(context: Context, operands: weighted.Operands) -> bool:
    found = dsp.sums(context, operands)
    return len(found.rows) >= CHANNELS and lanes.fit(found) and _scales(context, operands, found) is not None


def _one_row(window: Geometry, context: Context) -> Geometry:
    """The same where every pixel is an output: one row of them."""
    pixels = math.prod(window.input)
    if window.kernel == (1, 1) and window.stride == (1, 1) and not window.padded and context.input(0).shape[0] == 1:
        return replace(window, input=(1, pixels), output=(1, pixels))
    return window


def _kernel(context: Context, operands: weighted.Operands, window: Geometry) -> Kernel:
    found = dsp.sums(context, operands)
    scales = _scales(context, operands, found)
    assert scales is not None  # proved by applies
    channels, inputs = found.rows.shape
    starts = byte_pairs.block_starts(len(found.rows), CHANNELS)
    numbers = _numbers(context, window, inputs, channels, scales.shift)
    blocks = [np.concatenate([[start], scales.table[start : start + CHANNELS].ravel()]) for start in starts]
    limits = weighted.activation_range(context)
    values: dict[str, Any] = {
        "form": scales.form,
        "words": scales.table.shape[1],
        "unrolled": UNROLLED,
        "odd": _row_inputs(window, inputs) % INPUTS == 1,
        "dilated": _is_dilated(window),
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }
    weights = np.stack([found.rows[start : start + CHANNELS].T for start in starts]).astype(np.int8)
    constants = Constant("weights", weights), Constant("layer", np.concatenate([numbers, *blocks]).astype(np.int32))
    return Kernel(values, (0,), constants, CHANNELS // 2 * WORD_BYTES * inputs + _bytes_behind(context, window, inputs))


def _bytes_behind(context: Context, window: Geometry, inputs: int) -> int:
    """Of scratch: one window, or the input inside its border."""
    if not window.padded and not _is_gathered(window):
        return 0
    x = context.input(0)
    return math.prod(_reach(window)) * x.shape[3] if _is_copied(window, x) else inputs


def _row_inputs(window: Geometry, inputs: int) -> int:
    """Inputs under an output that lie one behind another; all where the window is as wide as its input."""
    if _is_dilated(window):
        return inputs // math.prod(window.kernel)
    whole = window.kernel[1] == window.input[1] and window.dilation[0] == 1 and not window.pad[1]
    return inputs if whole else inputs // window.kernel[0]


def _numbers(context: Context, window: Geometry, inputs: int, channels: int, shift: int) -> list[int]:
    """In the order of the template."""
    x, line, pad = context.input(0), _row_inputs(window, inputs), window.pad
    depth = inputs // math.prod(window.kernel)
    copy = _is_copied(window, x)
    size = _reach(window) if copy else window.input
    row = size[1] * depth
    insides = [(0, window.output[axis]) if copy else _inside(window, axis) for axis in range(2)]
    if _is_gathered(window):
        insides = [(0, 0), (0, 0)]
    gap = (window.dilation[1] - 1) * depth if _is_dilated(window) else row * window.dilation[0] - line
    read = [min(window.input[axis], size[axis] - pad[axis]) for axis in range(2)]
    border = pad[0] * row + pad[1] * depth
    return [
        *(len(byte_pairs.block_starts(channels, CHANNELS)), inputs),
        *(line // INPUTS * INPUTS, gap),
        *(x.size // (math.prod(window.input) * depth), *window.input, depth, *window.output, channels),
        *(*window.kernel, *window.stride, *window.dilation, *pad, *insides[0], *insides[1]),
        *(0 if copy else -border, window.stride[0] * row, window.stride[1] * depth),
        *((size[0] * row, row, border, read[0], read[1] * depth) if copy else (0, 0, 0, 0, 0)),
        *(x.zero_point, shift),
    ]


def _is_dilated(window: Geometry) -> bool:
    """Whether there are gaps between the window's columns."""
    return window.dilation[1] > 1 and window.kernel[1] > 1


def _is_gathered(window: Geometry) -> bool:
    """Whether what lies under an output is no run of rows equally far apart."""
    return _is_dilated(window) and window.kernel[0] > 1


def _is_copied(window: Geometry, x: Tensor) -> bool:
    """Whether a copy of the input inside its border is small: no window is then gathered on its own."""
    small = x.shape[0] == 1 and not _is_gathered(window)
    return window.padded and small and math.prod(_reach(window)) * x.shape[3] <= MOST_COPIED


def _reach(window: Geometry) -> tuple[int, int]:
    """What the windows cover."""
    height, width = (
        (window.output[axis] - 1) * window.stride[axis] + (window.kernel[axis] - 1) * window.dilation[axis] + 1
        for axis in range(2)
    )
    return height, width


def _inside(window: Geometry, axis: int) -> tuple[int, int]:
    """The first output whose window lies inside the input, and the one behind the last."""
    stride, pad = window.stride[axis], window.pad[axis]
    reach = (window.kernel[axis] - 1) * window.dilation[axis] + 1
    first = -(-pad // stride)
    end = min(window.output[axis], (window.input[axis] - reach + pad) // stride + 1)
    return (first, end) if first < end else (0, 0)


def _scales(context: Context, operands: weighted.Operands, found: Sums) -> Scales | None:
    """The cheapest that is proved exact; None when there is none."""
    line = requantize.line(replace(_steps(context, operands, found), zero_point=0), LINE_BITS)
    if line is not None:
        return Scales("line", line.shift, np.stack([line.offset, line.multiplier], axis=1))
    if _is_single(context):
        return None
    scaling = weighted.fixed_point(context, operands)
    exact = requantize.roundings(scaling.multiplier, scaling.shift, found.bias, found.range, context.output.zero_point)
    if exact is None:
        return None
    return Scales("roundings", 0, np.stack([exact.offset, exact.multiplier, exact.addend, exact.shift], axis=1))


def _steps(context: Context, operands: weighted.Operands, found: Sums) -> Steps:
    return (dsp.one_rounding if _is_single(context) else dsp.two_roundings)(context, operands, found)


def _is_single(context: Context) -> bool:
    """FULLY_CONNECTED is scaled in float64 by TensorFlow Lite's reference, all else in fixed point."""
    return context.node.op == "fully_connected" and context.numerics is Numerics.TFLITE
