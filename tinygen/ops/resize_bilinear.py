"""RESIZE_BILINEAR: int8 or int16, height and width changed by weighing four neighbours, in 10-bit fixed point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir import CTYPES, Array
from tinygen.ops import checks, overlap, resize_nearest_neighbor
from tinygen.ops.resize_nearest_neighbor import Resize
from tinygen.ops.spec import Constant, Context, Cost, Kernel, OpSpec, Variant

ONE = 1 << 10
"""Positions and weights count in steps of 1 / ONE of a pixel."""


def check(context: Context) -> None:
    """[N, H, W, C] -> [N, *size, C], at the same scale and zero point; no position lies beyond the input."""
    resize_nearest_neighbor.check(context)
    checks.activations(context, context.input(0), context.output)
    how = context.attributes
    if how.align_corners and how.half_pixel_centers:
        raise context.error("align_corners and half_pixel_centers exclude each other")
    for axis in (1, 2):
        in_size, out_size = context.input(0).shape[axis], context.output.shape[axis]
        if int(_places(in_size, out_size, how)[-1]) >= ONE * in_size:
            raise context.error(
                "the interpreter reads beyond its input at this enlargement",
                found=f"{in_size} to {out_size} along axis {axis}",
                remedy="resize with half_pixel_centers, as TensorFlow 2 does, or to a smaller size",
            )


def _places(in_size: int, out_size: int, how: Resize) -> Array:
    """Where each index of the output lies in the input, rounded as in the interpreter; below 0 at the edge."""
    if how.align_corners and out_size > 1:
        step = (ONE * (in_size - 1) + (out_size - 1) // 2) // (out_size - 1)
    else:
        step = (ONE * in_size + out_size // 2) // out_size
    places: Array = np.arange(out_size, dtype=np.int64) * step
    return places + (step // 2 - ONE // 2) if how.half_pixel_centers else places


def positions(in_size: int, out_size: int, how: Resize) -> Array:
    """ONE * lower neighbour + weight of the next one, for each index of the output; the edges repeat beyond them."""
    inside: Array = np.clip(_places(in_size, out_size, how), 0, ONE * (in_size - 1)).astype(np.int32)
    return inside


def _both(context: Context) -> tuple[Array, Array]:
    (in_height, in_width), (out_height, out_width) = context.input(0).shape[1:3], context.output.shape[1:3]
    how = context.attributes
    return positions(in_height, out_height, how), positions(in_width, out_width, how)


def _between(x: Array, axis: int, places: Array) -> Array:
    """Along `axis`, ONE times what lies at `places`."""
    lower = places // ONE
    weight = (places % ONE).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    upper = np.minimum(lower + 1, x.shape[axis] - 1)
    between: Array = np.take(x, lower, axis) * (ONE - weight) + np.take(x, upper, axis) * weight
    return between


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The interpolation of TensorFlow Lite's reference kernel: exact sums, one rounding, halves away from zero."""
    rows, columns = _both(context)
    sums = _between(_between(inputs[0].astype(np.int64), 1, rows), 2, columns)
    return [(np.sign(sums) * ((np.abs(sums) + ONE * ONE // 2) // (ONE * ONE))).astype(context.output.dtype)]


def params(context: Context) -> Kernel:
    """Numbers for the template; positions are tables."""
    rows, columns = _both(context)
    (above, below), (left, right) = _neighbours(rows), _neighbours(columns)
    rule = resize_nearest_neighbor.overlap_of(context, above, below, left, right, context.output.shape[3])
    values = {
        "apart": overlap.words(rule),
        **resize_nearest_neighbor.values(context),
        "type": CTYPES[context.output.dtype],
        "sum_type": "int64_t" if context.wide else "int32_t",
        "one": ONE,
        "one_bits": ONE.bit_length() - 1,
        "weight_mask": ONE - 1,
        "unit": ONE * ONE,
        "half_unit": ONE * ONE // 2,
    }
    return Kernel(values, (0,), (Constant("rows", rows), Constant("columns", columns)), overlaps=(rule,))


def _neighbours(places: Array) -> tuple[Array, Array]:
    """The lower one of each place, and the upper one where it counts."""
    lower = places // ONE
    return lower, lower + (places % ONE > 0)


def cost(context: Context) -> Cost:
    """Four weighted neighbours an output."""
    return Cost(4 * context.output.size, context.output.size)


SPEC = OpSpec(
    name="resize_bilinear",
    tflite="RESIZE_BILINEAR",
    read=resize_nearest_neighbor.read,
    check=check,
    reference=reference,
    params=params,
    cost=cost,
    variants=(Variant("c", "kernels/resize_bilinear.c.j2"),),
)
