"""PAD: zeros around a tensor (int8, uint8, int16: the output's zero point); any element type, paddings constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir import DTYPES, Array
from tinygen.ops import checks, movement
from tinygen.ops.spec import Context, Kernel, OpSpec, elementwise_cost, no_attributes

_WITH_ZERO_POINT = ("int8", "uint8", "int16")


def check(context: Context) -> None:
    """Two inputs, the paddings constant; see `movement.check_pad`."""
    checks.arity(context, (2, 2))
    movement.check_pad(context)
    y = context.output
    if y.dtype in _WITH_ZERO_POINT and y.quant is not None:
        checks.per_tensor(context, y)


def _fill(context: Context) -> Array:
    """The stored form of real 0."""
    y = context.output
    zero = y.zero_point if y.dtype in _WITH_ZERO_POINT and y.quant is not None else 0
    return np.array([zero], DTYPES[y.dtype])


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The input between zeros."""
    return movement.pad(context, inputs[0], _fill(context))


def params(context: Context) -> Kernel:
    """The input's runs at their places in the output."""
    return movement.pad_kernel(context, "Padding with zeros", _fill(context))


SPEC = OpSpec(
    name="pad",
    tflite="PAD",
    read=no_attributes,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=movement.PAD,
)
