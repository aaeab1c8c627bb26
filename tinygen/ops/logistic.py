"""LOGISTIC: 1 / (1 + exp(-x)) of int8 or int16 values; of int8 a table of 256 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import fixed_point, libm, lookup, sigmoid, sigmoid_int16
from tinygen.ops.spec import Context
from tinygen.quant import Numerics

SCALE, ZERO_POINT = 1 / 256, -128


def check(context: Context) -> None:
    """int8 to int8, or int16 to int16, with the operator's own output quantisation."""
    if context.wide:
        sigmoid_int16.check(context)
        return
    sigmoid.check(context, SCALE, ZERO_POINT)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """Computed in float32; TFLM computes in fixed point. int16 is interpolated."""
    if context.wide:
        return [sigmoid_int16.reference(context, sigmoid_int16.LOGISTIC, inputs[0])]
    if context.numerics is Numerics.TFLITE:
        return [lookup.of_reals(context, _logistic, inputs[0])]
    found = sigmoid.fixed_point(context, fixed_point.logistic, 8, inputs[0])
    return [quant.saturate(found + ZERO_POINT)]


def _logistic(x: libm.Floats) -> libm.Floats:
    one = np.float32(1)
    found: libm.Floats = one / (one + libm.exp(-x))
    return found


SPEC = lookup.operator(
    "logistic", "LOGISTIC", reference, check=check, wide=sigmoid_int16.variant(sigmoid_int16.LOGISTIC)
)
