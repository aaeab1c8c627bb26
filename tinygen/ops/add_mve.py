"""Turns a sum or difference that is proved equal in 32 bits into the numbers of its kernel for Helium.

Four elements at a time: two multiplications, then the upper halves of the sums, shifted and limited. The last shift of
vectors that limits rounds to the nearest, so half of an output's step is taken off before.
"""

from __future__ import annotations

from collections.abc import Callable

from tinygen import quant
from tinygen.ops import elementwise, elementwise_mve, scaled_sum
from tinygen.ops.scaled_sum import ScaledSum
from tinygen.ops.spec import Context, Kernel, Variant

TEMPLATE = "kernels/add.mve.c.j2"
HALF_BITS = 16
"""Of a sum, which are dropped first."""

Search = Callable[[Context], ScaledSum | None]


def variant(title: str, search: Search) -> Variant:
    """The record of the kernel, for what `search` proves."""

    def applies(context: Context) -> bool:
        return elementwise_mve.applies(context) and _fits(search(context))

    def params(context: Context) -> Kernel:
        found = search(context)
        assert found is not None  # proved by applies
        factors = found.factors[::-1] if elementwise_mve.swaps(context) else found.factors
        low, high = elementwise.limits(context, context.attributes.activation)
        values = {
            **elementwise_mve.values(context),
            "title": title,
            "factors": factors,
            "addend": found.addend,
            "lowered": _lowered(found),
            "shift": found.shift,
            "upper_shift": found.shift - HALF_BITS,
            "clamp_min": low,
            "clamp_max": high,
        }
        return elementwise.kernel(context, values)

    return Variant("mve", TEMPLATE, frozenset({"mve"}), applies, params)


def _lowered(found: ScaledSum) -> int:
    """The addend less what the last shift adds."""
    return found.addend - (1 << found.shift - 1)


def _fits(found: ScaledSum | None) -> bool:
    """Whether all sums have 32 bits with that addend too."""
    if found is None:
        return False
    ends = scaled_sum.VALUES[[0, -1]]
    _, total = ScaledSum(found.factors, _lowered(found), found.shift).sums(ends[:, None], ends[None, :])
    return bool(total.min() >= quant.INT32_MIN and total.max() <= quant.INT32_MAX)
