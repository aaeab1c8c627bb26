"""SPLIT_V: a tensor cut into parts of given sizes along one axis; any element type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import checks, movement
from tinygen.ops.spec import Context, Kernel, OpSpec, Options, elementwise_cost


@dataclass(frozen=True)
class SplitV:
    """Attributes of SPLIT_V."""

    parts: int


def read(options: Options) -> SplitV:
    """Attributes from the file's options."""
    return SplitV(options.integer("numSplits", 0, 1))


def _axis(context: Context) -> int:
    return movement.axis_input(context, 2, len(context.input(0).shape))


def _widths(context: Context) -> tuple[int, ...]:
    """The sizes of the parts along the axis; one -1 in the file means what the others leave."""
    sizes = movement.vector_input(context, 1, context.attributes.parts, "int32", "int64")
    length = context.input(0).shape[_axis(context)]
    rest = length - sum(size for size in sizes if size != -1)
    widths = tuple(rest if size == -1 else size for size in sizes)
    if sizes.count(-1) > 1 or min(widths) < 0 or sum(widths) != length:
        raise context.error("sizes do not add up", found=str(list(sizes)), expected=f"{length}, one of them -1 at most")
    return widths


def check(context: Context) -> None:
    """Sizes and axis, inputs 1 and 2, are constant and fit; outputs of the type and shape of their parts of input 0."""
    parts = context.attributes.parts
    checks.arity(context, (3, 3), (parts, parts))
    movement.few_enough(context, parts, "outputs")
    x, axis = context.input(0), _axis(context)
    for output, width in zip(context.outputs, _widths(context), strict=True):
        movement.same_dtype(context, x, output)
        checks.shape(context, output, (*x.shape[:axis], width, *x.shape[axis + 1 :]))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The parts in order."""
    ends = np.cumsum(_widths(context))[:-1]
    return [np.ascontiguousarray(part) for part in np.split(inputs[0], ends, _axis(context))]


def params(context: Context) -> Kernel:
    """One run for each output in each row of the input."""
    axis = _axis(context)
    return movement.split_kernel(context, f"Split along axis {axis}", 0, axis, _widths(context))


SPEC = OpSpec(
    name="split_v",
    tflite="SPLIT_V",
    read=read,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=movement.SPLIT,
    moves=True,
)
