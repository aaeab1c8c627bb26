"""Turns reals to int8 into the numbers of their kernel for Helium, four at a time.

Vectors have no division. A quotient is multiplied by the reciprocal first, and then set right twice by what is left of
the real, which fused multiplications give exactly: the first time to within its last place, the second time to what a
division rounds to (P. Markstein, Computation of elementary functions on the IBM RISC System/6000, 1990).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ops.spec import Context, Kernel

TEMPLATE = "kernels/quantize.mve.c.j2"
LEAST_SCALE, MOST_SCALE = 2.0**-60, 2.0**60
"""What is left of a real is then never so small that vectors take it for zero."""


def applies(context: Context) -> bool:
    """float32 to int8, scales that leave room for what is left of a real."""
    types = context.input(0).dtype, context.output.dtype
    return types == ("float32", "int8") and LEAST_SCALE <= context.output.scale <= MOST_SCALE


def params(context: Context, plain: Kernel) -> Kernel:
    """Numbers for the template, beside those of the kernel in plain C: reals by the bits that registers hold."""
    scale, (low, high) = np.float32(context.output.scale), (plain.values["low"], plain.values["high"])
    values = {
        "divides": plain.values["operator"] == "/",
        "reciprocal_bits": _bits(np.float32(1) / scale),
        "scale_bits": _bits(-scale),
        "least_bits": _bits(np.float32(low - 1) * scale),
        "most_bits": _bits(np.float32(high + 1) * scale),
    }
    return replace(plain, values={**plain.values, **values})


def _bits(value: np.float32) -> str:
    return f"0x{int(value.view(np.uint32)):08x}"
