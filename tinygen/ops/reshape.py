"""RESHAPE: the same elements under another shape, known at compile time; no code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.ir import Array
from tinygen.ops import checks, movement
from tinygen.ops.spec import Context, OpSpec, Options, elementwise_cost, no_kernel


@dataclass(frozen=True)
class Reshape:
    """Attributes of RESHAPE."""

    shape: tuple[int, ...] | None
    """The new shape, one size perhaps -1; None when the options hold none."""


def read(options: Options) -> Reshape:
    """Attributes from the file's options; old files write [0] for a scalar."""
    shape = movement.option_integers(options, "newShape")
    return Reshape(() if shape == (0,) else shape)


def check(context: Context) -> None:
    """Output of the input's type and size, and of the shape that the file asks for.

    A file that asks for no shape means the output's own, as TensorFlow Lite Micro takes it; the interpreter refuses it.
    """
    checks.arity(context, (1, 2))
    x, y = context.input(0), context.output
    movement.same_dtype(context, x, y)
    if x.size != y.size:
        raise context.error(
            "input and output differ in size", found=f"{list(x.shape)} and {list(y.shape)}", expected="equal sizes"
        )
    wanted = _wanted(context)
    if wanted is not None:
        checks.shape(context, y, _resolved(context, wanted))


def _wanted(context: Context) -> tuple[int, ...] | None:
    """The shape asked for: input 1 if it is an int32 vector, as in the interpreter, else the option."""
    if context.has_input(1) and context.input(1).dtype == "int32" and len(context.input(1).shape) == 1:
        return context.integers(1)
    shape: tuple[int, ...] | None = context.attributes.shape
    return shape


def _resolved(context: Context, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """`wanted` with its -1 replaced by what is left of the input's size."""
    known = math.prod(size for size in wanted if size != -1)
    size = context.input(0).size
    if min(wanted, default=0) < -1 or wanted.count(-1) > 1 or known < 1 or size % known:
        raise context.error(
            "new shape does not suit the input",
            found=str(list(wanted)),
            expected=f"{size} elements, one size -1 at most",
        )
    return tuple(size // known if axis == -1 else axis for axis in wanted)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The input in the output's shape."""
    return [inputs[0].reshape(context.output.shape)]


SPEC = OpSpec(
    name="reshape",
    tflite="RESHAPE",
    read=read,
    check=check,
    reference=reference,
    params=no_kernel,
    cost=elementwise_cost,
    alias=True,
)
