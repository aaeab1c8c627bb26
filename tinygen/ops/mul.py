"""MUL: int8 or int16 product of two tensors, broadcast against each other; also int32, and int64 of shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import quant, requantize
from tinygen.ir import Array
from tinygen.ops import checks, elementwise, mul_mve, pixelwise
from tinygen.ops.spec import Context, Cost, Kernel, OpSpec, Variant
from tinygen.requantize import Roundings


def _scaling(context: Context) -> tuple[int, int]:
    return elementwise.scaling(context, context.input(0).scale, context.input(1).scale, over=context.output.scale)


def check(context: Context) -> None:
    """Types and shapes, and scales with a ratio in range."""
    elementwise.check(context)
    checks.fused_activation(context)
    if elementwise.is_quantised(context):
        _scaling(context)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The product of TensorFlow Lite's reference kernel."""
    first, second = (np.asarray(value, np.int64) for value in inputs)
    if not elementwise.is_quantised(context):
        return [elementwise.store_integers(context, first * second)]
    product = (first - context.input(0).zero_point) * (second - context.input(1).zero_point)
    scaled = quant.requantize(product, *_scaling(context))
    return [elementwise.store(context, scaled, context.attributes.activation)]


def params(context: Context) -> Kernel:
    """Numbers for the template."""
    if not elementwise.is_quantised(context):
        return elementwise.kernel(context, {**elementwise.integer_values(context, "*"), "title": "Product"})
    table = elementwise.table_kernel(context, reference)
    if table is not None:
        return table
    multiplier, shift = _scaling(context)
    values = _offset_values(context) | {"multiplier": multiplier, "shift": shift}
    return elementwise.kernel(context, {**values, **elementwise.clamp(context, context.attributes.activation)})


def _offset_values(context: Context) -> dict[str, Any]:
    """The loops, and both inputs without their zero points."""
    values = elementwise.values(context)
    values["first"]["offset"] = -context.input(0).zero_point
    values["second"]["offset"] = -context.input(1).zero_point
    return values


def _roundings(context: Context) -> Roundings | None:
    """Two roundings of the product in 32 bits; None where there is no second one."""
    if context.output.dtype != "int8":
        return None
    multiplier, shift = _scaling(context)
    ends = [np.array([limit - tensor.zero_point for limit in quant.RANGES["int8"]]) for tensor in context.inputs[:2]]
    products = np.outer(*ends)
    sums = np.array([products.min()]), np.array([products.max()])
    zero_point = context.output.zero_point
    return requantize.roundings(np.array([multiplier]), np.array([shift]), np.zeros(1), sums, zero_point)


def _rounded_params(context: Context) -> Kernel:
    exact = _roundings(context)
    assert exact is not None  # proved by the variant
    limits = elementwise.limits(context, context.attributes.activation)
    values = {
        **_offset_values(context),
        "multiplier": int(exact.multiplier[0]),
        "addend": int(exact.addend[0]),
        "shift": int(exact.shift[0]),
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }
    return elementwise.kernel(context, values)


def _variants() -> tuple[Variant, ...]:
    """A table where one input decides; vectors; two roundings where one instruction makes 64 bits; all others."""
    *tables, plain, integer = elementwise.variants("kernels/mul.c.j2", "kernels/elementwise_integer.c.j2")
    rounded = Variant(
        "roundings",
        "kernels/mul.roundings.c.j2",
        frozenset({"armv7m"}),
        lambda context: _roundings(context) is not None,
        _rounded_params,
    )
    return (*tables, mul_mve.variant(_scaling), rounded, plain, integer)


def cost(context: Context) -> Cost:
    """One multiplication for each output."""
    return Cost(context.output.size, context.output.size)


SPEC = OpSpec(
    name="mul",
    tflite="MUL",
    read=elementwise.read,
    check=check,
    reference=reference,
    params=params,
    cost=cost,
    variants=_variants(),
    pixelwise=pixelwise.of_activations,
)
