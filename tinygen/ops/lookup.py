"""Turns an elementwise operator on 8-bit values into a table of its 256 results, taken from its own reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygen.ir import CTYPES, DTYPES, Array
from tinygen.ops import checks, overlap, pixelwise
from tinygen.ops.spec import (
    Constant,
    Context,
    Kernel,
    OpSpec,
    Options,
    Variant,
    elementwise_cost,
    no_attributes,
)

Reference = Callable[[Context, Sequence[Any]], list[Array]]
"""`reference` of an OpSpec; it must take arrays of any shape, whatever the shape of the node's tensors."""


def variants(name: str, when: Callable[[Context], bool]) -> tuple[Variant, Variant]:
    """A table's kernels: 16 elements at a time in vectors of Helium, or `name`, one by one."""
    mve = Variant("lookup.mve", "kernels/lookup.mve.c.j2", frozenset({"mve"}), when)
    return mve, Variant(name, "kernels/lookup.c.j2", when=when)


VARIANTS = variants("c", lambda context: not context.wide)

LOADS = {"int8": "tg_load_s8", "uint8": "tg_load_u8"}
"""Element types that a table can read and write -> what loads them from a table."""


def check(context: Context) -> None:
    """One int8 input, one int8 output of the same shape, each with one scale and zero point."""
    checks.int8_tensors(context, context.input(0), context.output)
    check_wide(context)


def check_wide(context: Context) -> None:
    """The same, or both of int16."""
    checks.arity(context, (1, 1))
    checks.activations(context, context.input(0), context.output)
    checks.shape(context, context.output, context.input(0).shape)


def is_table(spec: OpSpec) -> bool:
    """Whether the operator is a table of 8-bit values."""
    return spec.variants[: len(VARIANTS)] == VARIANTS


def codes(dtype: str = "int8") -> Array:
    """All 256 values of an 8-bit type, ordered by their bits read as unsigned: for int8 0 to 127, then -128 to -1."""
    return np.arange(256, dtype=np.uint8).view(DTYPES[dtype])


def table(context: Context, reference: Reference) -> Array:
    """The output for each of the 256 inputs, indexed by the input's bits read as unsigned."""
    return reference(context, [codes(context.input(0).dtype)])[0]


def of_reals(context: Context, function: Callable[[Any], Any], x: Array) -> Array:
    """`function` of int8 values, as the reference's table holds it: dequantised, computed and rounded in float32.

    Results beyond the output's range end at its limits.
    """
    source, target = context.input(0), context.output
    with np.errstate(over="ignore", under="ignore"):
        reals = np.float32(source.scale) * (codes().astype(np.int32) - source.zero_point).astype(np.float32)
        scaled = np.asarray(function(reals), np.float32) * (np.float32(1) / np.float32(target.scale))
        whole = np.copysign(np.floor(np.abs(scaled.astype(np.float64)) + 0.5), scaled).astype(np.float32)
        stored = np.clip(whole + np.float32(target.zero_point), -128, 127).astype(np.int8)
    found: Array = stored[x.view(np.uint8)]
    return found


def params(context: Context, reference: Reference) -> Kernel:
    """The kernel of `reference` as a table; input and output are int8 or uint8."""
    source, target = context.input(0).dtype, context.output.dtype
    values = {
        "elements": context.output.size,
        "input_type": CTYPES[source],
        "output_type": CTYPES[target],
        "load": LOADS[target],
    }
    constants = (Constant("table", table(context, reference)),)
    return Kernel(values, (0,), constants, overlaps=(overlap.of_rows(0, context.output.size, 1, 1),))


def operator(
    name: str,
    tflite: str,
    reference: Reference,
    read: Callable[[Options], Any] = no_attributes,
    check: Callable[[Context], None] = check,
    wide: Variant | None = None,
) -> OpSpec:
    """The record of an operator that is a table: int8 to int8 with one input; int16 by the kernel `wide`, if any."""

    def kernel(context: Context) -> Kernel:
        return params(context, reference)

    kernels = VARIANTS if wide is None else (*VARIANTS, wide)
    return OpSpec(
        name, tflite, read, check, reference, kernel, elementwise_cost, kernels, pixelwise=pixelwise.of_activations
    )
