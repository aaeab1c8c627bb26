"""Turns a matrix of one to three channels times rows into a kernel in C, for cores of 32 bits.

The input's zero point lies in the bias, and several products of each channel are made one after another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

from tinygen.ops import matrix_few_dsp
from tinygen.ops.spec import Context, Kernel, Leaner, Variant

TEMPLATE = "kernels/matrix.few.c.j2"
CHANNELS = MappingProxyType({"armv7m": 3, "armv6m": 2, "rv32imc": 3, "xtensa": 3})
"""Feature of a core -> at most so many: more do not fit into the registers beside what is read."""
CODE_BYTES, PLAIN_BYTES = 220, 150
"""About those of its function, and of that in plain C."""
PLAIN_CYCLES = 2
"""Of a multiply-accumulate, that plain C takes more."""
AT_ONCE = 4
"""Inputs that are taken one after another."""


def variants(
    name: str, leaner: str, params: Callable[[Context], Kernel], when: Callable[[Context], bool]
) -> list[Variant]:
    """The kernel for all cores that have it: `params` and the variant called `leaner` are those of plain C."""

    def variant(feature: str, most: int) -> Variant:
        return Variant(
            name,
            TEMPLATE,
            frozenset({feature}),
            lambda context: when(context) and applies(context, most),
            lambda context: kernel(context, params(context)),
            leaner=Leaner(leaner, lambda _: CODE_BYTES, PLAIN_BYTES, plain_cycles),
        )

    return [variant(feature, most) for feature, most in CHANNELS.items()]


def plain_cycles(context: Context) -> float:
    """About what plain C takes more."""
    return PLAIN_CYCLES * context.output.size * context.input(1).shape[-1]


def applies(context: Context, most_channels: int) -> bool:
    """Few channels, some inputs, weights without a zero point; no sum of int8 leaves 32 bits (weighted.check)."""
    few = context.input(1).shape[0] <= most_channels and not context.wide
    return few and matrix_few_dsp.applies(context)


def kernel(context: Context, plain: Kernel) -> Kernel:
    """The numbers and arrays of the plain kernel, with the input's zero point in the bias."""
    few = matrix_few_dsp.kernel(context, plain)
    return replace(few, values={**few.values, "sum_type": "int32_t", "at_once": AT_ONCE})
