"""PADV2: a given value around a tensor; any element type, paddings and value constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import checks, movement
from tinygen.ops.spec import Context, Kernel, OpSpec, elementwise_cost, no_attributes


def check(context: Context) -> None:
    """Three inputs; the value is one number of the output's type and quantisation; see `movement.check_pad`."""
    checks.arity(context, (3, 3))
    movement.check_pad(context)
    value, fill = context.input(2), context.constant(2)
    if value.size != 1:
        raise context.error("padding value must be one number", found=f"shape {list(value.shape)}")
    if not np.all(np.isfinite(fill)):
        raise context.error("padding value must be a finite number", found=str(fill.ravel()[0]))
    if value.dtype in ("int8", "uint8", "int16"):
        movement.same_values(context, value, context.output)
    else:
        movement.same_dtype(context, value, context.output)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The input between copies of the value."""
    return movement.pad(context, inputs[0], inputs[2])


def params(context: Context) -> Kernel:
    """The input's runs at their places in the output."""
    fill = context.constant(2).ravel()
    return movement.pad_kernel(context, f"Padding with {fill[0]}", fill)


SPEC = OpSpec(
    name="padv2",
    tflite="PADV2",
    read=no_attributes,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=movement.PAD,
)
