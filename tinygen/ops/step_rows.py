"""Turns a node over time into its rows of some steps: for windows, the steps under them side by side, and a kernel.

That kernel is the best for so few steps as if they were all: what lies outside of the sequence is filled in.
"""

from __future__ import annotations

from dataclasses import replace

from tinygen.ir import DTYPES, Tensor
from tinygen.ops import reduction
from tinygen.ops.spec import Context, Gathered, OpSpec, Rows, Variant
from tinygen.ops.window import Geometry, Window, convolution_geometry
from tinygen.quant import RANGES

POOLS = frozenset({"average_pool_2d", "max_pool_2d"})
WINDOWED = POOLS | {"conv_2d", "depthwise_conv_2d"}
WIDTH = 1
"""Of the height and width of a window."""
CALL_CYCLES, ROW_CYCLES, BYTE_CYCLES = 120, 40, 1
"""About what it takes to begin a kernel, and to gather a row and a byte of it."""
ALONE, OTHERWISE = 0.55, 0.15
"""Cycles that a multiply-accumulate takes more of a single step, or of several by a kernel that is not the best."""


def applies(context: Context) -> bool:
    """Whether a node is over sequences whose rows are some of their steps."""
    return any(tensor.row_steps for tensor in (*context.inputs, *context.outputs))


def takes_all(context: Context) -> bool:
    """Whether a node is a mean or a pooling of all steps, which are gathered row by row."""
    if context.node.op == "mean":
        return True
    if context.node.op not in POOLS:
        return False
    window = reduction.pool_geometry(context)
    return window.kernel == window.input and window.output == (1, 1) and not window.padded


def folded(context: Context, spec: OpSpec) -> Context | None:
    """A node that computes each step by itself, on images whose rows are those of its sequences.

    None where it does not, or where not all of its sequences have the same rows.
    """
    if spec.pixelwise is None or not spec.pixelwise(context):
        return None
    computed = [tensor for tensor in (*context.inputs, *context.outputs) if tensor.data is None]
    constants = (tensor for tensor in context.inputs if tensor.data is not None)
    by_step = context.node.op not in WINDOWED and any(
        tensor.size > max(tensor.shape[-1:], default=1) for tensor in constants
    )
    if by_step or any(tensor.row_steps is None for tensor in computed):
        return None
    images = {t.id: replace(t, shape=(1, t.rows, t.row_steps or 1, t.shape[3]), row_steps=None) for t in computed}
    return replace(context, tensors={**context.tensors, **images})


def of_window(context: Context, spec: OpSpec, variant: Variant) -> Rows | None:
    """A window over several steps; the kernel is of the kind of `variant`."""
    x, y, node = context.input(0), context.output, context.node
    x_steps, y_steps = _steps(x), _steps(y)
    if node.op not in WINDOWED or x_steps is None or y_steps is None:
        return None
    window = reduction.pool_geometry(context) if node.op in POOLS else convolution_geometry(context)
    stride, rest = divmod(y_steps * window.stride[WIDTH], x_steps)
    fill = _fill(context, window)
    if (rest and y.rows > 1) or fill is None:
        return None
    reach = (y_steps - 1) * window.stride[WIDTH] + (window.kernel[WIDTH] - 1) * window.dilation[WIDTH] + 1
    pad = -(-window.pad[WIDTH] // x_steps)
    offset = pad * x_steps - window.pad[WIDTH]
    height = -(-(offset + reach) // x_steps)
    block = _block(context, window, reach, y_steps)
    best = next((one for one in (*spec.variants, variant) if one.fits(block, variant.features)), None)
    if best is None:
        return None
    step_bytes = x.bytes // x.shape[2]
    sizes = x_steps * step_bytes, x.bytes - (x.rows - 1) * x_steps * step_bytes
    found = Gathered(height, stride, pad, x.rows, *sizes, offset * step_bytes, reach * step_bytes, fill, y.rows)
    kernel = (best.params or spec.params)(block)
    kernel = replace(kernel, scratch_bytes=found.bytes + kernel.scratch_bytes, overlaps=(), scratch_overlaps=())
    extra = y.rows * (CALL_CYCLES + height * ROW_CYCLES + found.bytes * BYTE_CYCLES)
    dearer = ALONE if y_steps == 1 < y.shape[2] else OTHERWISE if best.name != variant.name else 0
    extra += round(dearer * spec.cost(context).macs)
    return Rows(kernel, best.template, height, stride, pad, reads_first=True, extra_cycles=extra, gathered=found)


def _steps(tensor: Tensor) -> int | None:
    """Of a row; None where it has none."""
    return 1 if tensor.shape[:3] == (1, 1, 1) else tensor.row_steps


def _fill(context: Context, window: Geometry) -> int | None:
    """The byte outside of the sequence that changes nothing; None where there is none such."""
    x = context.input(0)
    if context.node.op not in POOLS:
        return x.zero_point
    if not window.padded:
        return 0
    least = RANGES[x.dtype][0]
    return least if context.node.op == "max_pool_2d" and DTYPES[x.dtype].itemsize == 1 else None


def _block(context: Context, window: Geometry, reach: int, steps: int) -> Context:
    """The node on just the steps under a row of its outputs."""
    x, y = context.input(0), context.output
    tensors = {
        x.id: replace(x, shape=(1, 1, reach, x.shape[3]), row_steps=None),
        y.id: replace(y, shape=(1, 1, steps, y.shape[3]), row_steps=None),
    }
    above = window.pad[0]
    below = max(0, (window.kernel[0] - 1) * window.dilation[0] - above)
    inside = Window("VALID", window.stride, window.dilation, (above, below, 0, 0))
    node = replace(context.node, attributes=replace(context.attributes, window=inside))
    return replace(context, node=node, tensors={**context.tensors, **tensors})
