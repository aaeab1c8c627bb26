"""What stand-alone RELU, RELU6 and RELU_N1_TO_1 share: an int8 rescaling that ends at the activation's limits."""

from __future__ import annotations

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import elementwise, lookup
from tinygen.ops.spec import Context


def _scaling(context: Context) -> tuple[int, int]:
    return elementwise.scaling(context, context.input(0).scale, over=context.output.scale)


def check(context: Context) -> None:
    """int8 to int8 of the same shape, and a ratio of scales in range."""
    lookup.check(context)
    _scaling(context)


def rescaled(context: Context, activation: str, x: Array) -> Array:
    """`activation` of x, at the output's scale and zero point."""
    value = x.astype(np.int64) - context.input(0).zero_point
    return elementwise.store(context, quant.requantize(value, *_scaling(context)), activation)
