"""What operators share that make one element of many: of a window, of whole axes, or the position of the largest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import CTYPES, DTYPES, Array
from tinygen.ops import checks, movement, overlap, window_walk
from tinygen.ops.movement import Axis
from tinygen.ops.spec import Context, Kernel, OpSpec, Options, Overlap, Variant, elementwise_cost
from tinygen.ops.window import Geometry, Window, geometry, read_window
from tinygen.ops.window_walk import Span

FUSED = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
"""Activations that a pooling takes; for the others the interpreter's clamp is undefined."""

POOL_TEMPLATE = "kernels/pool_2d.c.j2"
SCALE_TOLERANCE = 1e-6
"""Absolute; by how much the interpreter lets the output scale of a pooling differ from the input's."""


@dataclass(frozen=True)
class Pool:
    """Attributes of a pooling."""

    window: Window
    kernel: tuple[int, int]
    activation: str


def read_pool(options: Options) -> Pool:
    """Attributes from the file's options."""
    kernel = (options.integer("filterHeight", 0, 1), options.integer("filterWidth", 0, 1))
    activation = options.choice("fusedActivationFunction", quant.ACTIVATIONS)
    return Pool(read_window(options, dilated=False), kernel, activation)


def pool_geometry(context: Context) -> Geometry:
    """The sizes of the window; SAME and VALID both leave at least one element of the input in each window."""
    height, width = context.input(0).shape[1:3]
    return geometry(context, context.attributes.window, (height, width), context.attributes.kernel)


def check_pool(context: Context) -> None:
    """[N, H, W, C] -> [N, OH, OW, C] at the same scale and zero point; no sum can leave 32 bits."""
    checks.arity(context, (1, 1))
    x, y = context.input(0), context.output
    checks.activations(context, x, y)
    checks.rank(context, x, 4)
    if abs(x.scale - y.scale) > SCALE_TOLERANCE or x.zero_point != y.zero_point:
        raise context.error(
            "pooling keeps the scale and zero point",
            found=f"{x.scale:.6g}, {x.zero_point} before and {y.scale:.6g}, {y.zero_point} after",
            expected="the same",
        )
    if context.attributes.activation not in FUSED:
        raise context.error(
            "fused activation is not supported", found=context.attributes.activation, expected=", ".join(FUSED)
        )
    area = math.prod(context.attributes.kernel)
    if area * -quant.RANGES[x.dtype][0] + area // 2 > quant.INT32_MAX:
        raise context.error("window is too large", found=f"{area} elements", expected="sums that fit 32 bits")
    checks.shape(context, y, (x.shape[0], *pool_geometry(context).output, x.shape[3]))


def pool_range(context: Context) -> tuple[int, int]:
    """Least and greatest stored output under the fused activation."""
    output = context.output
    return quant.activation_range(context.attributes.activation, output.scale, output.zero_point, output.dtype)


def pool_kernel(context: Context, average: bool) -> Kernel:
    """Numbers for `POOL_TEMPLATE`."""
    x, window = context.input(0), pool_geometry(context)
    low, high = pool_range(context)
    area = math.prod(window.kernel)
    values = {
        **window.values(),
        "in_type": CTYPES[x.dtype],
        "least": quant.RANGES[x.dtype][0],
        "average": average,
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "channels": x.shape[3],
        "padded": window.padded,
        "area": area,
        "half_area": area // 2,
        "clamped": (low, high) != quant.RANGES[x.dtype],
        "clamp_min": low,
        "clamp_max": high,
        "by_row": False,
    }
    rule = pool_overlap(context, [(channel, channel + 1) for channel in range(x.shape[3])])
    return Kernel({**values, "apart": window_walk.words(rule)}, overlaps=(rule,))


def pool_overlap(context: Context, spans: Sequence[Span]) -> Overlap:
    """Where the output of a pooling may lie over its input: `spans` of channels are computed one after another."""
    blocks = [(span, span) for span in spans]
    return window_walk.by_pixels(context, window_walk.axes(pool_geometry(context)), blocks)


def axes_input(context: Context, index: int = 1) -> tuple[int, ...]:
    """The axes that constant input `index` names: counted from the front, each once, in order."""
    rank = len(context.input(0).shape)
    named = movement.index_input(context, index, "int32")
    return tuple(sorted({movement.axis_in(context, axis, rank) for axis in named}))


def without_axes(shape: Sequence[int], axes: Sequence[int], keep_dims: bool) -> tuple[int, ...]:
    """The shape that is left of `shape` when `axes` are reduced: to 1 with `keep_dims`, else away."""
    if keep_dims:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def nest(shape: Sequence[int], axes: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    """Loops for a template: `kept` over the outputs in order, `reduced` over the elements of one output."""
    kept, reduced = _walks(shape, axes)
    loops = movement.loops([*kept, *reduced])
    return {"kept": loops[: len(kept)], "reduced": loops[len(kept) :]}


def _walks(shape: Sequence[int], axes: Sequence[int]) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    steps = [Axis(size, stride) for size, stride in zip(shape, movement.strides(shape), strict=True)]
    kept = movement.collapse([step for axis, step in enumerate(steps) if axis not in axes])
    return kept, movement.collapse([step for axis, step in enumerate(steps) if axis in axes])


def overlap_of(context: Context, axes: Sequence[int]) -> Overlap:
    """How the outputs may lie over the input: each is written behind the last of its elements."""
    x, y = context.input(0), context.output
    kept, reduced = _walks(x.shape, axes)
    first = movement.offsets(kept)
    reads = np.stack([first, first + movement.offsets(reduced).max(initial=0) + 1], axis=1)
    writes = np.arange(len(first))[:, None] + np.array([0, 1])
    sizes = DTYPES[x.dtype].itemsize, DTYPES[y.dtype].itemsize
    return overlap.of_steps(0, reads * sizes[0], writes * sizes[1], x.bytes, y.bytes)


@dataclass(frozen=True)
class Position:
    """Attributes of ARG_MAX and ARG_MIN."""

    output_type: str


POSITION_TYPES = {2: "int32", 4: "int64"}
"""The file format's numbers of the types that a position may have."""


def _read_position(options: Options) -> Position:
    number = options.integer("outputType", 0)
    return Position(POSITION_TYPES.get(number, f"type {number}"))


def _check_position(context: Context) -> None:
    """int8 of any shape -> int32 or int64 without the axis; its scale does not matter."""
    checks.arity(context, (2, 2))
    x, y = context.input(0), context.output
    checks.dtype(context, x, "int8")
    checks.dtype(context, y, *POSITION_TYPES.values())
    checks.dtype(context, context.input(1), "int32", "int64")
    movement.rank_at_most(context, x)
    if context.attributes.output_type != y.dtype:
        raise context.error("output type is not the option's", found=y.dtype, expected=context.attributes.output_type)
    axis = movement.axis_input(context, 1, len(x.shape))
    checks.shape(context, y, without_axes(x.shape, (axis,), keep_dims=False))


def _position_kernel(context: Context, title: str, better: str) -> Kernel:
    x = context.input(0)
    axis = movement.axis_input(context, 1, len(x.shape))
    rule = overlap_of(context, (axis,)) if x.shape[axis] > 1 else Overlap(0, most=x.bytes)  # of one, none is read
    values = {
        "title": f"{title} along axis {axis}",
        "apart": overlap.words(rule),
        "better": better,
        "ctype": CTYPES[context.output.dtype],
        "in_shape": x.shape,
        "out_shape": context.output.shape,
        "kept": nest(x.shape, (axis,))["kept"],
        "count": x.shape[axis],
        "stride": movement.strides(x.shape)[axis],
    }
    return Kernel(values, overlaps=(rule,))


def position_operator(name: str, tflite: str, find: Callable[..., Any], title: str, better: str) -> OpSpec:
    """The record of an operator that finds a position: `find` in NumPy, `better` in C; the first of equals wins."""

    def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
        axis = movement.axis_input(context, 1, inputs[0].ndim)
        return [np.asarray(find(inputs[0], axis=axis), context.output.dtype)]

    def params(context: Context) -> Kernel:
        return _position_kernel(context, title, better)

    variants = (Variant("c", "kernels/arg.c.j2"),)
    return OpSpec(name, tflite, _read_position, _check_position, reference, params, elementwise_cost, variants)
