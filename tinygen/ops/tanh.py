"""TANH: hyperbolic tangent of int8 or int16 values; of int8 a table of 256 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import fixed_point, libm, lookup, sigmoid, sigmoid_int16
from tinygen.ops.spec import Context
from tinygen.quant import Numerics


def check(context: Context) -> None:
    """int8 to int8, or int16 to int16, with the operator's own output quantisation."""
    if context.wide:
        sigmoid_int16.check(context)
        return
    sigmoid.check(context, 1 / 128, 0)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """Computed in float32; TFLM computes in fixed point. int16 is interpolated."""
    if context.wide:
        return [sigmoid_int16.reference(context, sigmoid_int16.TANH, inputs[0])]
    if context.numerics is Numerics.TFLITE:
        return [lookup.of_reals(context, libm.tanh, inputs[0])]
    return [quant.saturate(sigmoid.fixed_point(context, fixed_point.tanh, 7, inputs[0]))]


WIDE = sigmoid_int16.variant(sigmoid_int16.TANH)
SPEC = lookup.operator("tanh", "TANH", reference, check=check, wide=WIDE)
