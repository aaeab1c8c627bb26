"""RELU6: int8 values limited to reals between 0 and 6, at the output's quantisation; a table of 256 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import activation, lookup
from tinygen.ops.spec import Context
from tinygen.quant import Numerics


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The reference kernel's rescaling with its limits; TFLM's kernel limits the stored values and rescales nothing."""
    if context.numerics is Numerics.TFLITE:
        return [activation.rescaled(context, "RELU6", inputs[0])]
    source = context.input(0)
    low, high = quant.activation_range("RELU6", source.scale, source.zero_point)
    return [np.clip(inputs[0], low, high)]


SPEC = lookup.operator("relu6", "RELU6", reference, check=activation.check)
