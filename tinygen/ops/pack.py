"""PACK: tensors of one shape put side by side along a new axis; any element type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import checks, movement
from tinygen.ops.spec import Context, Kernel, OpSpec, Options, elementwise_cost


@dataclass(frozen=True)
class Pack:
    """Attributes of PACK."""

    parts: int
    axis: int


def read(options: Options) -> Pack:
    """Attributes from the file's options."""
    return Pack(options.integer("valuesCount", 0, 1), options.integer("axis", 0))


def _axis(context: Context) -> int:
    return movement.axis_in(context, context.attributes.axis, len(context.input(0).shape) + 1)


def check(context: Context) -> None:
    """Inputs of one type, quantisation and shape; output of that shape with their number as the new axis."""
    parts = context.attributes.parts
    checks.arity(context, (parts, parts))
    movement.few_enough(context, parts, "inputs")
    shape, axis = context.input(0).shape, _axis(context)
    for index in range(parts):
        movement.same_values(context, context.input(index), context.output)
        checks.shape(context, context.input(index), shape)
    checks.shape(context, context.output, (*shape[:axis], parts, *shape[axis:]))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The inputs, stacked."""
    return [np.stack(list(inputs), _axis(context))]


def params(context: Context) -> Kernel:
    """One run for each input in each row of the output."""
    axis = _axis(context)
    return movement.join_kernel(context, f"Pack along axis {axis}", axis, [1] * context.attributes.parts)


SPEC = OpSpec(
    name="pack",
    tflite="PACK",
    read=read,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=movement.JOIN,
    moves=True,
)
