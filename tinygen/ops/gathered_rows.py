"""Turns a window into rows for which what lies under them is copied side by side, and a kernel that is given the copy.

That kernel is the best for so few rows as if they were all. Rows are those of images, or some steps of sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from tinygen.ir import DTYPES, Tensor
from tinygen.ops import reduction
from tinygen.ops.spec import Context, Gathered, OpSpec, Rows, Variant
from tinygen.ops.step_rows import POOLS, WINDOWED
from tinygen.ops.window import Geometry, Window, convolution_geometry
from tinygen.quant import RANGES

HEIGHT, WIDTH = 0, 1
"""Of a window."""
CALL_CYCLES, ROW_CYCLES, BYTE_CYCLES = 120, 40, 1
"""About what it takes to begin a kernel, and to gather a row and a byte of it."""
CHANNEL_CYCLES = 100
"""About what depthwise kernels for some instructions take to begin a channel."""
AT_ONCE: Mapping[str, tuple[int, float]] = MappingProxyType(
    {"mve": (4, 0.5), "dsp": (4, 0.5), "armv6m": (8, 5.0), "armv7m": (16, 5.0)}
)
"""Feature of kernels -> the steps that they take at once; the cycles that fewer take more, for each of their
multiply-accumulates, times how many they are: as profiles show."""


def of_window(context: Context, spec: OpSpec, variant: Variant) -> Rows | None:
    """A window over several rows or steps; the kernel is of the kind of `variant`."""
    x, y, node = context.input(0), context.output, context.node
    if node.op not in WINDOWED or x.shape[0] != 1:
        return None
    axis = WIDTH if x.row_steps or y.row_steps else HEIGHT
    window = reduction.pool_geometry(context) if node.op in POOLS else convolution_geometry(context)
    x_steps, y_steps, fill = _steps(x, axis), _steps(y, axis), _fill(context, window)
    if x_steps is None or y_steps is None or fill is None:
        return None
    stride, rest = divmod(y_steps * window.stride[axis], x_steps)
    if rest and y.rows > 1:
        return None
    reach = (y_steps - 1) * window.stride[axis] + (window.kernel[axis] - 1) * window.dilation[axis] + 1
    block = _block(context, window, axis, reach, y_steps)
    best = next((one for one in (*spec.variants, variant) if one.fits(block, variant.features)), None)
    if best is None:
        return None
    pad = -(-window.pad[axis] // x_steps)
    found = _gathered(context, axis, x_steps, pad * x_steps - window.pad[axis], reach, stride, pad, fill)
    kernel = (best.params or spec.params)(block)
    kernel = replace(kernel, scratch_bytes=found.bytes + kernel.scratch_bytes, overlaps=(), scratch_overlaps=())
    extra = y.rows * (CALL_CYCLES + found.height * ROW_CYCLES + found.bytes * BYTE_CYCLES)
    if axis == WIDTH and y_steps < y.shape[2]:
        extra += round(_dearer(variant, y_steps) * spec.cost(context).macs)
    if node.op == "depthwise_conv_2d" and variant.features:
        extra += y.rows * y.shape[3] * CHANNEL_CYCLES
    rows = Rows(kernel, best.template, found.height, stride, pad, reads_first=True, extra_cycles=extra)
    return replace(rows, gathered=found)


def _dearer(variant: Variant, steps: int) -> float:
    """The cycles that a multiply-accumulate takes more of so few steps."""
    at_once, more = next((AT_ONCE[feature] for feature in AT_ONCE if feature in variant.features), (0, 0.0))
    return more / steps if steps < at_once else 0


def _gathered(
    context: Context, axis: int, steps: int, offset: int, reach: int, stride: int, pad: int, fill: int
) -> Gathered:
    """What is copied: `reach` steps of rows of `steps`, from `offset` on."""
    x = context.input(0)
    step_bytes = x.bytes // x.shape[1 + axis]
    return Gathered(
        height=-(-(offset + reach) // steps),
        stride=stride,
        pad=pad,
        rows=x.rows,
        row_bytes=steps * step_bytes,
        last_bytes=x.bytes - (x.rows - 1) * steps * step_bytes,
        offset=offset * step_bytes,
        copied_bytes=reach * step_bytes,
        fill=fill,
        out_rows=context.output.rows,
    )


def _steps(tensor: Tensor, axis: int) -> int | None:
    """Of a row; None where it has none."""
    return 1 if axis == HEIGHT or tensor.shape[:3] == (1, 1, 1) else tensor.row_steps


def _fill(context: Context, window: Geometry) -> int | None:
    """The byte outside of the input that changes nothing; None where there is none such."""
    x = context.input(0)
    if context.node.op not in POOLS:
        return x.zero_point
    if not window.padded:
        return 0
    least = RANGES[x.dtype][0]
    return least if context.node.op == "max_pool_2d" and DTYPES[x.dtype].itemsize == 1 else None


def _block(context: Context, window: Geometry, axis: int, reach: int, steps: int) -> Context:
    """The node on just what is under a row of its outputs; across it is padded as before."""
    across = 1 - axis
    tensors = {t.id: _part(t, axis, size) for t, size in ((context.input(0), reach), (context.output, steps))}
    span = (
        (window.output[across] - 1) * window.stride[across] + (window.kernel[across] - 1) * window.dilation[across] + 1
    )
    behind = max(0, span - window.pad[across] - window.input[across])
    extra = (0, 0, window.pad[1], behind) if axis == HEIGHT else (window.pad[0], behind, 0, 0)
    attributes = replace(context.attributes, window=Window("VALID", window.stride, window.dilation, extra))
    node = replace(context.node, attributes=attributes)
    return replace(context, node=node, tensors={**context.tensors, **tensors})


def _part(tensor: Tensor, axis: int, size: int) -> Tensor:
    """A tensor with so many rows or columns."""
    shape = list(tensor.shape)
    shape[1 + axis] = size
    return replace(tensor, shape=tuple(shape), row_steps=None)
