"""SPLIT: a tensor cut into equal parts along one axis; any element type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import checks, movement
from tinygen.ops.spec import Context, Kernel, OpSpec, Options, elementwise_cost


@dataclass(frozen=True)
class Split:
    """Attributes of SPLIT."""

    parts: int


def read(options: Options) -> Split:
    """Attributes from the file's options."""
    return Split(options.integer("numSplits", 0, 1))


def _axis(context: Context) -> int:
    return movement.axis_input(context, 0, len(context.input(1).shape))


def check(context: Context) -> None:
    """The axis, input 0, is constant and divides evenly; outputs of the type and shape of a part of input 1."""
    parts = context.attributes.parts
    checks.arity(context, (2, 2), (parts, parts))
    movement.few_enough(context, parts, "outputs")
    x, axis = context.input(1), _axis(context)
    if x.shape[axis] % parts:
        raise context.error(
            f"axis {axis} does not divide evenly", found=str(x.shape[axis]), expected=f"a multiple of {parts}"
        )
    for output in context.outputs:
        movement.same_dtype(context, x, output)
        checks.shape(context, output, (*x.shape[:axis], x.shape[axis] // parts, *x.shape[axis + 1 :]))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The parts in order."""
    return [np.ascontiguousarray(part) for part in np.split(inputs[1], context.attributes.parts, _axis(context))]


def params(context: Context) -> Kernel:
    """One run for each output in each row of the input."""
    axis, parts = _axis(context), context.attributes.parts
    widths = [context.input(1).shape[axis] // parts] * parts
    return movement.split_kernel(context, f"Split along axis {axis}", 1, axis, widths)


SPEC = OpSpec(
    name="split",
    tflite="SPLIT",
    read=read,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=movement.SPLIT,
    moves=True,
)
