"""TANH: hyperbolic tangent of int8 values, output scale 1/128 and zero point 0; a table of 256 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import fixed_point, libm, lookup, sigmoid
from tinygen.ops.spec import Context
from tinygen.quant import Numerics


def check(context: Context) -> None:
    """int8 to int8 with the operator's own output quantisation."""
    sigmoid.check(context, 1 / 128, 0)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """Computed in float32; TFLM computes in fixed point."""
    if context.numerics is Numerics.TFLITE:
        return [lookup.of_reals(context, libm.tanh, inputs[0])]
    return [quant.saturate(sigmoid.fixed_point(context, fixed_point.tanh, 7, inputs[0]))]


SPEC = lookup.operator("tanh", "TANH", reference, check=check)
