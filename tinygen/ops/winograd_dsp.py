"""Turns a 3x3 convolution into the numbers and words of Winograd's F(4x4, 3x3), for cores with the DSP extension.

A tile of 6x6 inputs gives 4x4 outputs with 36 multiplications for each channel in place of 144. All is done in whole
numbers: the rows of the filters' transform are multiplied by 4, -6, -6, 24, 24 and 1, so that a sum comes out 576 times
(24 * 24) too large. Steps may leave 32 bits as long as that does not: then it is exact. What is missing to a sum is
added at place (1, 1) of the transformed sums, which is in all outputs alike. One multiplication scales the enlarged
total (tinygen/ops/bent_line.py); where none is found that is exact, it is divided by 9 by a multiplication that wraps,
by 32 by a shift, and rounded twice. Inputs and transformed filters are pairs of int16, two channels a word, as SMLAD
takes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinygen import quant, requantize
from tinygen.ir import Array
from tinygen.ops import bent_line, byte_pairs, convolution_chain_dsp, convolution_dsp, dsp, overlap, weighted
from tinygen.ops.convolution_layout import layout_of
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Constant, Context, Kernel, Overlap
from tinygen.ops.window import Geometry, convolution_geometry
from tinygen.requantize import Roundings

TEMPLATE = "kernels/conv_2d.winograd.dsp.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
OUTPUTS, TILE = 4, 6
"""Along an edge of a tile: outputs, and the inputs under them."""
FILTERS = 4
"""Of a block: with two tiles 8 sums."""
ENLARGED = 576
"""What the sums are multiplied by."""
AT_ONE = 36
"""What is added at place (1, 1) comes out 16 times: a sixteenth of that."""
NINTH = 954437177
"""Times 9 it is 1 in 32 bits: times 576 it is 64."""
FILTER_ROWS = np.array([[1, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [1, -2, 4], [0, 0, 1]])
"""The transform of a filter's rows, and of its columns."""
STORED_OFFSET = 128
"""Inputs are transformed as unsigned bytes: two of them make a word of which no half borrows from the other."""
LEAST_DEPTH = 4
"""Channels of the input: with fewer the transforms take what the multiplications save."""
ROUND_PAIRS = (8, 6, 4, 2)
"""Pairs of channels whose multiplications are printed one after another."""
PLAIN_CYCLES, OUTPUT_CYCLES = 5, 8
"""About what a direct convolution takes: plain C for each product; what else the DSP extension does for an output."""
PLACE_CYCLES, STEP_CYCLES, PIXELS_CYCLES, STORE_CYCLES, FILTER_CYCLES = 25, 16, 400, 310, 160
"""About what these take: a place of a block, a pair of channels there; two channels of a tile, a tile of outputs; two
channels of a filter."""
WORD_BYTES = 4
BLOCK_WORDS = TILE * TILE * FILTERS
SUMS_BYTES = 2 * BLOCK_WORDS * WORD_BYTES


@dataclass(frozen=True)
class Tiling:
    """What is transformed before it is used: tiles, and blocks of filters."""

    down: int
    """Rows of tiles."""
    along: int
    rows_at_once: int
    blocks: int
    blocks_at_once: int
    pairs: int
    """Of channels, whole rounds."""
    in_flash: bool
    """Whether the filters are transformed at compile time."""

    def cycles(self, context: Context) -> float:
        """About what all takes but the transform of the filters."""
        tiles, depth = self.down * self.along, context.input(0).shape[3]
        twos = self.down // self.rows_at_once * -(-self.rows_at_once * self.along // 2)
        multiplied = (PLACE_CYCLES + STEP_CYCLES * self.pairs) * TILE * TILE * self.blocks * twos
        per_tile = PIXELS_CYCLES * depth / 2 + STORE_CYCLES * self.blocks * FILTERS
        return context.input(0).shape[0] * (multiplied + tiles * per_tile)

    @property
    def tiles_bytes(self) -> int:
        """Of the transformed tiles."""
        return (self.rows_at_once * self.along + 1) // 2 * 2 * TILE * TILE * self.pairs * WORD_BYTES

    @property
    def filters_bytes(self) -> int:
        """Of the filters that are transformed at run time."""
        return 0 if self.in_flash else self.blocks_at_once * BLOCK_WORDS * self.pairs * WORD_BYTES


@dataclass(frozen=True, eq=False)
class Finish:
    """How enlarged sums become outputs."""

    form: str
    shift: int | None
    """Of all channels, where each has none of its own."""
    numbers: Array
    """[channels, 4]"""

    def of_blocks(self, starts: list[int]) -> Array:
        """int32 [blocks, 17]: the first channel, then the numbers of four."""
        firsts = np.array(starts)[:, None]
        numbers = self.numbers[firsts + np.arange(FILTERS)].reshape(len(starts), -1)
        return np.concatenate([firsts, numbers], axis=1).astype(np.int32)


def applies(context: Context) -> bool:
    """3x3, one group, stride 1, no gaps, an output of a tile at least; sums of the size that the arithmetic takes."""
    window = convolution_geometry(context)
    fits = window.kernel == (3, 3) and window.stride == window.dilation == (1, 1) and min(window.output) >= OUTPUTS
    whole = context.input(1).shape[3] == context.input(0).shape[3] and context.output.shape[3] >= FILTERS
    if not fits or not whole or context.input(0).shape[3] < LEAST_DEPTH:
        return False
    found = _sums(context)
    totals = np.stack(found.range) + found.bias
    return bool(np.abs(totals).max() * ENLARGED < 2**31) and _roundings(context, found) is not None


def params(context: Context) -> Kernel:
    """The kernel that transforms its filters at run time: all tiles or all filters once, whichever takes less room."""
    return _kernel(context, _run_time(context))


def flash_params(context: Context) -> Kernel:
    """The kernel that finds its filters transformed: eight times the flash."""
    return _kernel(context, _tiling(context, True, False))


def saved_cycles(context: Context) -> float:
    """About what the first takes less than the direct convolution."""
    tiling = _run_time(context)
    return _direct_cycles(context) - tiling.cycles(context) - FILTER_CYCLES * tiling.blocks * FILTERS * tiling.pairs


def saved_cycles_in_flash(context: Context) -> float:
    """About what the second takes less."""
    return _direct_cycles(context) - _tiling(context, True, False).cycles(context)


def _direct_cycles(context: Context) -> float:
    window, filters = convolution_geometry(context), context.output.shape[3]
    if not convolution_dsp.applies(context):
        return PLAIN_CYCLES * context.output.size * context.input(1).size / filters
    if convolution_chain_dsp.applies(context):
        return convolution_chain_dsp.cycles(context) * context.input(0).shape[0]
    outputs = window.output[0] * window.output[1] * filters
    direct: float = layout_of(context).cycles(filters) + OUTPUT_CYCLES * outputs
    return direct * context.input(0).shape[0]


def _run_time(context: Context) -> Tiling:
    tilings = _tiling(context, False, True), _tiling(context, False, False)
    return min(tilings, key=lambda tiling: tiling.tiles_bytes + tiling.filters_bytes)


def _tiling(context: Context, in_flash: bool, tiles_first: bool) -> Tiling:
    window = convolution_geometry(context)
    down, along = (-(-size // OUTPUTS) for size in window.output)
    blocks = len(byte_pairs.block_starts(context.output.shape[3], FILTERS))
    pairs = -(-context.input(0).shape[3] // 2)
    pairs = -(-pairs // round_pairs(pairs)) * round_pairs(pairs)
    return Tiling(down, along, down if tiles_first else 1, blocks, 1 if tiles_first else blocks, pairs, in_flash)


def round_pairs(pairs: int) -> int:
    """The longest round, of those that compute the least for nothing."""
    return min(ROUND_PAIRS, key=lambda size: -pairs % size)


def _kernel(context: Context, tiling: Tiling) -> Kernel:
    window, finish = convolution_geometry(context), _finish(context, _sums(context))
    limits = weighted.activation_range(context)
    rule = _overlap(context, window, tiling)
    x, channels = context.input(0), context.output.shape[3]
    values = {
        "round_pairs": round_pairs(-(-x.shape[3] // 2)),
        "enlarged": ENLARGED,
        "ninth": NINTH,
        "form": finish.form,
        "shift": finish.shift,
        "clamp": None if limits == quant.RANGES["int8"] else {"low": limits[0], "high": limits[1]},
    }
    sizes = [*x.shape, tiling.pairs, *window.output, channels, *window.pad, x.zero_point]
    sizes += [tiling.along, tiling.down, tiling.rows_at_once, tiling.blocks, tiling.blocks_at_once]
    columns_bytes = (window.output[1] + TILE - OUTPUTS) * TILE * WORD_BYTES
    first_bytes = max(SUMS_BYTES, columns_bytes)
    sizes += [int(tiling.in_flash), first_bytes // WORD_BYTES]
    starts = byte_pairs.block_starts(channels, FILTERS)
    filters = _blocks(context.constant(OPERANDS.weights), starts, tiling.pairs)
    constants = (
        Constant("sizes", np.array(sizes, np.int32)),
        Constant("filters", transformed(filters) if tiling.in_flash else packed(filters)),
        Constant("finish", finish.of_blocks(starts)),
    )
    strip_bytes = TILE * x.shape[2] * WORD_BYTES
    scratch = first_bytes + tiling.tiles_bytes + tiling.filters_bytes + strip_bytes
    return Kernel(values, (0,), constants, scratch, (rule,))


def _sums(context: Context) -> Sums:
    """The sums of inputs as unsigned bytes."""
    found = dsp.sums(context, OPERANDS)
    moved = STORED_OFFSET * found.rows.sum(axis=1)
    return replace(found, bias=found.bias - moved, range=(found.range[0] + moved, found.range[1] + moved))


def _roundings(context: Context, found: Sums) -> Roundings | None:
    scaling = weighted.fixed_point(context, OPERANDS)
    return requantize.roundings(scaling.multiplier, scaling.shift, found.bias, found.range, context.output.zero_point)


def _overlap(context: Context, window: Geometry, tiling: Tiling) -> Overlap:
    """Rows of tiles are read, then written; or all at once."""
    x, y = context.input(0), context.output
    rows = np.array(_row_groups(window, tiling))
    under = np.clip(rows - window.pad[0] + np.array([0, TILE - OUTPUTS]), 0, window.input[0])
    batches = np.arange(x.shape[0])[:, None, None]
    reads = (under + batches * x.shape[1]).reshape(-1, 2) * x.shape[2] * x.shape[3]
    writes = (rows + batches * y.shape[1]).reshape(-1, 2) * y.shape[2] * y.shape[3]
    return overlap.of_steps(0, reads, writes, x.size, y.size)


def _row_groups(window: Geometry, tiling: Tiling) -> list[tuple[int, int]]:
    """The first row of outputs of each step, and the one behind its last."""
    starts = [min(OUTPUTS * row, window.output[0] - OUTPUTS) for row in range(tiling.down)]
    firsts = range(0, tiling.down, tiling.rows_at_once)
    return [(starts[row], starts[min(row + tiling.rows_at_once, tiling.down) - 1] + OUTPUTS) for row in firsts]


def _blocks(weights: Array, starts: list[int], pairs: int) -> Array:
    """Filters [filters, 3, 3, channels] as [blocks, pairs, 4, 3, 3, 2].

    Of each four channels the first and the third are a pair, and the two others: so widens a word of bytes.
    """
    depth = weights.shape[3]
    padded = np.pad(weights.astype(np.int64), ((0, 0), (0, 0), (0, 0), (0, 2 * pairs - depth)))
    paired = padded.reshape(*weights.shape[:3], -1, 2, 2).swapaxes(4, 5).reshape(*weights.shape[:3], pairs, 2)
    blocked = paired[np.array(starts)[:, None] + np.arange(FILTERS)]
    return np.asarray(blocked.transpose(0, 4, 1, 2, 3, 5))


def transformed(blocks: Array) -> Array:
    """[blocks, pairs, 4, 3, 3, 2] as words of two int16 [blocks, pairs, 6, 6, 4]."""
    found = np.einsum("ik,bpfklc,jl->bpijfc", FILTER_ROWS, blocks, FILTER_ROWS)
    return np.ascontiguousarray(found.astype(np.int16)).view(np.uint32)[..., 0]


def packed(blocks: Array) -> Array:
    """The same as bytes [blocks, pairs, 2, 9 words]: of two filters eight places, two a word, then the last."""
    places = blocks.reshape(*blocks.shape[:2], 2, 2, 9, 2)
    words = places[..., :8, :].reshape(*places.shape[:4], 4, 2, 2).swapaxes(-1, -2)
    last = places[..., 8, :].swapaxes(-1, -2)
    parts = [words.reshape(*places.shape[:3], -1), last.reshape(*places.shape[:3], -1)]
    return np.ascontiguousarray(np.concatenate(parts, axis=-1).astype(np.int8)).view(np.uint32)


def _finish(context: Context, found: Sums) -> Finish:
    """By one multiplication where that can be; else in two roundings."""
    missing = found.bias * AT_ONE
    if line := bent_line.search(dsp.two_roundings(context, OPERANDS, found), found.bias, ENLARGED):
        numbers = np.stack([missing, line.multiplier, line.addend, line.bend], axis=1)
        return Finish("bent", line.shift, numbers)
    exact = _roundings(context, found)
    assert exact is not None  # proved by applies
    return Finish("roundings", None, np.stack([missing, exact.multiplier, exact.addend, exact.shift], axis=1))
