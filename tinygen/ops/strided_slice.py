"""STRIDED_SLICE: every n-th element along each axis, forwards or backwards, known at compile time; any element type.

TensorFlow Lite Micro ignores the ellipsis and new-axis masks and the offset option; both profiles follow TensorFlow
Lite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import checks, movement
from tinygen.ops.movement import Axis
from tinygen.ops.spec import Context, Kernel, OpSpec, Options, elementwise_cost


@dataclass(frozen=True)
class StridedSlice:
    """Attributes of STRIDED_SLICE; bit i of a mask speaks of entry i of begin, end and strides."""

    begin_mask: int
    """Start at the end that the stride starts from."""
    end_mask: int
    """Stop at the end that the stride leads to."""
    ellipsis_mask: int
    """This entry stands for all axes that the others leave."""
    new_axis_mask: int
    """This entry adds an axis of size 1."""
    shrink_axis_mask: int
    """This entry takes one index, and its axis goes."""
    offset: bool
    """`end` counts from begin."""


@dataclass(frozen=True)
class Range:
    """The indices taken from one axis of the input."""

    start: int
    count: int
    stride: int


@dataclass(frozen=True)
class Spec:
    """What begin, end, strides and masks come to."""

    ranges: tuple[Range, ...]
    """One for each axis of the input."""
    shape: tuple[int, ...]
    """The output's."""


def read(options: Options) -> StridedSlice:
    """Attributes from the file's options."""
    return StridedSlice(
        options.integer("beginMask", 0),
        options.integer("endMask", 0),
        options.integer("ellipsisMask", 0),
        options.integer("newAxisMask", 0),
        options.integer("shrinkAxisMask", 0),
        bool(options.get("offset", False)),
    )


def _entries(context: Context) -> list[tuple[int, int, int]]:
    """(begin, end, stride) of each entry; int32, as the interpreter reads nothing else."""
    count = context.input(1).size
    begins, ends, steps = (movement.vector_input(context, index, count, "int32") for index in (1, 2, 3))
    if 0 in steps:
        raise context.error("stride is 0", found=str(list(steps)), expected="other numbers")
    masks, rank = context.attributes, len(context.input(0).shape)
    added = masks.ellipsis_mask | masks.new_axis_mask
    if added >> count or (masks.offset and (added or count != rank)):
        raise context.error(
            "masks do not suit the entries",
            found=f"ellipsis {masks.ellipsis_mask}, new axis {masks.new_axis_mask}, {count} entries",
            expected=f"{rank} entries and no such mask" if masks.offset else "masks of existing entries",
        )
    return list(zip(begins, ends, steps, strict=True))


def _spec(context: Context) -> Spec:
    """The ranges along the input's axes, and the output's shape."""
    masks, entries, sizes = context.attributes, _entries(context), list(context.input(0).shape)
    ranges: list[Range] = []
    shape: list[int] = []
    for index, entry in enumerate(entries):
        if masks.ellipsis_mask >> index & 1:
            for size in sizes[len(ranges) : len(ranges) + _ellipsis_axes(context, len(entries))]:
                ranges.append(Range(0, size, 1))
                shape.append(size)
        elif masks.new_axis_mask >> index & 1:
            shape.append(1)
        elif len(ranges) == len(sizes):
            raise context.error("slice has more entries than its input has axes", found=str(len(entries)))
        else:
            ranges.append(_range(context, index, entry, sizes[len(ranges)]))
            shape += [] if masks.shrink_axis_mask >> index & 1 else [ranges[-1].count]
    rest = sizes[len(ranges) :]
    return Spec((*ranges, *(Range(0, size, 1) for size in rest)), (*shape, *rest))


def _ellipsis_axes(context: Context, entries: int) -> int:
    """How many axes the ellipsis stands for.

    At least one: of an ellipsis without axes, the reference interpreter makes another slice than TensorFlow does.
    """
    masks = context.attributes
    ellipses = [index for index in range(entries) if masks.ellipsis_mask >> index & 1]
    added = [index for index in range(entries) if masks.new_axis_mask >> index & 1 and index not in ellipses]
    axes = len(context.input(0).shape) - (entries - len(ellipses) - len(added))
    if len(ellipses) > 1 or axes < 1:
        raise context.error(
            "ellipsis is ambiguous", found=f"{len(ellipses)} for {axes} axes", expected="one, for at least one axis"
        )
    return axes


def _range(context: Context, index: int, entry: tuple[int, int, int], size: int) -> Range:
    """The indices that one entry takes from an axis of `size`, limited to it as the interpreter does."""
    masks, (begin, end, step) = context.attributes, entry
    low, high = (0, size) if step > 0 else (-1, size - 1)
    start = min(max(begin + size if begin < 0 else begin, low), high)
    if masks.begin_mask >> index & 1:
        start = 0 if step > 0 else size - 1
    if masks.shrink_axis_mask >> index & 1:
        if step < 0 or start >= size:
            raise context.error(
                f"entry {index} takes no element",
                found=f"index {begin}, stride {step}",
                expected=f"below {size}, above 0",
            )
        return Range(start, 1, 1)
    stop = end + start if masks.offset else end
    stop = min(max(stop + size if stop < 0 else stop, low), high)
    if masks.end_mask >> index & 1:
        stop = high if step > 0 else -1
    count = max(0, -((start - stop) // step))
    if masks.offset and count != -(-end // step):
        raise context.error(
            f"entry {index} leaves its axis", found=f"{end} elements from {begin}", expected=f"inside 0 to {size}"
        )
    return Range(start, count, step)


def check(context: Context) -> None:
    """Begin, end and strides are constant; output of the input's type and of the shape that they leave."""
    checks.arity(context, (4, 4))
    x, y = context.input(0), context.output
    movement.rank_at_most(context, x)
    movement.same_dtype(context, x, y)
    checks.rank(context, context.input(1), 1)
    checks.shape(context, y, _spec(context).shape)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The elements taken."""
    spec = _spec(context)
    taken = np.ix_(*(r.start + r.stride * np.arange(r.count) for r in spec.ranges))
    return [inputs[0][taken].reshape(spec.shape)]


def params(context: Context) -> Kernel:
    """The output's elements in order, each read through the input's strides."""
    x, ranges = context.input(0), _spec(context).ranges
    steps = movement.strides(x.shape)
    offset = sum(r.start * step for r, step in zip(ranges, steps, strict=True))
    axes = [Axis(r.count, r.stride * step) for r, step in zip(ranges, steps, strict=True)]
    starts, by = (", ".join(map(str, numbers)) for numbers in zip(*((r.start, r.stride) for r in ranges), strict=True))
    return movement.copy_kernel(context, f"Strided slice from {starts} by {by}", x, offset, axes)


SPEC = OpSpec(
    name="strided_slice",
    tflite="STRIDED_SLICE",
    read=read,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=movement.COPY,
    moves=True,
)
