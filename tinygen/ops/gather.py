"""Turns a mean over whole images into rows that are gathered: each is added as it comes, and none has to be kept."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir import CTYPES
from tinygen.ops import reduction
from tinygen.ops.spec import Context, Kernel, Rows
from tinygen.ops.unroll import chunk

TEMPLATE, DSP_TEMPLATE = "kernels/gather.c.j2", "kernels/gather.dsp.c.j2"
WORD_BYTES = 4
MOST_ADDED = 6
"""Words that are added one after another."""
IMAGE_AXES = (1, 2)
ELEMENT_CYCLES = 8
"""About what it takes more to add an element to a sum in RAM."""


def of_pool(context: Context) -> Rows | None:
    """The rows of an AVERAGE_POOL_2D whose only window is the image."""
    window = reduction.pool_geometry(context)
    whole = window.kernel == window.input and window.output == (1, 1) and not window.padded
    if not whole:
        return None
    kernel = reduction.pool_kernel(context, average=True)
    names = ("area", "half_area", "clamped", "clamp_min", "clamp_max")
    return _rows(context, {"requantize": None, **{name: kernel.values[name] for name in names}})


def of_pool_in_words(context: Context) -> Rows | None:
    """The same with the DSP extension: words of four channels, where sums have 16 bits."""
    rows = of_pool(context)
    if rows is None:
        return None
    values = rows.kernel.values
    if values["channels"] % WORD_BYTES or values["sum_type"] != "int16_t" or values["last_width"] < values["width"]:
        return rows
    values = {**values, "added": chunk(values["width"], MOST_ADDED)}
    return replace(rows, template=DSP_TEMPLATE, kernel=replace(rows.kernel, values=values), extra_cycles=0)


def of_mean(context: Context, kernel: Kernel) -> Rows | None:
    """The rows of a MEAN of all pixels, with the numbers of the `kernel` for the whole image."""
    if len(context.input(0).shape) != 4 or reduction.axes_input(context) != IMAGE_AXES:
        return None
    names = ("multiplier", "shift", "start", "clamp_min", "clamp_max", "output_offset")
    return _rows(context, {"requantize": {name: kernel.values[name] for name in names}})


def _rows(context: Context, values: dict[str, Any]) -> Rows | None:
    x = context.input(0)
    batches, *size, channels = x.shape
    if batches != 1:
        return None
    area, height, width = math.prod(size), x.rows, x.row_steps or size[1]
    sums = np.int16 if x.dtype == "int8" and area * 128 <= np.iinfo(np.int16).max else np.int32
    values |= {
        "height": height,
        "width": width,
        "channels": channels,
        "sum_type": f"{np.dtype(sums).name}_t",
        "area": area,
        "last_width": area - (height - 1) * width,
    }
    values |= {"type": CTYPES[x.dtype]}
    kernel = Kernel(values, (0,), (), channels * np.dtype(sums).itemsize)
    return Rows(kernel, TEMPLATE, gathers=True, extra_cycles=ELEMENT_CYCLES * area * channels)
