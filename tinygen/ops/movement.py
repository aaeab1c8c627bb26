"""Turns a data movement into loops over runs of neighbouring elements, each of which a kernel copies at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir import CTYPES, DTYPES, Array, Tensor
from tinygen.ops import checks, overlap
from tinygen.ops.spec import Constant, Context, Kernel, Options, Overlap, Variant

MAX_RANK = 8
"""The reference interpreter's own limit."""
MAX_PAD_RANK = 5
"""The reference interpreter's limit for padding."""
MAX_PARAMETERS = 127
"""C99, 5.2.4.1: the parameters of one function that every compiler takes."""

COPY = (Variant("c", "kernels/copy.c.j2"),)
PAD = (Variant("c", "kernels/pad.c.j2"),)
JOIN = (Variant("c", "kernels/join.c.j2"),)
SPLIT = (Variant("c", "kernels/split.c.j2"),)


@dataclass(frozen=True)
class Axis:
    """One loop over the input: how often, and how many elements from one step to the next."""

    count: int
    stride: int


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Elements from one index to the next along each axis of a row-major array."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def collapse(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """The same walk in as few loops as possible: single steps left out, neighbours that continue each other joined."""
    found: list[Axis] = []
    for axis in axes:
        if axis.count == 1:
            continue
        if found and found[-1].stride == axis.count * axis.stride:
            found[-1] = Axis(found[-1].count * axis.count, axis.stride)
        else:
            found.append(axis)
    return tuple(found)


def offsets(axes: Sequence[Axis]) -> Array:
    """Where the elements of a walk are, in order."""
    found: Array = np.zeros(1, np.int64)
    for axis in axes:
        found = (found[:, None] + np.arange(axis.count) * axis.stride).ravel()
    return found


def option_integers(options: Options, name: str) -> tuple[int, ...] | None:
    """A vector of integers among the options, None when the file leaves it out."""
    values = options.get(name, None)
    return None if values is None else tuple(int(value) for value in values)


def axis_in(context: Context, axis: int, rank: int) -> int:
    """`axis` counted from the front of `rank` axes; ModelError when there is none such."""
    if not -rank <= axis < rank:
        raise context.error("axis is out of range", found=str(axis), expected=f"{-rank} to {rank - 1}")
    return axis % rank


def index_input(context: Context, index: int, *dtypes: str) -> tuple[int, ...]:
    """Constant integers that say how to move: input `index`, of one of `dtypes`."""
    values = context.integers(index)
    checks.dtype(context, context.input(index), *dtypes)
    return values


def axis_input(context: Context, index: int, rank: int) -> int:
    """The axis that constant input `index` names, counted from the front."""
    values = index_input(context, index, "int32", "int64")
    if len(values) != 1:
        raise context.error("axis must be one number", found=f"{len(values)} numbers")
    return axis_in(context, values[0], rank)


def vector_input(context: Context, index: int, length: int, *dtypes: str) -> tuple[int, ...]:
    """Constant input `index`, a vector of `length` integers."""
    values = index_input(context, index, *dtypes)
    checks.shape(context, context.input(index), (length,))
    return values


def same_dtype(context: Context, first: Tensor, second: Tensor) -> None:
    """Both tensors have the same element type: their bytes mean the same."""
    if first.dtype != second.dtype:
        raise context.error("element types differ", found=f"{first.dtype} and {second.dtype}", expected="the same type")


def paddings(context: Context) -> tuple[tuple[int, int], ...]:
    """Elements that constant input 1 adds before and after each axis of input 0."""
    x = context.input(0)
    values = index_input(context, 1, "int32", "int64", "int16", "int8")
    checks.shape(context, context.input(1), (len(x.shape), 2))
    if min(values) < 0:
        raise context.error("padding is negative", found=str(min(values)), expected=">= 0")
    return tuple(zip(values[::2], values[1::2], strict=True))


def check_pad(context: Context) -> None:
    """Output of the input's type, quantisation and shape plus its paddings.

    The interpreter pads with the output's zero point even where the scales differ; a file like that is damaged.
    """
    x, y = context.input(0), context.output
    rank_at_most(context, x, MAX_PAD_RANK)
    same_values(context, x, y)
    padded = [before + size + after for size, (before, after) in zip(x.shape, paddings(context), strict=True)]
    checks.shape(context, y, tuple(padded))


def pad(context: Context, x: Array, fill: Array) -> list[Array]:
    """`x` with its paddings, which hold the one element of `fill`."""
    return [np.pad(x, paddings(context), constant_values=fill.ravel()[0])]


def pad_kernel(context: Context, title: str, fill: Array) -> Kernel:
    """Numbers for pad.c.j2; a fill of equal bytes is one for memset, any other the constant `fill`."""
    x, y = context.input(0), context.output
    amounts = paddings(context)
    steps = strides(y.shape)
    walk = collapse([Axis(size, step) for size, step in zip(x.shape, steps, strict=True)])
    octets = set(fill.tobytes())
    by_element = y.size > x.size and len(octets) > 1
    values = {
        **_copied(x, walk),
        "title": title,
        "out_shape": y.shape,
        "offset": sum(before * step for (before, _), step in zip(amounts, steps, strict=True)),
        "out_elements": y.size,
        "out_bytes": y.bytes,
        "item_bytes": fill.itemsize,
        "fills": y.size > x.size,
        "fill_by_element": by_element,
        "fill_byte": int(np.uint8(octets.pop()).view(np.int8)),
    }
    return Kernel(values, (0,), (Constant("fill", fill),) if by_element else ())


def same_values(context: Context, first: Tensor, second: Tensor) -> None:
    """Equal bytes in both tensors mean equal values: same type, and same scale and zero point or none at all."""
    same_dtype(context, first, second)
    if (first.quant is None) != (second.quant is None):
        raise context.error(
            f"'{first.name}' and '{second.name}' must have the same scale and zero point",
            found=f"none on '{first.name if first.quant is None else second.name}'",
        )
    checks.same_quant(context, first, second)


def rank_at_most(context: Context, tensor: Tensor, most: int = MAX_RANK) -> None:
    """The tensor has 1 to `most` axes."""
    checks.rank(context, tensor, *range(1, most + 1))


def few_enough(context: Context, tensors: int, kind: str) -> None:
    """`tensors` pointers and one more fit the parameters of one C function."""
    if tensors >= MAX_PARAMETERS:
        raise context.error(f"too many {kind}", found=str(tensors), expected=f"at most {MAX_PARAMETERS - 1}")


def loops(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Axes as a template prints them: with the names of their counters."""
    return [{"name": f"i{depth}", "count": axis.count, "stride": axis.stride} for depth, axis in enumerate(axes)]


def copy_kernel(context: Context, title: str, source: Tensor, offset: int, axes: Sequence[Axis]) -> Kernel:
    """Numbers for copy.c.j2: the output's elements in order, read from `source` along `axes`, the first at `offset`."""
    walk, item = collapse(axes), DTYPES[source.dtype].itemsize
    runs = offset + offsets(_around_runs(walk))[:, None] + np.array([0, _run(walk)])
    written = np.arange(len(runs))[:, None] * _run(walk) + np.array([0, _run(walk)])
    copies = _run(walk) > 1
    rule = overlap.of_steps(0, runs * item, written * item, source.bytes, context.output.bytes, copies=copies)
    values = {
        **_copied(source, walk),
        "title": title,
        "out_shape": context.output.shape,
        "offset": offset,
        "apart": overlap.words(rule),
    }
    return Kernel(values, overlaps=(rule,))


def _copied(source: Tensor, walk: Sequence[Axis]) -> dict[str, Any]:
    """The loops of `walk` around runs of neighbours; a run of one element is moved by assignment."""
    return {
        "ctype": CTYPES[source.dtype],
        "in_shape": source.shape,
        "loops": loops(_around_runs(walk)),
        "run": _run(walk),
        "run_bytes": _run(walk) * DTYPES[source.dtype].itemsize,
    }


def _run(walk: Sequence[Axis]) -> int:
    """Neighbours that are moved at once."""
    return walk[-1].count if walk and walk[-1].stride == 1 else 1


def _around_runs(walk: Sequence[Axis]) -> Sequence[Axis]:
    return walk[:-1] if _run(walk) > 1 else walk


def sections(whole: Tensor, axis: int, widths: Sequence[int]) -> tuple[int, list[dict[str, int]]]:
    """(rows, sections of a row) of `whole` cut along `axis` into `widths`; start and width of each in elements."""
    rows, inner = math.prod(whole.shape[:axis]), math.prod(whole.shape[axis + 1 :])
    if len(widths) == 1:
        rows, inner = 1, inner * rows
    found, start = [], 0
    for width in widths:
        found.append({"start": start, "width": width * inner, "bytes": width * inner * DTYPES[whole.dtype].itemsize})
        start += width * inner
    return rows, found


def join_kernel(context: Context, title: str, axis: int, widths: Sequence[int]) -> Kernel:
    """Numbers for join.c.j2: all inputs side by side along `axis` of the output; empty ones are left out."""
    operands = tuple(index for index, width in enumerate(widths) if width)
    rows, found = sections(context.output, axis, [widths[index] for index in operands])
    parts = [
        {
            **section,
            "name": f"input_{index}" if len(operands) > 1 else "input",
            "shape": context.input(operand).shape,
            "constant": context.input(operand).data is not None,
        }
        for index, (operand, section) in enumerate(zip(operands, found, strict=True))
    ]
    moved = [(index, operand) for index, operand in enumerate(operands) if not parts[index]["constant"]]
    rules = tuple(_join_rule(context, operand, rows, parts, index) for index, operand in moved)
    apart = [overlap.words(rule, str(parts[index]["name"])) for rule, (index, _) in zip(rules, moved, strict=True)]
    return Kernel({**_side_by_side(title, context.output, rows, parts), "apart": apart}, operands, overlaps=rules)


def _join_rule(context: Context, operand: int, rows: int, parts: Sequence[Mapping[str, Any]], index: int) -> Overlap:
    """Parts are written one after another, row by row; each is read as it is written."""
    whole, part = _spans(rows, parts), parts[index]
    item, own = DTYPES[context.output.dtype].itemsize, np.arange(len(parts)) == index
    read = np.where(
        own[None, :, None], np.arange(rows)[:, None, None] * part["width"] + np.array([0, part["width"]]), 0
    )
    reads, writes = (spans.reshape(-1, 2) * item for spans in (read, whole))
    source, copies = context.input(operand).bytes, part["width"] > 1
    return overlap.of_steps(operand, reads, writes, source, context.output.bytes, copies=copies)


def _spans(rows: int, parts: Sequence[Mapping[str, Any]]) -> Array:
    """[rows, parts, 2]: where the parts of each row begin and end in the whole."""
    starts = np.array([[part["start"], part["start"] + part["width"]] for part in parts])
    width = sum(int(part["width"]) for part in parts)
    spans: Array = np.arange(rows)[:, None, None] * width + starts
    return spans


def split_kernel(context: Context, title: str, source: int, axis: int, widths: Sequence[int]) -> Kernel:
    """Numbers for split.c.j2: input `source` cut along `axis` into the outputs."""
    whole = context.input(source)
    rows, found = sections(whole, axis, widths)
    parts = [
        {
            **section,
            "name": f"output_{index}" if len(widths) > 1 else "output",
            "shape": tensor.shape,
            "constant": False,
        }
        for index, (tensor, section) in enumerate(zip(context.outputs, found, strict=True))
    ]
    rules = tuple(_split_rule(context, source, rows, parts, index) for index in range(len(parts)))
    parts = [{**part, "apart": overlap.words(rule)} for part, rule in zip(parts, rules, strict=True)]
    return Kernel(_side_by_side(title, whole, rows, parts), (source,), overlaps=rules)


def _split_rule(context: Context, source: int, rows: int, parts: Sequence[Mapping[str, Any]], index: int) -> Overlap:
    """The reverse: all parts are read one after another, this one is written."""
    whole, part, result = _spans(rows, parts), parts[index], context.outputs[index]
    item, own = DTYPES[result.dtype].itemsize, np.arange(len(parts)) == index
    wrote = np.where(
        own[None, :, None], np.arange(rows)[:, None, None] * part["width"] + np.array([0, part["width"]]), 0
    )
    reads, writes = (spans.reshape(-1, 2) * item for spans in (whole, wrote))
    size, copies = context.input(source).bytes, part["width"] > 1
    return overlap.of_steps(source, reads, writes, size, result.bytes, index, copies)


def _side_by_side(title: str, whole: Tensor, rows: int, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "title": title,
        "ctype": CTYPES[whole.dtype],
        "whole_shape": whole.shape,
        "rows": rows,
        "row_width": sum(part["width"] for part in parts),
        "parts": parts,
    }
