"""Turns the loops of an elementwise operator on two tensors into rows whose elements Helium takes several at a time."""

from __future__ import annotations

from typing import Any

from tinygen.ops import elementwise
from tinygen.ops.elementwise import Loop
from tinygen.ops.spec import Context

LEAST_ROW = 8
"""Elements, below which a row takes longer to begin than plain C takes for it."""
_INDICES = "ijklmnp"


def applies(context: Context) -> bool:
    """Elements of int8, and rows that are long enough."""
    return context.output.dtype == "int8" and _loops(context)[-1].extent >= LEAST_ROW


def swaps(context: Context) -> bool:
    """Whether the first input is the one of which a row has a single element: the kernel takes that as its second."""
    return _loops(context)[-1].strides[0] == 0


def values(context: Context) -> dict[str, Any]:
    """What a template prints beside its arithmetic: the loops over rows, and where the row of each tensor begins.

    `x` and `y` are rows of the inputs, swapped or not; `repeats` says whether y is a single element.
    """
    *outer, inner = _loops(context)
    first, second, to = (_begin(name, outer, index) for index, name in enumerate(("first", "second", "output")))
    x, y = (second, first) if swaps(context) else (first, second)
    return {
        **elementwise.values(context),
        "outer": tuple(zip(_INDICES, (loop.extent for loop in outer), strict=False)),
        "count": inner.extent,
        "x": x,
        "y": y,
        "to": to,
        "repeats": 0 in inner.strides,
    }


def _loops(context: Context) -> tuple[Loop, ...]:
    shapes = context.input(0).shape, context.input(1).shape, context.output.shape
    return elementwise.collapse(*shapes) or (Loop(1, (1, 1, 1)),)


def _begin(name: str, outer: list[Loop], tensor: int) -> str:
    """The pointer to a row of a tensor."""
    terms = [(index, loop.strides[tensor]) for index, loop in zip(_INDICES, outer, strict=False)]
    return " + ".join([name, *(f"{index} * {step}" if step > 1 else index for index, step in terms if step)])
