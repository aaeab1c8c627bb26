"""ADD: int8 sum of two tensors, broadcast against each other; also int32, and int64 for shape arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import checks, elementwise
from tinygen.ops.spec import Context, Kernel, OpSpec, elementwise_cost

LEFT_SHIFT = 20
"""Bits that both inputs gain before they are scaled: 255 << 20, twice, stays inside int32."""


@dataclass(frozen=True)
class Scaling:
    """(multiplier, shift) that takes each input to half the larger input scale, and their sum to the output."""

    inputs: tuple[tuple[int, int], tuple[int, int]]
    output: tuple[int, int]


def _scaling(context: Context) -> Scaling:
    first, second, scale = context.input(0).scale, context.input(1).scale, context.output.scale
    twice = 2 * max(first, second)
    output = twice / (2**LEFT_SHIFT * scale)
    if output >= 1:
        raise context.error(
            f"output scale of '{context.output.name}' is too small for its inputs",
            found=f"{scale:.6g}",
            expected=f"> {twice / 2**LEFT_SHIFT:.6g} (twice the larger input scale / 2**{LEFT_SHIFT})",
            remedy="convert the model again with a representative dataset that spans its inputs",
        )
    inputs = (quant.quantize_multiplier(first / twice), quant.quantize_multiplier(second / twice))
    return Scaling(inputs, quant.quantize_multiplier(output))


def check(context: Context) -> None:
    """Types and shapes, and an output scale that the reference kernels can reach."""
    elementwise.check(context)
    checks.fused_activation(context)
    if context.output.dtype == "int8":
        _scaling(context)


def _sum(context: Context, inputs: Sequence[Any], sign: int) -> list[Array]:
    """first + sign * second, as TensorFlow Lite's reference kernel rounds it."""
    first, second = (np.asarray(value, np.int64) for value in inputs)
    if context.output.dtype != "int8":
        return [elementwise.store_integers(context, first + sign * second)]
    scaling = _scaling(context)
    x, y = (
        quant.requantize((value - tensor.zero_point) << LEFT_SHIFT, *pair)
        for value, tensor, pair in zip((first, second), context.inputs, scaling.inputs, strict=True)
    )
    total = quant.requantize(x + sign * y, *scaling.output)
    return [elementwise.store(context, total, context.attributes.activation)]


def _operand(values: dict[str, Any], zero_point: int, pair: tuple[int, int]) -> dict[str, Any]:
    """An input's values with its scaling: a factor where it is an exact power of two, as for the larger scale."""
    multiplier, shift = pair
    exact = multiplier == 2**30 and LEFT_SHIFT - 1 + shift >= 0
    factor = 2 ** (LEFT_SHIFT - 1 + shift) if exact else None
    return {**values, "offset": -zero_point, "factor": factor, "multiplier": multiplier, "shift": shift}


def _params(context: Context, sign: int) -> Kernel:
    operator, title = ("+", "Sum") if sign > 0 else ("-", "Difference")
    if context.output.dtype != "int8":
        return Kernel({**elementwise.integer_values(context, operator), "title": title}, (0, 1))

    def rounded(context: Context, inputs: Sequence[Any]) -> list[Array]:
        return _sum(context, inputs, sign)

    table = elementwise.table_kernel(context, rounded)
    if table is not None:
        return table
    scaling = _scaling(context)
    values = elementwise.values(context)
    values["first"] = _operand(values["first"], context.input(0).zero_point, scaling.inputs[0])
    values["second"] = _operand(values["second"], context.input(1).zero_point, scaling.inputs[1])
    multiplier, shift = scaling.output
    values |= {"input_factor": 2**LEFT_SHIFT, "multiplier": multiplier, "shift": shift}
    limits = elementwise.clamp(context, context.attributes.activation)
    return Kernel({**values, **limits, "title": title, "operator": operator}, (0, 1))


def operator(name: str, tflite: str, sign: int) -> OpSpec:
    """The record of ADD, or with `sign` -1 of SUB."""

    def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
        return _sum(context, inputs, sign)

    def params(context: Context) -> Kernel:
        return _params(context, sign)

    variants = elementwise.variants("kernels/add.c.j2", "kernels/elementwise_integer.c.j2")
    return OpSpec(name, tflite, elementwise.read, check, reference, params, elementwise_cost, variants)


SPEC = operator("add", "ADD", 1)
