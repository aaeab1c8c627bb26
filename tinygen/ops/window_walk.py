"""Turns the order in which a kernel moves its window into the distances at which its output may lie over its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen.ir import Array
from tinygen.ops import overlap
from tinygen.ops.spec import Context, Overlap
from tinygen.ops.window import Geometry

Span = tuple[int, int]
"""The first and the one behind the last."""


def by_rows(context: Context, window: Geometry, turned: bool = False, groups: int = 1) -> Overlap:
    """The rule of a kernel that copies what lies under a row of outputs, then writes the row; or a column, `turned`.

    Of each row so many groups of channels, one after another.
    """
    down, along = (1, 0) if turned else (0, 1)
    spans = spans_of(window, down), _union(spans_of(window, along), window.output[down])
    reads = _bytes(spans[::-1] if turned else spans, context.input(0).shape[2:])
    places = _singles(window.output[down]), np.repeat([[0, window.output[along]]], window.output[down], axis=0)
    writes = _bytes(places[::-1] if turned else places, context.output.shape[2:])
    depths = context.input(0).shape[3], context.output.shape[3]
    blocks = (_neighbours(np.arange(groups + 1) * (depth // groups)) for depth in depths)
    reads, writes = (_blocked(*each) for each in zip((reads, writes), blocks, depths, strict=True))
    return _in_batches(context, 0, reads, writes)


def by_new_rows(context: Context, window: Geometry) -> Overlap:
    """The same of a kernel that keeps the rows that it has copied for as long as windows reach them."""
    spans = new_spans(window, 0), _union(spans_of(window, 1), window.output[0])
    places = _singles(window.output[0]), np.repeat([[0, window.output[1]]], window.output[0], axis=0)
    reads, writes = _bytes(spans, context.input(0).shape[2:]), _bytes(places, context.output.shape[2:])
    return _in_batches(context, 0, reads, writes)


def by_new_rows_of_groups(context: Context, window: Geometry, size: int) -> Overlap:
    """The same of one that computes `size` outputs of all rows, then the next, the last of them up to a row's end."""
    height, width = window.output
    firsts = np.minimum(np.arange(0, width, size), width - size)
    under, down = spans_of(window, 1), new_spans(window, 0)
    groups = np.repeat(np.stack([firsts, firsts + size], axis=1), height, axis=0)
    columns = np.concatenate([_union(under[first : first + size], height) for first in firsts])
    spans, places = np.tile(down, (len(firsts), 1)), np.tile(_singles(height), (len(firsts), 1))
    reads, writes = (
        _bytes((spans, columns), context.input(0).shape[2:]),
        _bytes((places, groups), context.output.shape[2:]),
    )
    return _in_batches(context, 0, reads, writes)


def by_groups(context: Context, window: Geometry, size: int, turned: bool = False) -> Overlap:
    """The same where it copies and writes `size` outputs of a row at a time, the last of them up to its end."""
    down, along = (1, 0) if turned else (0, 1)
    firsts = np.minimum(np.arange(0, window.output[along], size), window.output[along] - size)
    under = spans_of(window, along)
    unions = np.concatenate([_union(under[first : first + size], 1) for first in firsts])
    groups = np.stack([firsts, firsts + size], axis=1)

    def each(spans: Array, parts: Array) -> tuple[Array, ...]:
        return np.repeat(spans, len(parts), axis=0), np.tile(parts, (len(spans), 1))

    reads, writes = each(spans_of(window, down), unions), each(_singles(window.output[down]), groups)
    if turned:
        reads, writes = reads[::-1], writes[::-1]
    sizes = context.input(0).shape[2:], context.output.shape[2:]
    return _in_batches(context, 0, _bytes(reads, sizes[0]), _bytes(writes, sizes[1]))


def by_pixels(
    context: Context,
    spans: tuple[Array, Array],
    blocks: Sequence[tuple[Span, Span]] = (),
    group: int = 1,
    operand: int = 0,
) -> Overlap:
    """The rule of a kernel that computes `group` pixels at a time, or one in `blocks` of channels.

    `spans` are the rows and the columns of the input under each of the output's; a block is the channels that it reads
    and those that it then writes, by default all.
    """
    x, y = context.input(operand), context.output
    rows, columns = (np.arange(size) for size in y.shape[1:3])
    at = np.repeat(rows, len(columns)), np.tile(columns, len(rows))
    reads = _bytes((spans[0][at[0]], spans[1][at[1]]), x.shape[2:])
    pixels = _singles(len(at[0])) * y.shape[3]
    if group > 1:
        reads, pixels = _grouped(reads, group), _grouped(pixels, group)
    if blocks:
        reads = _blocked(reads, [read for read, _ in blocks], x.shape[3])
        pixels = _blocked(pixels, [written for _, written in blocks], y.shape[3])
    return _in_batches(context, operand, reads, pixels)


def in_row(context: Context, window: Geometry, blocks: Sequence[tuple[Span, Span]]) -> Overlap:
    """The rule of `by_pixels` for a row of the output and each of the rows that it is computed from."""
    *_, in_width, depth = context.input(0).shape
    *_, width, filters = context.output.shape
    row = np.repeat([[0, 1]], width, axis=0)
    reads = _blocked(_bytes((row, spans_of(window, 1)), (in_width, depth)), [read for read, _ in blocks], depth)
    writes = _blocked(_singles(width) * filters, [written for _, written in blocks], filters)
    return overlap.of_steps(0, reads, writes, in_width * depth, width * filters)


def by_planes(context: Context, window: Geometry, at_once: int = 1) -> Overlap:
    """The rule of a kernel that copies a channel, or some, writes what comes of them, and goes on with the next ones.

    Outputs of the same channels may also lie on pixels of the input, any of them.
    """
    depth, filters = context.input(0).shape[3], context.output.shape[3]
    spans = _union(spans_of(window, 0), 1), _union(spans_of(window, 1), 1)
    pixels = np.array([[0, window.output[0]]]), np.array([[0, window.output[1]]])
    channels = np.append(np.arange(0, depth, at_once), depth)
    reads = _blocked(_bytes(spans, context.input(0).shape[2:]), _neighbours(channels), depth)
    each = _neighbours(channels * (filters // depth))
    rule = _in_batches(context, 0, reads, _blocked(_bytes(pixels, context.output.shape[2:]), each, filters))
    return _on_pixels(rule, range(_free(window) + 1), depth) if depth == filters else rule


def by_rows_of_planes(context: Context, window: Geometry, turned: bool, again: bool = False) -> Overlap:
    """The same where a channel's rows (columns when `turned`) are copied no sooner than a row of outputs needs them.

    Or read, `again` for each: then the output lies on no pixels of the input.
    """
    depth, down, along = context.input(0).shape[3], int(turned), int(not turned)
    spans = (spans_of if again else new_spans)(window, down), _union(spans_of(window, along), window.output[down])
    places = _singles(window.output[down]), np.repeat([[0, window.output[along]]], window.output[down], axis=0)
    reads = _bytes(spans[::-1] if turned else spans, context.input(0).shape[2:])
    writes = _bytes(places[::-1] if turned else places, context.output.shape[2:])
    each = _neighbours(np.arange(depth + 1))
    steps = (_blocked(part, each, depth).reshape(-1, depth, 2).swapaxes(0, 1) for part in (reads, writes))
    rule = _in_batches(context, 0, *(part.reshape(-1, 2) for part in steps))
    if again:
        return rule
    return _on_pixels(rule, _free_columns(window) if turned else _free_pixels(window), depth)


def axes(window: Geometry) -> tuple[Array, Array]:
    """`spans_of` rows and of columns."""
    return spans_of(window, 0), spans_of(window, 1)


def spans_of(window: Geometry, axis: int) -> Array:
    """[outputs, 2]: the first row or column of the input under each of the output's and the one behind the last.

    Equal where a window lies outside.
    """
    outputs, taps = np.arange(window.output[axis])[:, None], np.arange(window.kernel[axis])
    places = outputs * window.stride[axis] + taps * window.dilation[axis] - window.pad[axis]
    inside = (places >= 0) & (places < window.input[axis])
    first = np.where(inside, places, overlap.NOWHERE).min(axis=1)
    end = np.where(inside, places + 1, -overlap.NOWHERE).max(axis=1)
    return np.where(inside.any(axis=1, keepdims=True), np.stack([first, end], axis=1), 0)


def new_spans(window: Geometry, axis: int) -> Array:
    """The same of the rows or columns that no output before needs."""
    spans = spans_of(window, axis)
    before = np.maximum.accumulate(np.concatenate([[0], spans[:-1, 1]]))
    return np.stack([np.minimum(np.maximum(spans[:, 0], before), spans[:, 1]), spans[:, 1]], axis=1)


def words(rule: Overlap, depth: int = 1) -> str:
    """The rule as the comment above a kernel says it; `depth` is the number of channels."""
    if not rule.exact:
        return overlap.words(rule)
    if rule.exact == (0,):
        return "apart from the input, or over it from its first byte on"
    return f"apart from the input, or over it from pixel 0 to {rule.exact[-1] // depth} on"


def free_in_plane(window: Geometry, first_rows: Array, rows: Array) -> range:
    """The pixels of the input that the output of one channel may begin at, when outputs are computed one by one.

    The first of a row needs `first_rows` of the input, the others `rows`; each needs the columns that none before did.
    """
    height, width = window.output
    columns = np.tile(new_spans(window, 1), (height, 1))
    spans = np.repeat(rows, width, axis=0)
    spans[::width] = first_rows
    size = window.input[0] * window.input[1]
    rule = overlap.of_steps(0, _bytes((spans, columns), (window.input[1], 1)), _singles(height * width), size, size)
    return range(min(_free(window), -1 if rule.most is None else rule.most) + 1)


def _free(window: Geometry) -> int:
    """Pixels that the input has more than the output."""
    return window.input[0] * window.input[1] - window.output[0] * window.output[1]


def _free_pixels(window: Geometry) -> Sequence[int]:
    """The pixels of the input that the output of one channel may begin at, when rows are walked."""
    reads = new_spans(window, 0) * window.input[1]
    writes = _singles(window.output[0]) * window.output[1]
    rule = overlap.of_steps(0, reads, writes, window.input[0] * window.input[1], int(writes[-1, 1]))
    return range(min(_free(window), -1 if rule.most is None else rule.most) + 1)


def _free_columns(window: Geometry) -> Sequence[int]:
    """The same when columns are walked: rows of one width, so that each stays in its columns."""
    if window.input[1] != window.output[1]:
        return ()
    width = window.input[1]
    rule = overlap.of_steps(0, new_spans(window, 1), _singles(width), width, width)
    behind = range(0 if rule.most is None else rule.most + 1)
    starts = (row * width + column for row in range(window.input[0] - window.output[0] + 1) for column in behind)
    return [start for start in starts if start <= _free(window)]


def _on_pixels(rule: Overlap, pixels: Sequence[int], depth: int) -> Overlap:
    """The rule, and those distances of whole pixels that it does not have yet."""
    most = -overlap.NOWHERE if rule.most is None else rule.most
    return replace(rule, exact=tuple(pixel * depth for pixel in pixels if pixel * depth > most))


def _singles(count: int) -> Array:
    """Each alone: [[0, 1], [1, 2], ...]."""
    return np.stack([np.arange(count), np.arange(count) + 1], axis=1)


def _union(spans: Array, times: int) -> Array:
    """From the least to the greatest of all, again and again."""
    used = spans[spans[:, 0] < spans[:, 1]]
    whole = [used[:, 0].min(), used[:, 1].max()] if len(used) else [0, 0]
    return np.repeat([whole], times, axis=0)


def _bytes(spans: Sequence[Array], sizes: Sequence[int]) -> Array:
    """[steps, 2]: the bytes from the first to the last of rows and columns of a tensor [..., width, channels]."""
    (rows, columns), (width, depth) = spans, sizes
    none = (rows[:, 0] == rows[:, 1]) | (columns[:, 0] == columns[:, 1])
    first = (rows[:, 0] * width + columns[:, 0]) * depth
    end = ((rows[:, 1] - 1) * width + columns[:, 1]) * depth
    return np.where(none[:, None], 0, np.stack([first, end], axis=1))


def _grouped(spans: Array, size: int) -> Array:
    """Those of every `size` steps together."""
    padded = np.pad(spans, ((0, -len(spans) % size), (0, 0)))
    silent = padded[:, 0] == padded[:, 1]
    first = np.where(silent, overlap.NOWHERE, padded[:, 0]).reshape(-1, size).min(axis=1)
    end = np.where(silent, -overlap.NOWHERE, padded[:, 1]).reshape(-1, size).max(axis=1)
    return np.where((first < end)[:, None], np.stack([first, end], axis=1), 0)


def _blocked(spans: Array, blocks: Sequence[Span], depth: int) -> Array:
    """Each step once for every block of channels; the span of a step is that of all `depth` channels."""
    first, end = np.array(blocks).T
    found = np.stack([spans[:, :1] + first, spans[:, 1:] - depth + end], axis=2)
    return np.where((spans[:, 0] == spans[:, 1])[:, None, None], 0, found).reshape(-1, 2)


def _neighbours(ends: Array) -> list[Span]:
    """From each to the next."""
    return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))


def _in_batches(context: Context, operand: int, reads: Array, writes: Array) -> Overlap:
    """The rule of these steps, done for one batch after another."""
    x, y = context.input(operand), context.output
    batches = np.arange(x.shape[0])[:, None, None]
    silent = reads[:, :1] == reads[:, 1:]
    all_reads = np.where(silent, 0, reads + batches * (x.size // x.shape[0])).reshape(-1, 2)
    all_writes = (writes + batches * (y.size // y.shape[0])).reshape(-1, 2)
    return overlap.of_steps(
        operand, all_reads * (x.bytes // x.size), all_writes * (y.bytes // y.size), x.bytes, y.bytes
    )
