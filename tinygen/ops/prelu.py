"""PRELU: int8 x where x is positive, else x times a slope that broadcasts against it, constant or computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import checks, elementwise, pixelwise
from tinygen.ops.spec import Context, Cost, Kernel, OpSpec, no_attributes


def _scalings(context: Context) -> tuple[tuple[int, int], tuple[int, int]]:
    """(multiplier, shift) of elements from zero up, and of products with the slope."""
    x, slope, output = context.input(0), context.input(1), context.output
    return (
        elementwise.scaling(context, x.scale, over=output.scale),
        elementwise.scaling(context, x.scale, slope.scale, over=output.scale),
    )


def check(context: Context) -> None:
    """int8 with scales; the slope broadcasts to the input's shape, which is the output's."""
    checks.arity(context, (2, 2))
    checks.int8_tensors(context, context.input(0), context.input(1), context.output)
    elementwise.check(context)
    checks.shape(context, context.output, context.input(0).shape)
    _scalings(context)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The arithmetic of TensorFlow Lite's reference kernel."""
    x = np.asarray(inputs[0], np.int64) - context.input(0).zero_point
    slope = np.asarray(inputs[1], np.int64) - context.input(1).zero_point
    positive, negative = _scalings(context)
    scaled = np.where(x >= 0, quant.requantize(x, *positive), quant.requantize(x * slope, *negative))
    return [elementwise.store(context, scaled)]


def params(context: Context) -> Kernel:
    """Numbers for the template."""
    table = elementwise.table_kernel(context, reference)
    if table is not None:
        return table
    values = elementwise.values(context, "input", "slope")
    values["first"]["offset"] = -context.input(0).zero_point
    values["second"]["offset"] = -context.input(1).zero_point
    positive, negative = _scalings(context)
    values |= {**elementwise.clamp(context), "positive": positive, "negative": negative}
    return elementwise.kernel(context, values)


def cost(context: Context) -> Cost:
    """One multiplication for each output."""
    return Cost(context.output.size, context.output.size)


SPEC = OpSpec(
    name="prelu",
    tflite="PRELU",
    read=no_attributes,
    check=check,
    reference=reference,
    params=params,
    cost=cost,
    variants=elementwise.variants("kernels/prelu.c.j2"),
    pixelwise=pixelwise.of_activations,
)
