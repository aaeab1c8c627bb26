"""Turns the order in which a kernel reads and writes into the distances at which its output may lie over its input."""

from __future__ import annotations

import numpy as np

from tinygen.ir import DTYPES, Array
from tinygen.ops.spec import Context, Overlap

NOWHERE = 2**40
DECIDING = 5
"""Blocks of equal size, beyond which those in the middle need no look."""


def of_steps(
    operand: int,
    reads: Array,
    writes: Array,
    in_bytes: int,
    out_bytes: int,
    output: int = 0,
    copies: bool = False,
) -> Overlap:
    """The rule of a kernel that in each step first reads bytes of its input, then writes bytes of its output.

    `reads` and `writes` are [steps, 2]: the first byte and the one behind the last, the same where there are none. What
    a step reads must no longer be needed once it writes its first byte; where it is memcpy that `copies`, the two must
    not even be the same.
    """
    silent, idle = reads[:, 0] == reads[:, 1], writes[:, 0] == writes[:, 1]
    first, last = np.where(silent, NOWHERE, reads[:, 0]), np.where(silent, -NOWHERE, reads[:, 1])
    begin, end = np.where(idle, NOWHERE, writes[:, 0]), np.where(idle, -NOWHERE, writes[:, 1])
    lowest, highest = np.minimum.accumulate(first[::-1])[::-1], np.maximum.accumulate(last[::-1])[::-1]
    if not copies:
        lowest, highest, end, begin = lowest[1:], highest[1:], end[:-1], begin[:-1]
    most = (lowest - end).min(initial=in_bytes)
    least = (highest - begin).max(initial=-out_bytes)
    return Overlap(
        operand,
        most=int(most) if most > -out_bytes else None,
        least=int(least) if least < in_bytes and most < in_bytes else None,
        output=output,
    )


def of_blocks(operand: int, starts: Array, sizes: Array, in_bytes: int, out_bytes: int) -> Overlap:
    """The rule of a kernel that walks through rows of an input and of an output, a block of rows in each step.

    `starts` and `sizes` of the blocks are in rows; `in_bytes` and `out_bytes` are those of a row.
    """
    spans = np.stack([starts, starts + sizes], axis=1)
    rows = int(spans.max(initial=0))
    return of_steps(operand, spans * in_bytes, spans * out_bytes, rows * in_bytes, rows * out_bytes)


def of_rows(operand: int, rows: int, in_bytes: int, out_bytes: int, block: int = 1) -> Overlap:
    """The same where all blocks have `block` rows, the last one what is left."""
    starts = _ends(np.arange(0, rows, block))
    return of_blocks(operand, starts, np.minimum(rows - starts, block), in_bytes, out_bytes)


def of_elements(context: Context, operand: int = 0) -> tuple[Overlap, ...]:
    """The rule of a kernel that reads one element, then writes its output, and so on.

    None between two types of more than a byte: a C compiler takes it that these never share one.
    """
    source, target = (DTYPES[tensor.dtype].itemsize for tensor in (context.input(operand), context.output))
    if context.input(operand).dtype != context.output.dtype and min(source, target) > 1:
        return ()
    return (of_rows(operand, context.output.size, source, target),)


def of_matrix(context: Context, blocks: Array, rows_at_once: int = 1, again: bool = True) -> Overlap:
    """The rule of a kernel that reads a row of its input whole for each part of a row of outputs that it then writes.

    `blocks` are [count, parts, 2]: where parts begin and end. So many rows take turns within a block; when there are
    not as many left, the last ones are alone, or some that were there before come `again`.
    """
    width = context.output.shape[-1]
    rows = context.output.size // width
    depth = context.input(0).size // rows
    firsts = _ends(np.arange(0, rows, rows_at_once))
    if again:
        firsts = np.minimum(firsts, max(rows - rows_at_once, 0))
    at = np.minimum(firsts[:, None] + np.arange(rows_at_once), rows - 1)[:, None, :, None, None]
    writes = at * width + blocks[None, :, None, :, :]
    reads = np.broadcast_to(at * depth + np.array([0, depth]), writes.shape)
    x, y = context.input(0), context.output
    sizes = x.bytes // x.size, y.bytes // y.size
    return of_steps(0, reads.reshape(-1, 2) * sizes[0], writes.reshape(-1, 2) * sizes[1], x.bytes, y.bytes)


def _ends(starts: Array) -> Array:
    """The blocks that decide: from the first two to the last whole ones, bounds grow or shrink evenly."""
    return starts if len(starts) <= DECIDING else np.concatenate([starts[:2], starts[-3:]])


def words(rule: Overlap | None, of: str = "the input") -> str:
    """The rule as the comment above a kernel says it."""
    if rule is None or (rule.most is None and rule.least is None):
        return f"apart from {of}"
    if rule.most is None:
        return f"apart from {of}, or it begins at least {_bytes(rule.least or 0)} behind {of}"
    if rule.most == 0:
        return f"apart from {of}, or it begins where {of} does or before"
    if rule.most > 0:
        return f"apart from {of}, or it begins at most {_bytes(rule.most)} behind {of}, or before"
    return f"apart from {of}, or it begins at least {_bytes(-rule.most)} before {of}"


def _bytes(count: int) -> str:
    return f"{count} byte" if count == 1 else f"{count} bytes"
