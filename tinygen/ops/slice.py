"""SLICE: a box cut out of a tensor, its place and sizes known at compile time; any element type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import checks, movement, width_rows
from tinygen.ops.movement import Axis
from tinygen.ops.spec import Context, Kernel, OpSpec, Rows, elementwise_cost, no_attributes

(PLAIN,) = movement.COPY


def _begins(context: Context) -> tuple[int, ...]:
    return movement.vector_input(context, 1, len(context.input(0).shape), "int32", "int64")


def _sizes(context: Context) -> tuple[int, ...]:
    """The box's sizes; -1 in the file means all that follows the begin."""
    x = context.input(0)
    wanted = movement.vector_input(context, 2, len(x.shape), "int32", "int64")
    return tuple(
        length - begin if size == -1 else size
        for length, begin, size in zip(x.shape, _begins(context), wanted, strict=True)
    )


def check(context: Context) -> None:
    """Begin and size are constant, the box lies inside the input; output of the input's type and of the box's shape."""
    checks.arity(context, (3, 3))
    x, y = context.input(0), context.output
    movement.rank_at_most(context, x)
    movement.same_dtype(context, x, y)
    begins, sizes = _begins(context), _sizes(context)
    for axis, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
        if begin < 0 or size < 0 or begin + size > x.shape[axis]:
            raise context.error(
                f"slice leaves its input along axis {axis}",
                found=f"{size} elements from {begin}",
                expected=f"inside 0 to {x.shape[axis]}",
            )
    checks.shape(context, y, sizes)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The box."""
    box = tuple(slice(b, b + size) for b, size in zip(_begins(context), _sizes(context), strict=True))
    return [np.ascontiguousarray(inputs[0][box])]


def params(context: Context) -> Kernel:
    """The output's elements in order, each read through the input's strides."""
    x, begins, sizes = context.input(0), _begins(context), _sizes(context)
    steps = movement.strides(x.shape)
    offset = sum(begin * step for begin, step in zip(begins, steps, strict=True))
    axes = [Axis(size, step) for size, step in zip(sizes, steps, strict=True)]
    return movement.copy_kernel(context, f"Slice from {', '.join(map(str, begins))}", x, offset, axes)


def rows(context: Context) -> Rows | None:
    """Some columns of a row."""
    row = width_rows.cut(context)
    return Rows(params(row), PLAIN.template) if row else None


SPEC = OpSpec(
    name="slice",
    tflite="SLICE",
    read=no_attributes,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=(replace(PLAIN, rows=rows),),
    moves=True,
)
