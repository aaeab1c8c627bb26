"""Turns the weights of a layer into the words of its kernel for Armv6-M cores: two channels in one multiplication.

An input times w0 + (w1 << 16) is two products, in lanes of 16 bits; a few such products are added before the lanes are
taken apart. How many is proved here from the weights: the inputs of such a chunk may be the extremes of int8.
Four weights lie in a word, as bytes of w + 128; templates/kernels/lanes.j2 says how they are taken out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant, scaled_line
from tinygen.ir import Array
from tinygen.ops import byte_pairs, dsp, weighted
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Constant, Context
from tinygen.quant import Numerics
from tinygen.requantize import Steps
from tinygen.scaled_line import ScaledLine

CHANNELS = 4
"""Of a block: two pairs, the sums of which the registers hold beside what the inner loop needs."""
SIZES = (8, 4, 2)
"""Inputs of a chunk."""
WORD_BYTES = 4
LANE_BITS, LANE_HALF = 16, 1 << 15
WEIGHT_OFFSET = 128
"""What is added to a weight so that it is a byte."""
MOST_SUM = 2**30
"""Of a sum without scaling: words of 32 bits hold it."""


@dataclass(frozen=True, eq=False)
class Layer:
    """What every kernel of lanes takes: words, and the numbers that its C prints."""

    words: Array
    """int32: the numbers of the layer; then for each size of a chunk the number of its words, and its blocks."""
    sizes: tuple[int, ...]
    """Of the chunks that the kernel knows, the largest first."""
    scaled: bool
    """Whether blocks store outputs; else sums, which the kernel scales as the reference does."""
    kinked: bool
    """Whether they are scaled by another addend below zero."""
    scratch_bytes: int
    written: Array
    """[passes, 1, 2]: where the channels begin and end that each pass over the inputs stores."""

    @property
    def constant(self) -> Constant:
        """The words as the kernel takes them."""
        return Constant("words", self.words)


def fit(found: Sums) -> bool:
    """Whether there is a block, its chunks of two inputs fit in lanes, and no sum leaves 32 bits."""
    if len(found.rows) < CHANNELS or np.abs(found.range).max() >= MOST_SUM:
        return False
    return bool(np.all(_fits(found.rows, SIZES[-1])))


def layer(found: Sums, steps: Steps, numbers: list[int], shared: bool) -> Layer:
    """All words, behind the `numbers` of the layer; `shared` by layers of all shapes or for one alone."""
    starts = np.array(byte_pairs.block_starts(len(found.rows), CHANNELS))
    line = scaled_line.search(steps, starts, CHANNELS)
    line = line or scaled_line.search(moved(steps, found.bias), starts, CHANNELS, kinked=True)
    sizes = _sizes(found.rows, starts)
    used = tuple(size for size in SIZES if np.any(sizes == size))
    printed = SIZES if shared else used
    words = [np.array(numbers, np.int64)]
    for size in printed:
        blocks = [_block(found, line, start, size) for start in np.flatnonzero(sizes == size).tolist()]
        words += [np.array([sum(map(len, blocks))]), *blocks]
    chunked = [chunks(found.rows.shape[1], size) * (size + 1) for size in used]
    scratch = (max(chunked) + (0 if line else len(found.rows))) * WORD_BYTES
    blocks = [np.flatnonzero(sizes == size) for size in used] if line else [np.array([0, len(found.rows) - CHANNELS])]
    written = np.array([[[starts.min(), starts.max() + CHANNELS]] for starts in blocks])
    kinked = line is not None and line.kinked
    return Layer(as_int32(np.concatenate(words)), printed, line is not None, kinked, scratch, written)


def kernel_parts(
    context: Context, operands: weighted.Operands, layer: Layer
) -> tuple[dict[str, Any], tuple[Constant, ...]]:
    """What every such kernel prints, and its arrays: the words, and what scales sums as the reference does."""
    low, high = limits = weighted.activation_range(context)
    values: dict[str, Any] = {
        "sizes": layer.sizes,
        "scaled": layer.scaled,
        "kinked": layer.kinked,
        "limits": None,
        "scaling": None,
        "thumb2": False,
    }
    if layer.scaled:
        return values | {"limits": None if limits == quant.RANGES["int8"] else limits}, (layer.constant,)
    scaling = _scaling(context, operands)
    zero_point, channels = context.output.zero_point, context.output.shape[-1]
    values["scaling"] = {
        "function": scaling.function,
        "has_fraction": scaling.fraction is not None,
        "zero_point": zero_point,
        "clamp_min": low - zero_point,
        "clamp_max": high - zero_point,
    }
    arrays = {"multiplier": scaling.multiplier, "fraction": scaling.fraction, "shift": scaling.shift.astype(np.int8)}
    tables = (Constant(n, np.resize(a, channels)) for n, a in arrays.items() if a is not None)
    return values, (layer.constant, *tables)


def _is_single(context: Context) -> bool:
    """FULLY_CONNECTED is scaled in float64 by TensorFlow Lite's reference, all else in fixed point."""
    return context.node.op == "fully_connected" and context.numerics is Numerics.TFLITE


def _scaling(context: Context, operands: weighted.Operands) -> weighted.Scaling:
    return (weighted.nearest if _is_single(context) else weighted.fixed_point)(context, operands)


def chunks(inputs: int, size: int) -> int:
    """Chunks of `size` inputs, the last one filled up."""
    return -(-inputs // size)


def steps(context: Context, operands: weighted.Operands, found: Sums) -> Steps:
    """Where the outputs of the layer step."""
    return (dsp.one_rounding if _is_single(context) else dsp.two_roundings)(context, operands, found)


def moved(steps: Steps, start: Array) -> Steps:
    """The steps of sums that start with `start` [channels]."""
    return replace(steps, first=steps.first + start[:, None], least=steps.least + start, most=steps.most + start)


def _chunked(rows: Array, size: int) -> Array:
    """[channels, chunks, size], filled up with zeros."""
    missing = chunks(rows.shape[1], size) * size - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, missing))).reshape(len(rows), -1, size)


def _fits(rows: Array, size: int) -> Array:
    """[channels]: whether the sum of every chunk is an int16, whatever its inputs."""
    return np.asarray(np.all(fits_lane(_chunked(rows, size)), axis=1))


def fits_lane(weights: Array) -> Array:
    """[...]: whether the sum of weights [..., inputs] times any inputs is an int16, and not the least one.

    That in an upper lane, what the lower one borrows would leave 32 bits.
    """
    most = np.maximum(weights * 127, weights * -128).sum(axis=-1)
    least = np.minimum(weights * 127, weights * -128).sum(axis=-1)
    return np.asarray((most < LANE_HALF) & (least > -LANE_HALF))


def _sizes(rows: Array, starts: Array) -> Array:
    """[channels]: at the first channel of each block the size of its chunks, the one that costs least; else 0."""
    sizes, inputs = np.zeros(len(rows), np.int64), rows.shape[1]
    order = sorted(SIZES, key=lambda size: chunks(inputs, size) * (9 * size + 16))
    blocks = starts[:, None] + np.arange(CHANNELS)
    for size in reversed(order):
        fitting = _fits(rows, size)[blocks].all(axis=1)
        sizes[starts[fitting]] = size
    return sizes


def _block(found: Sums, line: ScaledLine | None, start: int, size: int) -> Array:
    """Where the sums start, the weights, the first channel, and what each channel needs to be stored."""
    rows = _chunked(found.rows[start : start + CHANNELS], size)
    halves = rows.shape[1] * LANE_HALF
    begin = np.zeros(CHANNELS, np.int64) if line and not line.kinked else found.bias[start : start + CHANNELS]
    starts = [word for pair in begin.reshape(2, 2) for word in (pair[0] + (pair[1] << LANE_BITS) - halves, pair[1])]
    parts = [np.array(starts), weight_words(rows), np.array([start])]
    if line:
        parts += [line.shifts[start], line.words[start : start + CHANNELS].ravel()]
    return np.concatenate(parts)


def weight_words(rows: Array) -> Array:
    """For every two inputs the two words of a block's weights [4, chunks, size]."""
    bytes_ = (rows + WEIGHT_OFFSET).reshape(2, 2, -1, 2).transpose(2, 0, 1, 3)
    return np.asarray((bytes_.reshape(-1, 2, 4) << np.array([0, 8, 16, 24])).sum(axis=2).ravel())


def as_int32(words: Array) -> Array:
    """The words, their lowest 32 bits."""
    return (words & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
