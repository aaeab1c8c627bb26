"""ELU: x above 0 and exp(x) - 1 below, of int8 values; a table of 256 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import libm, lookup
from tinygen.ops.spec import Context
from tinygen.quant import Numerics


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """Computed in float32, by expm1 in TensorFlow Lite, by exp and a subtraction in TFLM.

    TensorFlow Lite's set of reference kernels lacks this operator; the truth is its default kernel.
    """
    below = libm.expm1 if context.numerics is Numerics.TFLITE else _exp_less_one
    return [lookup.of_reals(context, lambda x: np.where(x < 0, below(np.minimum(x, np.float32(0))), x), inputs[0])]


def _exp_less_one(x: libm.Floats) -> libm.Floats:
    found: libm.Floats = libm.exp(x) - np.float32(1)
    return found


SPEC = lookup.operator("elu", "ELU", reference)
