"""ADD: int8 or int16 sum of two tensors, broadcast against each other; also int32, and int64 for shape arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import add_mve, checks, elementwise, overlap, pixelwise, scaled_sum
from tinygen.ops.scaled_sum import ScaledSum
from tinygen.ops.spec import Context, Kernel, OpSpec, Options, Variant, elementwise_cost

LEFT_SHIFTS = {"int8": 20, "int16": 15}
"""Bits that both inputs gain before they are scaled: 255 << 20 or 32768 << 15, twice, stays inside int32."""


@dataclass(frozen=True)
class Scaling:
    """(multiplier, shift) that takes each input to half the larger input scale, and their sum to the output."""

    inputs: tuple[tuple[int, int], tuple[int, int]]
    output: tuple[int, int]


@dataclass(frozen=True)
class Sum:
    """Attributes of ADD and SUB."""

    activation: str
    power_of_two: bool
    """Whether int16 values have scales that are powers of two: then other arithmetic is meant."""


def read(options: Options) -> Sum:
    """Attributes from the file's options."""
    activation = options.choice("fusedActivationFunction", quant.ACTIVATIONS)
    return Sum(activation, bool(options.get("potScaleInt16", True)))


def _left_shift(context: Context) -> int:
    return LEFT_SHIFTS[context.output.dtype]


def _scaling(context: Context) -> Scaling:
    first, second, scale = context.input(0).scale, context.input(1).scale, context.output.scale
    twice = 2 * max(first, second)
    left_shift = _left_shift(context)
    output = twice / (2**left_shift * scale)
    if output >= 1:
        raise context.error(
            f"output scale of '{context.output.name}' is too small for its inputs",
            found=f"{scale:.6g}",
            expected=f"> {twice / 2**left_shift:.6g} (twice the larger input scale / 2**{left_shift})",
            remedy="convert the model again with a representative dataset that spans its inputs",
        )
    inputs = (quant.quantize_multiplier(first / twice), quant.quantize_multiplier(second / twice))
    return Scaling(inputs, quant.quantize_multiplier(output))


def check(context: Context) -> None:
    """Types and shapes, and an output scale that the reference kernels can reach."""
    elementwise.check(context)
    checks.fused_activation(context)
    if context.wide and context.attributes.power_of_two:
        raise context.error(
            "16-bit sums with scales that are powers of two are not supported",
            remedy="convert the model again with int16 activations (the converter then says pot_scale_int16=false)",
        )
    if elementwise.is_quantised(context):
        _scaling(context)


def _sum(context: Context, inputs: Sequence[Any], sign: int) -> list[Array]:
    """first + sign * second, as TensorFlow Lite's reference kernel rounds it."""
    first, second = (np.asarray(value, np.int64) for value in inputs)
    if not elementwise.is_quantised(context):
        return [elementwise.store_integers(context, first + sign * second)]
    total = _scaled(_scaling(context), (first, second), _zero_points(context), sign, _left_shift(context))
    return [elementwise.store(context, total, context.attributes.activation)]


def _zero_points(context: Context) -> tuple[int, int, int]:
    return context.input(0).zero_point, context.input(1).zero_point, context.output.zero_point


def _scaled(scaling: Scaling, inputs: Sequence[Array], zero_points: Sequence[int], sign: int, left_shift: int) -> Array:
    """The result before the output's zero point and limits."""
    x, y = (
        quant.requantize((value - zero_point) << left_shift, *pair)
        for value, zero_point, pair in zip(inputs, zero_points[:2], scaling.inputs, strict=True)
    )
    return quant.requantize(x + sign * y, *scaling.output)


def _operand(values: dict[str, Any], zero_point: int, pair: tuple[int, int], left_shift: int) -> dict[str, Any]:
    """An input's values with its scaling: a factor where it is an exact power of two, as for the larger scale."""
    multiplier, shift = pair
    exact = multiplier == 2**30 and left_shift - 1 + shift >= 0
    factor = 2 ** (left_shift - 1 + shift) if exact else None
    return {**values, "offset": -zero_point, "factor": factor, "multiplier": multiplier, "shift": shift}


def _title(sign: int) -> str:
    return "Sum" if sign > 0 else "Difference"


def _params(context: Context, sign: int) -> Kernel:
    operator, title = "+" if sign > 0 else "-", _title(sign)
    if not elementwise.is_quantised(context):
        return elementwise.kernel(context, {**elementwise.integer_values(context, operator), "title": title})

    def rounded(context: Context, inputs: Sequence[Any]) -> list[Array]:
        return _sum(context, inputs, sign)

    table = elementwise.table_kernel(context, rounded)
    if table is not None:
        return table
    scaling, left_shift = _scaling(context), _left_shift(context)
    values = elementwise.values(context)
    values["first"] = _operand(values["first"], context.input(0).zero_point, scaling.inputs[0], left_shift)
    values["second"] = _operand(values["second"], context.input(1).zero_point, scaling.inputs[1], left_shift)
    multiplier, shift = scaling.output
    values |= {"input_factor": 2**left_shift, "multiplier": multiplier, "shift": shift}
    limits = elementwise.clamp(context, context.attributes.activation)
    return elementwise.kernel(context, {**values, **limits, "title": title, "operator": operator})


def _proved(context: Context, sign: int) -> ScaledSum | None:
    """Two multiplications and a shift in place of three roundings; None where they are not proved to give the same."""
    if context.output.dtype != "int8":
        return None
    scale = context.output.scale
    slopes = context.input(0).scale / scale, sign * context.input(1).scale / scale
    limits = elementwise.limits(context, context.attributes.activation)
    return _search(_scaling(context), slopes, _zero_points(context), sign, limits)


@lru_cache(maxsize=256)
def _search(
    scaling: Scaling, slopes: tuple[float, float], zero_points: tuple[int, int, int], sign: int, limits: tuple[int, int]
) -> ScaledSum | None:
    values = scaled_sum.VALUES
    total = _scaled(scaling, (values[:, None], values[None, :]), zero_points, sign, LEFT_SHIFTS["int8"])
    return scaled_sum.search(np.clip(total + zero_points[2], *limits), slopes, zero_points, limits)


def _proved_params(context: Context, sign: int) -> Kernel:
    found = _proved(context, sign)
    if found is None:
        raise context.error("a sum without proof has no such kernel")
    low, high = elementwise.limits(context, context.attributes.activation)
    values = {**elementwise.values(context), "title": _title(sign), "count": context.output.size}
    values |= {"factors": found.factors, "addend": found.addend, "shift": found.shift}
    return elementwise.kernel(context, {**values, "clamp_min": low, "clamp_max": high})


def _words_params(context: Context, sign: int) -> Kernel:
    """The same of whole tensors, four elements of each input at a time and the rest one by one."""
    count = context.output.size
    rules = tuple(overlap.of_rows(operand, count, 1, 1, 4 if count >= 4 else 1) for operand in range(2))
    return replace(_proved_params(context, sign), overlaps=rules)


def _variants(sign: int) -> tuple[Variant, ...]:
    """A table where one input decides; sums proved equal, rows or whole tensors in vectors and words; all others."""

    def search(context: Context) -> ScaledSum | None:
        return _proved(context, sign)

    def proved(context: Context) -> bool:
        return search(context) is not None

    def whole(context: Context) -> bool:
        same = context.input(0).shape == context.input(1).shape
        limits = elementwise.limits(context, context.attributes.activation)
        return same and limits == quant.RANGES["int8"] and proved(context)

    def params(context: Context) -> Kernel:
        return _proved_params(context, sign)

    def words_params(context: Context) -> Kernel:
        return _words_params(context, sign)

    *tables, plain, integer = elementwise.variants("kernels/add.c.j2", "kernels/elementwise_integer.c.j2")
    mve = add_mve.variant(_title(sign), search)
    dsp = Variant("dsp", "kernels/add.dsp.c.j2", frozenset({"dsp"}), whole, words_params)
    scaled = Variant("scaled_sum", "kernels/add.scaled_sum.c.j2", when=proved, params=params)
    return (*tables, mve, dsp, scaled, plain, integer)


def operator(name: str, tflite: str, sign: int) -> OpSpec:
    """The record of ADD, or with `sign` -1 of SUB."""

    def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
        return _sum(context, inputs, sign)

    def params(context: Context) -> Kernel:
        return _params(context, sign)

    return OpSpec(
        name,
        tflite,
        read,
        check,
        reference,
        params,
        elementwise_cost,
        _variants(sign),
        pixelwise=pixelwise.of_activations,
    )


SPEC = operator("add", "ADD", 1)
