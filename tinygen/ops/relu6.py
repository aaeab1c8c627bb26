"""RELU6: int8 or int16 values limited to reals between 0 and 6, at the output's quantisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import activation, lookup
from tinygen.ops.spec import Context, Kernel
from tinygen.quant import Numerics


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The reference kernel's rescaling with its limits; TFLM's kernel limits the stored values and rescales nothing."""
    if context.numerics is Numerics.TFLITE:
        return [activation.rescaled(context, "RELU6", inputs[0])]
    return [np.clip(inputs[0], *_stored_limits(context))]


def _stored_limits(context: Context) -> tuple[int, int]:
    """0 and 6 in the input's quantisation."""
    source = context.input(0)
    return quant.activation_range("RELU6", source.scale, source.zero_point, source.dtype)


def _wide_params(context: Context) -> Kernel:
    """The kernel of int16."""
    if context.numerics is Numerics.TFLITE:
        return activation.rescaling(context, "RELU6")
    return activation.kernel(context, quant.quantize_multiplier(1.0), _stored_limits(context))


SPEC = lookup.operator("relu6", "RELU6", reference, check=activation.check, wide=activation.wide(_wide_params))
