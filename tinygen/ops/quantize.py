"""QUANTIZE: reals to int8, uint8 or int16, or integers of one quantisation to integers of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import CTYPES, Array, Tensor
from tinygen.ops import checks, lookup, overlap, pixelwise, quantize_mve
from tinygen.ops.spec import Context, Kernel, OpSpec, Variant, elementwise_cost, no_attributes

TARGETS = {
    "float32": ("int8", "uint8", "int16"),
    "int8": ("int8", "uint8", "int16", "int32"),
    "uint8": ("int8", "uint8", "int16"),
    "int16": ("int8", "int16", "int32"),
    "int32": ("int8", "int16"),
}
"""Element type -> what the reference, or TFLM's kernel (int8 to int32), turns it into."""

REACH = {"int8": 255, "uint8": 255, "int16": 32768, "int32": 1}
"""How far a value can lie from its zero point; int32 products may wrap, as the reference's do."""


def check(context: Context) -> None:
    """A pair of element types that exists, one shape, and scales whose ratio keeps products in 32 bits."""
    checks.arity(context, (1, 1))
    source, target = context.input(0), context.output
    checks.dtype(context, source, *TARGETS)
    checks.dtype(context, target, *TARGETS[source.dtype])
    checks.shape(context, target, source.shape)
    _check_quant(context, target)
    if source.dtype == "float32":
        return
    _check_quant(context, source)
    most = 2**30 // REACH[source.dtype]
    if source.scale / target.scale >= most:
        raise context.error(
            "scales are too far apart", found=f"{source.scale:.6g} / {target.scale:.6g}", expected=f"less than {most}"
        )


def _check_quant(context: Context, tensor: Tensor) -> None:
    """One scale and zero point; types of more than 8 bits are symmetric, as the format's quantisation rules say."""
    checks.per_tensor(context, tensor)
    checks.symmetric(context, tensor)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """Reals are divided in float32 and rounded, halves away from zero; integers are rescaled in two roundings.

    Reals beyond the range end at its limits and NaN at the lower one. TensorFlow Lite converts to int32 first: beyond
    2**31 steps, and for NaN, its result is undefined (on x86, one of the limits, whatever the sign).
    """
    source, target = context.input(0), context.output
    low, high = _limits(target)
    if source.dtype == "float32":
        steps = _round(_divided(inputs[0], target.scale), low, high)
    else:
        value = quant.wrap_int32(inputs[0].astype(np.int64) - source.zero_point)
        steps = np.clip(quant.requantize(value, *_scaling(context)), low, high)
    return [np.asarray(steps + target.zero_point, target.dtype)]


def _limits(target: Tensor) -> tuple[int, int]:
    """Least and greatest result before the zero point is added."""
    low, high = quant.RANGES[target.dtype]
    return low - target.zero_point, high - target.zero_point


def _scaling(context: Context) -> tuple[int, int]:
    return quant.quantize_multiplier(context.input(0).scale / context.output.scale)


def _divided(x: Array, scale: float) -> Array:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        found: Array = x / np.float32(scale)
    return found


def _round(x: Array, low: int, high: int) -> Array:
    """x to the nearest integer, halves away from zero, limited; NaN is `low`. Its C mirror is tg_round_f32."""
    limited = np.where(x > low, np.minimum(x.astype(np.float64), high), low)
    return np.copysign(np.floor(np.abs(limited) + 0.5), limited).astype(np.int64)


def params(context: Context) -> Kernel:
    """A table between 8-bit types; else the numbers of one division or rescaling."""
    if _is_table(context):
        return lookup.params(context, reference)
    source, target = context.input(0), context.output
    rules = overlap.of_elements(context)
    values = {
        "apart": overlap.words(rules[0] if rules else None),
        "elements": target.size,
        "output_type": CTYPES[target.dtype],
        "output_offset": target.zero_point,
        **dict(zip(("low", "high"), _limits(target), strict=True)),
    }
    if source.dtype == "float32":
        return Kernel({**values, **_division(target.scale), "scale": target.scale}, overlaps=rules)
    multiplier, shift = _scaling(context)
    values |= {"input_type": CTYPES[source.dtype], "input_offset": -source.zero_point}
    return Kernel({**values, "multiplier": multiplier, "shift": shift}, overlaps=rules)


def _division(scale: float) -> dict[str, Any]:
    """How to divide by `scale`: a power of two multiplies exactly, and far faster."""
    power_of_two = np.frexp(scale)[0] == 0.5
    return {"operator": "*" if power_of_two else "/", "factor": 1 / scale if power_of_two else scale}


def _is_table(context: Context) -> bool:
    return {context.input(0).dtype, context.output.dtype} <= set(lookup.LOADS)


def _is_real(context: Context) -> bool:
    return context.input(0).dtype == "float32"


def _mve_params(context: Context) -> Kernel:
    return quantize_mve.params(context, params(context))


SPEC = OpSpec(
    name="quantize",
    tflite="QUANTIZE",
    read=no_attributes,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=(
        *lookup.variants("table", _is_table),
        Variant("reals_mve", quantize_mve.TEMPLATE, frozenset({"mve"}), quantize_mve.applies, _mve_params),
        Variant("reals", "kernels/quantize.c.j2", when=_is_real),
        Variant("c", "kernels/requantize.c.j2"),
    ),
    pixelwise=pixelwise.of_activations,
)
