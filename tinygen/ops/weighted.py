"""What operators with weights and a bias share: checks, the scaling of sums, and the arrays that this takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import CTYPES, Array, Quantization, Tensor
from tinygen.ops import checks, real_scale
from tinygen.ops.spec import Constant, Context

BIAS_SCALE_TOLERANCE = 0.02
"""Relative; the interpreter ignores the bias scale, so a wrong one means a damaged or hand-made file."""

MOST_LANES = 4
"""Sums that the smallest cores keep in registers beside the rest of the loop."""

MOST_SCALED = 2**30
"""A scaled sum stays below it, so that no step of the arithmetic leaves 32 bits; an int8 output needs 2**9."""

BIAS_TYPES = {"int8": "int32", "int16": "int64"}
"""Of each type of activations."""
MOST_WIDE = 2**46
"""What a sum of 64 bits reaches at most, for the reference's multiplication with 15 bits."""
MOST_WIDE_SCALE = 2**7
HALF_WORD = 16
LEAST_LIMITED_SCALE = 2.0**-15
"""From it on, a sum that leaves 32 bits is beyond every int16 when it is scaled: it may be limited to 32 bits first."""


@dataclass(frozen=True)
class Operands:
    """Which input is what, and the axis of the weights that counts output channels."""

    channel_axis: int
    x: int = 0
    weights: int = 1
    bias: int = 2
    offset_weights: bool = False
    """Whether weights of one scale may have a zero point other than 0."""


@dataclass(frozen=True)
class Scaling:
    """The C function that scales a sum, with one number or one a channel of each argument."""

    function: str
    multiplier: Array
    shift: Array
    fraction: Array | None = None
    shifts: bool = True
    """Whether the function takes the shift."""


def check(context: Context, operands: Operands) -> None:
    """Weights and bias are constant, of the right types and scales, and no sum can leave 32 bits."""
    checks.fused_activation(context)
    weights = context.input(operands.weights)
    checks.dtype(context, weights, "int8")
    context.constant(operands.weights)
    for tensor in (context.input(operands.x), weights):
        if tensor.size == 0:
            raise context.error(f"tensor '{tensor.name}' has no elements", found=str(list(tensor.shape)))
    _check_weights(context, operands, weights)
    if context.has_input(operands.bias):
        _check_bias(context, operands)
    _check_range(context, operands)


def _check_weights(context: Context, operands: Operands, weights: Tensor) -> None:
    quantization = weights.quant
    if quantization is None:
        raise context.error(
            f"weights '{weights.name}' have no scale", remedy="convert the model with full integer quantisation"
        )
    if quantization.axis not in (None, operands.channel_axis):
        raise context.error(
            "weights are scaled along the wrong axis", found=str(quantization.axis), expected=str(operands.channel_axis)
        )
    if max(quantization.scale) > checks.SCALE_RANGE[1]:
        raise context.error("a scale of the weights is out of range", found=f"{max(quantization.scale):.6g}")
    furthest = max(quantization.zero_point, key=abs)
    if operands.offset_weights and quantization.axis is None:
        checks.per_tensor(context, weights)
    elif furthest:
        raise context.error("weights need zero point 0", found=str(furthest))


def _check_bias(context: Context, operands: Operands) -> None:
    bias, channels = context.input(operands.bias), _channels(context, operands)
    checks.dtype(context, bias, BIAS_TYPES[context.input(operands.x).dtype])
    values = context.constant(operands.bias)
    if bias.size != channels:
        raise context.error("bias has the wrong size", found=str(bias.size), expected=str(channels))
    shared = bias.dtype == "int64" and not values.any()
    if bias.quant is None or shared:  # the converter lets layers share zeros, whatever their scale
        return
    if any(bias.quant.zero_point):
        raise context.error("bias needs zero point 0", found=str(max(bias.quant.zero_point, key=abs)))
    if len(bias.quant.scale) not in (1, channels):
        raise context.error(
            "bias has the wrong number of scales", found=str(len(bias.quant.scale)), expected=f"1 or {channels}"
        )
    products = context.input(operands.x).scale * np.asarray(_quantization(context, operands).scale, np.float64)
    expected, found = np.broadcast_arrays(products, np.asarray(bias.quant.scale, np.float64))
    off = np.abs(found - expected) > BIAS_SCALE_TOLERANCE * expected + np.finfo(np.float32).tiny
    if np.any(off):
        worst = int(np.argmax(off))
        raise context.error(
            f"bias '{bias.name}' has the wrong scale (channel {worst})",
            found=f"{found[worst]:.6g}",
            expected=f"input scale * weight scale = {expected[worst]:.6g}",
            remedy="convert the model again",
        )


def _check_range(context: Context, operands: Operands) -> None:
    """Sums of every prefix stay inside int32 (or what 16-bit activations take), scaled sums inside MOST_SCALED."""
    remedy = "convert the model again with a representative dataset that spans its inputs"
    most, wide = bounds(context, operands), context.wide
    limit, bits = (MOST_WIDE, 47) if wide else (quant.INT32_MAX, 32)
    if most.max() > limit:
        raise context.error(
            f"the sum of channel {int(most.argmax())} can leave {bits} bits",
            found=str(int(most.max())),
            expected=f"<= {limit}",
            remedy=remedy,
        )
    if wide:
        _check_wide_scales(context, operands, most, remedy)
    scaled = most * np.broadcast_to(scales(context, operands), most.shape)
    if scaled.max() > MOST_SCALED:
        raise context.error(
            f"the scaled sum of channel {int(scaled.argmax())} can leave 32 bits",
            found=f"{scaled.max():.6g}",
            expected=f"<= {MOST_SCALED}",
            remedy=remedy,
        )


def _check_wide_scales(context: Context, operands: Operands, most: Array, remedy: str) -> None:
    """No scale beyond the reference's arithmetic; none so small that sums of more than 32 bits count."""
    ratios = np.broadcast_to(scales(context, operands), most.shape)
    least = np.where(most > quant.INT32_MAX, LEAST_LIMITED_SCALE, 0)
    off = (ratios >= MOST_WIDE_SCALE) | (ratios < least)
    if np.any(off):
        channel = int(np.argmax(off))
        raise context.error(
            f"input scale * weight scale / output scale is out of range (channel {channel})",
            found=f"{ratios[channel]:.6g}",
            expected=f"{least[channel]:g} to {MOST_WIDE_SCALE}",
            remedy=remedy,
        )


def _quantization(context: Context, operands: Operands) -> Quantization:
    quantization = context.input(operands.weights).quant
    assert quantization is not None  # proved by check
    return quantization


def _channels(context: Context, operands: Operands) -> int:
    return context.input(operands.weights).shape[operands.channel_axis]


def weights_zero_point(context: Context, operands: Operands) -> int:
    """The zero point of the weights; 0 when they are scaled per channel."""
    quantization = _quantization(context, operands)
    return quantization.zero_point[0] if quantization.axis is None else 0


def bounds(context: Context, operands: Operands) -> Array:
    """What no sum of a channel exceeds: |bias| + the largest |x - zero point| times the sum of |w - zero point|."""
    weights = context.constant(operands.weights).astype(np.int64) - weights_zero_point(context, operands)
    sizes = np.abs(np.moveaxis(weights, operands.channel_axis, 0).reshape(_channels(context, operands), -1))
    x = context.input(operands.x)
    most: Array = sizes.sum(axis=1) * max(abs(end - x.zero_point) for end in quant.RANGES[x.dtype])
    if context.has_input(operands.bias):
        bias = context.constant(operands.bias).astype(np.int64).ravel()
        most = most + np.abs(np.clip(bias, -2 * MOST_WIDE, 2 * MOST_WIDE))
    return most


def scales(context: Context, operands: Operands) -> Array:
    """Input scale * weight scale / output scale in float64, for each scale of the weights."""
    products = context.input(operands.x).scale * np.asarray(_quantization(context, operands).scale, np.float64)
    return np.asarray(products / context.output.scale)


def activation_range(context: Context) -> tuple[int, int]:
    """Least and greatest stored output under the node's fused activation."""
    output = context.output
    return quant.activation_range(context.attributes.activation, output.scale, output.zero_point, output.dtype)


def fixed_point(context: Context, operands: Operands) -> Scaling:
    """The scaling of the convolutions: a multiplier of 31 bits, two roundings; 15 bits and one of int16."""
    multiplier, shift = quant.quantize_multipliers(scales(context, operands))
    if context.wide:
        return _one_rounding(quant.reduced_multiplier(multiplier), shift)
    return Scaling("tg_requantize", multiplier, shift)


def _one_rounding(reduced: Array, shift: Array) -> Scaling:
    """Multipliers of 15 bits; of scales from 2**-18 to 1/2 shifted so far that a product is 2**32 times the result."""
    if np.all((shift >= -HALF_WORD - 1) & (shift < 0)):
        return Scaling("tg_scale", (reduced << (HALF_WORD + 1 + shift)).astype(np.int32), shift, shifts=False)
    return Scaling("tg_requantize_single", (reduced << HALF_WORD).astype(np.int32), shift)


def nearest(context: Context, operands: Operands) -> Scaling:
    """A scaling equal to `real_scale.scaled` for every sum that the weights and the bias allow."""
    reals, most = scales(context, operands), np.minimum(bounds(context, operands), quant.INT32_MAX)
    if len(reals) != len(most):
        most = most.max(keepdims=True)
    low, high = (limit - context.output.zero_point for limit in activation_range(context))
    found = real_scale.scaling(reals.tolist(), most.tolist(), low, high)
    columns = np.array([(m.high, m.shift, m.low) for m in found.multipliers], np.int32).T
    return Scaling(found.function, columns[0], columns[1], None if found.words == 1 else columns[2])


def add_bias(sums: Array, inputs: Sequence[Any], operands: Operands) -> Array:
    """int64 sums [..., channels] with the bias added when there is one."""
    if len(inputs) <= operands.bias or inputs[operands.bias] is None:
        return sums
    return np.asarray(sums + inputs[operands.bias].astype(np.int64).ravel())


def finish(context: Context, operands: Operands, sums: Array, inputs: Sequence[Any]) -> Array:
    """Bias, fixed-point scaling, zero point and clamp of int64 sums [..., channels]: the output's type."""
    scale = quant.requantize_wide if context.wide else quant.requantize
    multiplier, shift = quant.quantize_multipliers(scales(context, operands))
    return store(context, scale(add_bias(sums, inputs, operands), multiplier, shift))


def store(context: Context, scaled: Array) -> Array:
    """Scaled sums with the zero point added, clamped: the output's type."""
    low, high = activation_range(context)
    return quant.saturate(np.clip(scaled + context.output.zero_point, low, high), context.output.dtype)


def values(context: Context, operands: Operands, scaling: Scaling) -> dict[str, Any]:
    """Numbers for the template: types, offsets, clamp, and the scaling when it is one for all channels."""
    per_channel = _quantization(context, operands).axis is not None
    low, high = activation_range(context)

    def single(numbers: Array | None) -> int | None:
        return None if per_channel or numbers is None else int(numbers[0])

    return {
        **_types(context, operands),
        "input_offset": -context.input(operands.x).zero_point,
        "output_offset": context.output.zero_point,
        "clamp_min": low - context.output.zero_point,
        "clamp_max": high - context.output.zero_point,
        "per_channel": per_channel,
        "requantize": scaling.function,
        "multiplier": single(scaling.multiplier),
        "has_fraction": scaling.fraction is not None,
        "fraction": single(scaling.fraction),
        "shift": single(scaling.shift),
        "has_shift": scaling.shifts,
        "has_bias": context.has_input(operands.bias),
    }


def _types(context: Context, operands: Operands) -> dict[str, Any]:
    """The types of activations, of one in a product, of a sum and of a bias."""
    narrow = int(bounds(context, operands).max()) <= quant.INT32_MAX
    return {
        "in_type": CTYPES[context.input(operands.x).dtype],
        "out_type": CTYPES[context.output.dtype],
        "factor_type": "int32_t" if context.wide else "int16_t",
        "sum_type": "int32_t" if narrow else "int64_t",
        "bias_type": CTYPES[str(_bias(context, operands).dtype)] if context.has_input(operands.bias) else None,
    }


def _bias(context: Context, operands: Operands) -> Array:
    """The bias, in 32 bits where it fits."""
    bias = context.constant(operands.bias).ravel()
    return bias.astype(np.int32) if np.abs(bias).max() <= quant.INT32_MAX else bias


def lanes(filters: int, filter_elements: int) -> dict[str, Any]:
    """Filters computed side by side, so that each load of the input serves all of them: as many as divide `filters`."""
    count = max(lanes for lanes in range(1, MOST_LANES + 1) if filters % lanes == 0)
    single = count == 1
    return {
        "lanes": [
            {"sum": "sum" if single else f"sum_{lane}", "channel": lane, "offset": lane * filter_elements}
            for lane in range(count)
        ],
        "lane_elements": count * filter_elements,
        "skipped_elements": (count - 1) * filter_elements,
    }


def constants(
    context: Context, operands: Operands, scaling: Scaling, weights: Array | None = None
) -> tuple[Constant, ...]:
    """Weights (as given, or as in the file), bias if any, and per channel multiplier, fraction if any, and shift."""
    found = [Constant("weights", context.constant(operands.weights) if weights is None else weights)]
    if context.has_input(operands.bias):
        found.append(Constant("bias", _bias(context, operands)))
    if _quantization(context, operands).axis is not None:
        found.append(Constant("multiplier", scaling.multiplier))
        if scaling.fraction is not None:
            found.append(Constant("fraction", scaling.fraction))
        if scaling.shifts:
            found.append(Constant("shift", scaling.shift.astype(np.int8)))
    return tuple(found)
