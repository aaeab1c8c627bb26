"""RESIZE_NEAREST_NEIGHBOR: height and width changed by repeating or leaving out pixels of any element type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir import CTYPES, DTYPES, Array
from tinygen.ops import checks, movement, overlap
from tinygen.ops.spec import Constant, Context, Kernel, OpSpec, Options, Overlap, Variant, elementwise_cost

MAX_SIDE = 32767
"""Rows and columns are numbered in 16 bits."""


@dataclass(frozen=True)
class Resize:
    """Attributes of a resize: which points of input and output coincide."""

    align_corners: bool
    half_pixel_centers: bool


def read(options: Options) -> Resize:
    """Attributes from the file's options."""
    return Resize(bool(options.get("alignCorners", False)), bool(options.get("halfPixelCenters", False)))


def check(context: Context) -> None:
    """[N, H, W, C] -> [N, *size, C] of the same type, scale and zero point; the size is constant."""
    checks.arity(context, (2, 2))
    x, y = context.input(0), context.output
    checks.rank(context, x, 4)
    movement.same_values(context, x, y)
    checks.dtype(context, context.input(1), "int32")
    height, width = movement.vector_input(context, 1, 2, "int32")
    checks.shape(context, y, (x.shape[0], height, width, x.shape[3]))
    longest = max(*x.shape[1:3], height, width)
    if longest > MAX_SIDE:
        raise context.error("image is too large", found=str(longest), expected=f"at most {MAX_SIDE} rows and columns")


def values(context: Context) -> dict[str, Any]:
    """Numbers that the templates of all resizes print."""
    batches, in_height, in_width, channels = context.input(0).shape
    return {
        "batches": batches,
        "in_height": in_height,
        "in_width": in_width,
        "channels": channels,
        "out_height": context.output.shape[1],
        "out_width": context.output.shape[2],
        "in_elements": in_height * in_width * channels,
        "in_row": in_width * channels,
    }


def sources(in_size: int, out_size: int, how: Resize) -> Array:
    """The input's index for each index of the output, along one axis; float32 as in the interpreter."""
    if how.align_corners and out_size > 1:
        scale = np.float32(in_size - 1) / np.float32(out_size - 1)
    else:
        scale = np.float32(in_size) / np.float32(out_size)
    offset = np.float32(0.5 if how.half_pixel_centers else 0.0)
    places = ((np.arange(out_size).astype(np.float32) + offset) * scale).astype(np.float64)
    indices = np.floor(places + 0.5) if how.align_corners else np.floor(places)
    inside: Array = np.minimum(indices, in_size - 1).astype(np.int16)
    return inside


def _both(context: Context) -> tuple[Array, Array]:
    (in_height, in_width), (out_height, out_width) = context.input(0).shape[1:3], context.output.shape[1:3]
    how = context.attributes
    return sources(in_height, out_height, how), sources(in_width, out_width, how)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """Each pixel of the output is one of the input."""
    rows, columns = _both(context)
    return [inputs[0][:, rows][:, :, columns]]


def overlap_of(context: Context, above: Array, below: Array, left: Array, right: Array, parts: int) -> Overlap:
    """How the output may lie over the input; of it each pixel reads rows and columns between two, in `parts`."""
    x, y = context.input(0), context.output
    pixel, width, pixels = x.shape[3] * DTYPES[x.dtype].itemsize, x.shape[2], x.shape[1] * x.shape[2]
    batches = np.arange(x.shape[0])[:, None, None] * pixels
    first = (batches + above[:, None] * width + left).ravel() * pixel
    last = (batches + below[:, None] * width + right).ravel() * pixel
    part = np.arange(parts) * (pixel // parts)
    ends = np.array([0, pixel // parts])
    reads = np.stack([first, last], axis=1)[:, None, :] + part[:, None] + ends
    writes = np.arange(len(first) * parts)[:, None] * (pixel // parts) + ends
    copies = parts == 1 and x.shape[3] > 1
    return overlap.of_steps(0, reads.reshape(-1, 2), writes, x.bytes, y.bytes, copies=copies)


def params(context: Context) -> Kernel:
    """Numbers for the template; rows and columns are tables."""
    rows, columns = _both(context)
    x = context.input(0)
    rule = overlap_of(context, rows, rows, columns, columns, 1)
    numbers = {
        **values(context),
        "apart": overlap.words(rule),
        "ctype": CTYPES[x.dtype],
        "pixel_bytes": x.shape[3] * DTYPES[x.dtype].itemsize,
    }
    tables = (Constant("rows", rows), Constant("columns", columns))
    return Kernel(numbers, (0,), tables, overlaps=(rule,))


SPEC = OpSpec(
    name="resize_nearest_neighbor",
    tflite="RESIZE_NEAREST_NEIGHBOR",
    read=read,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=(Variant("c", "kernels/resize_nearest_neighbor.c.j2"),),
)
