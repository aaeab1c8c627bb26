"""TRANSPOSE_CONV: int8 transposed convolution, per-tensor or per-channel weights, any stride and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import checks, weighted, window_walk
from tinygen.ops.spec import Context, Cost, Kernel, OpSpec, Options, Overlap, Variant
from tinygen.ops.window import Geometry, Window, geometry, read_window

OPERANDS = weighted.Operands(channel_axis=0, x=2, weights=1, bias=3)


LONGEST_STRIDE = 0xFFFF
"""The interpreter's own limit for convolutions."""


@dataclass(frozen=True)
class TransposeConv:
    """Attributes of TRANSPOSE_CONV; the window slides over the output."""

    window: Window
    activation: str


def read(options: Options) -> TransposeConv:
    """Attributes from the file's options."""
    activation = options.choice("fusedActivationFunction", quant.ACTIVATIONS)
    return TransposeConv(read_window(options, dilated=False), activation)


def _geometry(context: Context) -> Geometry:
    """The forward convolution that this one transposes: from the output to the input."""
    height, width = context.output.shape[1:3]
    kernel_height, kernel_width = context.input(1).shape[1:3]
    return geometry(context, context.attributes.window, (height, width), (kernel_height, kernel_width))


def check(context: Context) -> None:
    """Output shape, filters [O, KH, KW, I] and input [N, H, W, I] -> [N, OH, OW, O]."""
    checks.arity(context, (3, 4))
    filters, x = context.input(1), context.input(2)
    checks.activations(context, x, context.output)
    checks.rank(context, x, 4)
    checks.rank(context, filters, 4)
    checks.dtype(context, context.input(0), "int32")
    weighted.check(context, OPERANDS)
    if filters.shape[3] != x.shape[3]:
        raise context.error(
            "the filters do not fit the channels",
            found=f"{x.shape[3]} channels, filters {list(filters.shape)}",
            expected=f"filters [filters, height, width, {x.shape[3]}]",
        )
    wanted = context.integers(0)
    if len(wanted) != 4 or (wanted[0], wanted[3]) != (x.shape[0], filters.shape[0]):
        raise context.error(
            "the output shape does not fit the input and the filters",
            found=str(list(wanted)),
            expected=f"[{x.shape[0]}, height, width, {filters.shape[0]}]",
        )
    checks.shape(context, context.output, wanted)
    if max(context.attributes.window.stride) > LONGEST_STRIDE:
        raise context.error("stride is out of range", found=str(context.attributes.window.stride))
    forward = _geometry(context).output
    if forward != x.shape[1:3]:
        raise context.error(
            "the output size does not fit the input",
            found=f"input {list(x.shape[1:3])}",
            expected=f"{list(forward)}, what a convolution leaves of {list(wanted[1:3])}",
        )


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """Each input pixel adds its filter to a window of the output; what falls outside is lost."""
    filters, x = inputs[1].astype(np.int64), inputs[2].astype(np.int64) - context.input(2).zero_point
    window = _geometry(context)
    (kernel_height, kernel_width), (out_height, out_width) = window.kernel, window.input
    rows, columns = (
        np.arange(taken) * stride - before
        for taken, stride, before in zip(window.output, window.stride, window.pad, strict=True)
    )
    sums = np.zeros(context.output.shape, np.int64)
    for ky in range(kernel_height):
        in_y = (rows + ky >= 0) & (rows + ky < out_height)
        for kx in range(kernel_width):
            in_x = (columns + kx >= 0) & (columns + kx < out_width)
            part = x[:, in_y][:, :, in_x] @ filters[:, ky, kx].T
            sums[:, (rows + ky)[in_y, None], (columns + kx)[None, in_x]] += part
    return [weighted.finish(context, OPERANDS, sums, inputs)]


def params(context: Context) -> Kernel:
    """Numbers and arrays for the template, which gathers: the inputs of an output row are a range of rows."""
    filters, x, window = context.input(1), context.input(2), _geometry(context)
    scaling = weighted.fixed_point(context, OPERANDS)
    values = {
        **weighted.values(context, OPERANDS, scaling),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "in_channels": x.shape[3],
        "filter_elements": filters.size // filters.shape[0],
        "out_channels": filters.shape[0],
        "rows": _axis(window, 0),
        "columns": _axis(window, 1),
    }
    rule = _overlap(context, (values["rows"], values["columns"]))
    values["apart"] = window_walk.words(rule)
    return Kernel(values, (2,), weighted.constants(context, OPERANDS, scaling), overlaps=(rule,))


def _overlap(context: Context, axes: Sequence[dict[str, Any]]) -> Overlap:
    """Each output reads all channels under it."""
    spans = []
    for axis in axes:
        outputs = np.arange(axis["size"])
        first = np.maximum(outputs + axis["first"], 0) // axis["stride"]
        end = np.minimum((outputs + axis["pad"]) // axis["stride"], axis["taken"] - 1) + 1
        spans.append(np.stack([np.minimum(first, end), end], axis=1))
    depth, filters = context.input(2).shape[3], context.output.shape[3]
    blocks = [((0, depth), (channel, channel + 1)) for channel in range(filters)]
    return window_walk.by_pixels(context, (spans[0], spans[1]), blocks, operand=2)


def _axis(window: Geometry, axis: int) -> dict[str, Any]:
    """How inputs map to outputs along one axis.

    Output i takes the inputs from (i + first) / stride to (i + pad) / stride, rounded down, that exist.
    """
    size, taken, kernel = window.input[axis], window.output[axis], window.kernel[axis]
    stride, pad = window.stride[axis], window.pad[axis]
    return {
        "size": size,
        "taken": taken,
        "kernel": kernel,
        "stride": stride,
        "pad": pad,
        "first": pad + stride - kernel,
        "starts_outside": pad + stride < kernel,
        "ends_outside": (size - 1 + pad) // stride >= taken,
    }


def cost(context: Context) -> Cost:
    """One multiply-accumulate for each weight at each input pixel, those that fall outside counted."""
    x, filters = context.input(2), context.input(1)
    return Cost(x.size // x.shape[3] * filters.size, context.output.size)


SPEC = OpSpec(
    name="transpose_conv",
    tflite="TRANSPOSE_CONV",
    read=read,
    check=check,
    reference=reference,
    params=params,
    cost=cost,
    variants=(Variant("c", "kernels/transpose_conv.c.j2"),),
)
