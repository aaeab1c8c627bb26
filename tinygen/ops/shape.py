"""SHAPE: the sizes of a tensor, always known at compile time; no code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir import DTYPES, Array
from tinygen.ops import checks
from tinygen.ops.spec import Context, OpSpec, Options, elementwise_cost, no_kernel

_TYPES = ("FLOAT32", "FLOAT16", "INT32", "UINT8", "INT64")
"""The first element types in the order of the file format's enumeration."""


@dataclass(frozen=True)
class Shape:
    """Attributes of SHAPE."""

    dtype: str
    """The type of the sizes."""


def read(options: Options) -> Shape:
    """Attributes from the file's options."""
    return Shape(options.choice("outType", _TYPES).lower())


def check(context: Context) -> None:
    """Output a vector of int32 or int64, as the option says, with one size for each axis of the input."""
    checks.arity(context, (1, 1))
    checks.dtype(context, context.output, "int32", "int64")
    if context.output.dtype != context.attributes.dtype:
        raise context.error(
            "the output has another type than the option says",
            found=context.output.dtype,
            expected=context.attributes.dtype,
        )
    checks.shape(context, context.output, (len(context.input(0).shape),))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The sizes of input 0, whose elements are not looked at."""
    return [np.array(context.input(0).shape, DTYPES[context.output.dtype])]


SPEC = OpSpec(
    name="shape",
    tflite="SHAPE",
    read=read,
    check=check,
    reference=reference,
    params=no_kernel,
    cost=elementwise_cost,
)
