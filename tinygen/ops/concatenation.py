"""CONCATENATION: tensors put side by side along one axis; any element type, without change of scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import checks, movement, pixelwise, width_rows
from tinygen.ops.spec import Context, Kernel, OpSpec, Options, Rows, elementwise_cost

WIDTH_AXIS, CHANNEL_AXIS = 2, 3
(PLAIN,) = movement.JOIN


@dataclass(frozen=True)
class Concatenation:
    """Attributes of CONCATENATION."""

    axis: int
    activation: str


def read(options: Options) -> Concatenation:
    """Attributes from the file's options."""
    activation = options.choice("fusedActivationFunction", quant.ACTIVATIONS)
    return Concatenation(options.integer("axis", 0), activation)


def _axis(context: Context) -> int:
    return movement.axis_in(context, context.attributes.axis, len(context.input(0).shape))


def check(context: Context) -> None:
    """Inputs of the output's type and shape but for the axis, whose sizes add up.

    The reference interpreter, too, refuses int8 inputs of another scale and every fused activation. It does rescale
    uint8; that is not supported here. Other types move as they are.
    """
    checks.arity(context, (1, movement.MAX_PARAMETERS - 1))
    if context.attributes.activation != "NONE":
        raise context.error("fused activation is not supported", found=context.attributes.activation, expected="NONE")
    first, axis = context.input(0), _axis(context)
    tensors = [context.input(index) for index in range(len(context.node.inputs))]
    for tensor in tensors:
        movement.same_dtype(context, tensor, context.output)
        if tensor.dtype in ("int8", "uint8"):
            movement.same_values(context, tensor, context.output)
        checks.rank(context, tensor, len(first.shape))
        checks.shape(context, tensor, (*first.shape[:axis], tensor.shape[axis], *first.shape[axis + 1 :]))
    total = sum(tensor.shape[axis] for tensor in tensors)
    checks.shape(context, context.output, (*first.shape[:axis], total, *first.shape[axis + 1 :]))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The inputs, one after the other."""
    return [np.concatenate(list(inputs), _axis(context))]


def params(context: Context) -> Kernel:
    """One run for each input in each row of the output."""
    axis = _axis(context)
    widths = [tensor.shape[axis] for tensor in context.inputs]
    return movement.join_kernel(context, f"Concatenation along axis {axis}", axis, widths)


def rows(context: Context) -> Rows | None:
    """Rows, one behind the other along the width, or one pixel beside the other along the channels."""
    if _axis(context) == WIDTH_AXIS:
        row = width_rows.joined(context)
        return Rows(params(row), PLAIN.template) if row else None
    by_pixels = _axis(context) == CHANNEL_AXIS and pixelwise.of_activations(context)
    return pixelwise.rows(context, SPEC, PLAIN) if by_pixels else None


SPEC = OpSpec(
    name="concatenation",
    tflite="CONCATENATION",
    read=read,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=(replace(PLAIN, rows=rows),),
    moves=True,
    pixelwise=lambda context: _axis(context) == CHANNEL_AXIS and pixelwise.of_activations(context),
)
