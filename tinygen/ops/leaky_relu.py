"""LEAKY_RELU: int8 or int16 x where x is positive, else x times one slope, at the output's scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import elementwise, lookup, overlap
from tinygen.ops.spec import Context, Kernel, Options, Variant


@dataclass(frozen=True)
class LeakyRelu:
    """Attributes of LEAKY_RELU."""

    alpha: float
    """The slope below zero; it may be negative or above 1."""


def read(options: Options) -> LeakyRelu:
    """Attributes from the file's options."""
    return LeakyRelu(float(options.get("alpha", 0.0)))


def _scalings(context: Context) -> tuple[tuple[int, int], tuple[int, int]]:
    """(multiplier, shift) from zero up, and below zero for the slope's size."""
    source, target = context.input(0).scale, context.output.scale
    return (
        elementwise.scaling(context, source, over=target),
        elementwise.scaling(context, source, abs(context.attributes.alpha), over=target),
    )


def check(context: Context) -> None:
    """One input, an output of its type and shape, and a slope and scales with a ratio in range."""
    lookup.check_wide(context)
    if not math.isfinite(context.attributes.alpha):
        raise context.error("slope is not a number", found=str(context.attributes.alpha), expected="a finite alpha")
    _scalings(context)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The arithmetic of TensorFlow Lite's reference kernel."""
    x = np.asarray(inputs[0], np.int64) - context.input(0).zero_point
    positive, negative = _scalings(context)
    sign = -1 if context.attributes.alpha < 0 else 1
    scaled = np.where(x >= 0, quant.requantize(x, *positive), sign * quant.requantize(x, *negative))
    return [elementwise.store(context, scaled)]


def _wide_params(context: Context) -> Kernel:
    """Numbers for the template of int16."""
    (rule,), (positive, negative) = overlap.of_elements(context), _scalings(context)
    values = {
        "apart": overlap.words(rule),
        "elements": context.output.size,
        "positive": positive,
        "negative": negative,
        "sign": "-" if context.attributes.alpha < 0 else "",
    }
    return Kernel(values, overlaps=(rule,))


WIDE = Variant("int16", "kernels/leaky_relu.int16.c.j2", when=lambda context: context.wide, params=_wide_params)
SPEC = lookup.operator("leaky_relu", "LEAKY_RELU", reference, read, check, WIDE)
