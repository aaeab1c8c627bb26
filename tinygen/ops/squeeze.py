"""SQUEEZE: axes of size 1 left out of the shape; no code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.ir import Array
from tinygen.ops import checks, movement
from tinygen.ops.spec import Context, OpSpec, Options, elementwise_cost, no_kernel


@dataclass(frozen=True)
class Squeeze:
    """Attributes of SQUEEZE."""

    axes: tuple[int, ...]
    """The axes to leave out; none means all of size 1."""


def read(options: Options) -> Squeeze:
    """Attributes from the file's options."""
    return Squeeze(movement.option_integers(options, "squeezeDims") or ())


def check(context: Context) -> None:
    """The axes are of size 1; output of the input's type and of its shape without them."""
    checks.arity(context, (1, 1))
    x, y = context.input(0), context.output
    movement.same_dtype(context, x, y)
    rank = len(x.shape)
    axes = {movement.axis_in(context, axis, rank) for axis in context.attributes.axes}
    for axis in sorted(axes):
        if x.shape[axis] != 1:
            raise context.error(
                f"axis {axis} cannot be left out", found=f"shape {list(x.shape)}", expected="size 1 there"
            )
    axes = axes or {axis for axis in range(rank) if x.shape[axis] == 1}
    checks.shape(context, y, tuple(size for axis, size in enumerate(x.shape) if axis not in axes))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The input in the output's shape."""
    return [inputs[0].reshape(context.output.shape)]


SPEC = OpSpec(
    name="squeeze",
    tflite="SQUEEZE",
    read=read,
    check=check,
    reference=reference,
    params=no_kernel,
    cost=elementwise_cost,
    alias=True,
)
