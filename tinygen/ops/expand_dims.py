"""EXPAND_DIMS: one more axis of size 1 in the shape; no code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir import Array
from tinygen.ops import checks, movement
from tinygen.ops.spec import Context, OpSpec, elementwise_cost, no_attributes, no_kernel


def check(context: Context) -> None:
    """The axis is constant; output of the input's type and quantisation and of its shape with a 1 there."""
    checks.arity(context, (2, 2))
    x, y = context.input(0), context.output
    movement.same_values(context, x, y)
    axis = movement.axis_input(context, 1, len(x.shape) + 1)
    checks.shape(context, y, (*x.shape[:axis], 1, *x.shape[axis:]))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The input in the output's shape."""
    return [inputs[0].reshape(context.output.shape)]


SPEC = OpSpec(
    name="expand_dims",
    tflite="EXPAND_DIMS",
    read=no_attributes,
    check=check,
    reference=reference,
    params=no_kernel,
    cost=elementwise_cost,
    alias=True,
)
