"""DEQUANTIZE: int8, uint8 or int16 values as reals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir import CTYPES, Array
from tinygen.ops import checks, lookup, overlap
from tinygen.ops.spec import Context, Kernel, OpSpec, Variant, elementwise_cost, no_attributes

_SOURCES = (*lookup.LOADS, "int16")


def check(context: Context) -> None:
    """Integers with one scale and zero point, and reals of the same shape."""
    checks.arity(context, (1, 1))
    source, target = context.input(0), context.output
    checks.dtype(context, source, *_SOURCES)
    if target.dtype != "float32":
        raise context.error("output has the wrong element type", found=target.dtype, expected="float32")
    checks.shape(context, target, source.shape)
    checks.per_tensor(context, source)
    if source.dtype == "int16" and source.zero_point != 0:
        raise context.error("int16 needs zero point 0", found=str(source.zero_point))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """scale * (x - zero point), rounded once; the difference is exact in float32."""
    source = context.input(0)
    difference = inputs[0].astype(np.int32) - source.zero_point
    with np.errstate(under="ignore"):
        return [np.asarray(np.float32(source.scale) * difference.astype(np.float32))]


def params(context: Context) -> Kernel:
    """Numbers for the template."""
    source, rules = context.input(0), overlap.of_elements(context)
    values = {
        "apart": overlap.words(rules[0] if rules else None),
        "elements": source.size,
        "input_type": CTYPES[source.dtype],
        "input_offset": -source.zero_point,
        "scale": source.scale,
    }
    return Kernel(values, overlaps=rules)


SPEC = OpSpec(
    name="dequantize",
    tflite="DEQUANTIZE",
    read=no_attributes,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=(Variant("c", "kernels/dequantize.c.j2"),),
)
