"""ABS: int8 absolute value, scaled from the input's scale to the output's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import elementwise, lookup
from tinygen.ops.spec import Context


def _scaling(context: Context) -> tuple[int, int]:
    return elementwise.scaling(context, context.input(0).scale, over=context.output.scale)


def check(context: Context) -> None:
    """One int8 input, an output of its shape, and scales with a ratio in range."""
    lookup.check(context)
    _scaling(context)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The arithmetic of TensorFlow Lite's reference kernel; with equal scales its scaling changes nothing."""
    size = np.abs(np.asarray(inputs[0], np.int64) - context.input(0).zero_point)
    return [elementwise.store(context, quant.requantize(size, *_scaling(context)))]


SPEC = lookup.operator("abs", "ABS", reference, check=check)
