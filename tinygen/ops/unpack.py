"""UNPACK: a tensor cut into its slices along one axis, which the outputs lack; any element type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import checks, movement
from tinygen.ops.spec import Context, Kernel, OpSpec, Options, elementwise_cost


@dataclass(frozen=True)
class Unpack:
    """Attributes of UNPACK."""

    parts: int
    axis: int


def read(options: Options) -> Unpack:
    """Attributes from the file's options."""
    return Unpack(options.integer("num", 0, 1), options.integer("axis", 0))


def _axis(context: Context) -> int:
    return movement.axis_in(context, context.attributes.axis, len(context.input(0).shape))


def check(context: Context) -> None:
    """One output for each index of the axis, of the input's type, quantisation and shape without the axis."""
    parts = context.attributes.parts
    checks.arity(context, (1, 1), (parts, parts))
    movement.few_enough(context, parts, "outputs")
    x, axis = context.input(0), _axis(context)
    if x.shape[axis] != parts:
        raise context.error(f"axis {axis} has another size than outputs", found=str(x.shape[axis]), expected=str(parts))
    for output in context.outputs:
        movement.same_values(context, x, output)
        checks.shape(context, output, (*x.shape[:axis], *x.shape[axis + 1 :]))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The slices in order."""
    slices = np.moveaxis(inputs[0], _axis(context), 0)
    return [np.array(part) for part in slices]


def params(context: Context) -> Kernel:
    """One run for each output in each row of the input."""
    axis = _axis(context)
    return movement.split_kernel(context, f"Unpack along axis {axis}", 0, axis, [1] * context.attributes.parts)


SPEC = OpSpec(
    name="unpack",
    tflite="UNPACK",
    read=read,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=movement.SPLIT,
    moves=True,
)
