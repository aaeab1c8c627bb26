"""What operators with weights and a bias share: scaling down their sums, and the arrays that this takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import checks
from tinygen.ops.spec import Constant, Context
from tinygen.quant import Rounding

BIAS_SCALE_TOLERANCE = 0.02
"""Relative; the interpreter ignores the bias scale, so a wrong one means a damaged or hand-made file."""


def check(context: Context, channel_axis: int, bias_index: int = 2, weights_index: int = 1) -> None:
    """Weights and bias are constant, of the right types and scales, and no sum can leave 32 bits."""
    weights = context.input(weights_index)
    checks.dtype(context, weights, "int8")
    context.constant(weights_index)
    channels = weights.shape[channel_axis]
    if weights.quant is None:
        raise context.error(
            f"weights '{weights.name}' have no scale", remedy="convert the model with full integer quantisation"
        )
    if weights.quant.axis not in (None, channel_axis):
        raise context.error("weights are scaled along the wrong axis", found=str(weights.quant.axis), expected=str(channel_axis))
    if any(weights.quant.zero_point):
        raise context.error("weights need zero point 0", found=str(max(weights.quant.zero_point, key=abs)))
    if context.has_input(bias_index):
        _check_bias(context, channels, bias_index, weights_index)
    _check_range(context, channel_axis, bias_index, weights_index)


def _check_bias(context: Context, channels: int, bias_index: int, weights_index: int) -> None:
    bias, weights = context.input(bias_index), context.input(weights_index)
    checks.dtype(context, bias, "int32")
    context.constant(bias_index)
    if bias.size != channels:
        raise context.error("bias has the wrong size", found=str(bias.size), expected=str(channels))
    if bias.quant is None or weights.quant is None:
        return
    expected = np.float64(context.input(0).scale) * np.asarray(weights.quant.scale, np.float64)
    found = np.asarray(bias.quant.scale, np.float64)
    off = np.abs(found - expected) > BIAS_SCALE_TOLERANCE * expected + np.finfo(np.float32).tiny
    if np.any(off):
        worst = int(np.argmax(np.broadcast_to(off, np.broadcast_shapes(off.shape))))
        raise context.error(
            f"bias '{bias.name}' has the wrong scale (channel {worst})",
            found=f"{np.broadcast_to(found, off.shape)[worst]:.6g}",
            expected=f"input scale * weight scale = {np.broadcast_to(expected, off.shape)[worst]:.6g}",
            remedy="convert the model again",
        )


def _check_range(context: Context, channel_axis: int, bias_index: int, weights_index: int) -> None:
    """Sums of every prefix stay inside int32: |bias| + the largest |x - zero point| times the sum of |w|."""
    weights = np.moveaxis(context.constant(weights_index).astype(np.int64), channel_axis, 0)
    reach = max(abs(-128 - context.input(0).zero_point), abs(127 - context.input(0).zero_point))
    bound = np.abs(weights.reshape(weights.shape[0], -1)).sum(axis=1) * reach
    if context.has_input(bias_index):
        bound = bound + np.abs(context.constant(bias_index).astype(np.int64).ravel())
    if bound.max() > quant.INT32_MAX:
        raise context.error(
            f"the sum of channel {int(bound.argmax())} can leave 32 bits",
            found=str(int(bound.max())),
            expected=f"<= {quant.INT32_MAX}",
            remedy="convert the model again with a representative dataset that spans its inputs",
        )


def multipliers(context: Context, weights_index: int = 1) -> tuple[Array, Array]:
    """Multipliers and shifts, one for each scale of the weights: input scale * weight scale / output scale."""
    weights = context.input(weights_index)
    scales = np.asarray(weights.quant.scale if weights.quant else (), np.float64)
    return quant.quantize_multipliers(context.input(0).scale * scales / context.output.scale)


def finish(
    context: Context,
    sums: Array,
    inputs: Sequence[Any],
    bias_index: int = 2,
    scaling: tuple[Array, Array] | None = None,
    rounding: Rounding = Rounding.DOUBLE,
) -> Array:
    """Bias, scaling, zero point and clamp of int64 sums [..., channels]: int8."""
    if len(inputs) > bias_index and inputs[bias_index] is not None:
        sums = sums + inputs[bias_index].astype(np.int64).ravel()
    multiplier, shift = scaling or multipliers(context)
    scaled = quant.requantize(sums, multiplier, shift, rounding) + context.output.zero_point
    low, high = activation_range(context)
    return np.clip(scaled, low, high).astype(np.int8)


def activation_range(context: Context) -> tuple[int, int]:
    """Least and greatest stored output under the node's fused activation."""
    output = context.output
    return quant.activation_range(context.attributes.activation, output.scale, output.zero_point)


def values(context: Context, weights_index: int = 1, bias_index: int = 2) -> dict[str, Any]:
    """Numbers for the template: offsets, clamp, and the scaling when it is one for all channels."""
    weights = context.input(weights_index)
    multiplier, shift = multipliers(context, weights_index)
    per_channel = weights.quant is not None and weights.quant.axis is not None
    low, high = activation_range(context)
    return {
        "input_offset": -context.input(0).zero_point,
        "output_offset": context.output.zero_point,
        "clamp_min": low - context.output.zero_point,
        "clamp_max": high - context.output.zero_point,
        "per_channel": per_channel,
        "multiplier": None if per_channel else int(multiplier[0]),
        "shift": None if per_channel else int(shift[0]),
        "has_bias": context.has_input(bias_index),
        "requantize": "tg_requantize",
    }


def constants(context: Context, weights: Array | None = None, weights_index: int = 1, bias_index: int = 2) -> tuple[Constant, ...]:
    """weights, then bias when there is one, then multiplier and shift when they are per channel."""
    found = [Constant("weights", context.constant(weights_index) if weights is None else weights)]
    if context.has_input(bias_index):
        found.append(Constant("bias", context.constant(bias_index).ravel()))
    quantization = context.input(weights_index).quant
    if quantization is not None and quantization.axis is not None:
        multiplier, shift = multipliers(context, weights_index)
        found += [Constant("multiplier", multiplier), Constant("shift", shift.astype(np.int8))]
    return tuple(found)
