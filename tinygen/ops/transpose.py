"""TRANSPOSE: the axes in another order, known at compile time; any element type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import checks, movement
from tinygen.ops.movement import Axis
from tinygen.ops.spec import Context, Kernel, OpSpec, elementwise_cost, no_attributes


def _order(context: Context) -> tuple[int, ...]:
    """The input's axis at each axis of the output.

    int32 only: the reference interpreter reads an int64 permutation as if it were int32.
    """
    rank = len(context.input(0).shape)
    wanted = movement.vector_input(context, 1, rank, "int32")
    order = tuple(movement.axis_in(context, axis, rank) for axis in wanted)
    if len(set(order)) != rank:
        raise context.error("permutation names an axis twice", found=str(list(wanted)))
    return order


def check(context: Context) -> None:
    """The permutation is constant; output of the input's type and of its shape, permuted."""
    checks.arity(context, (2, 2))
    x, y = context.input(0), context.output
    movement.rank_at_most(context, x)
    movement.same_dtype(context, x, y)
    checks.shape(context, y, tuple(x.shape[axis] for axis in _order(context)))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The input with its axes permuted."""
    return [np.ascontiguousarray(np.transpose(inputs[0], _order(context)))]


def params(context: Context) -> Kernel:
    """The output's elements in order, each read through the input's strides."""
    x, order = context.input(0), _order(context)
    steps = movement.strides(x.shape)
    axes = [Axis(x.shape[axis], steps[axis]) for axis in order]
    return movement.copy_kernel(context, f"Transpose, axes {', '.join(map(str, order))}", x, 0, axes)


SPEC = OpSpec(
    name="transpose",
    tflite="TRANSPOSE",
    read=no_attributes,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=movement.COPY,
    moves=True,
)
