"""NEG: int8 negation of stored values as they are, -128 unchanged; scales and zero points are not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import checks, lookup
from tinygen.ops.spec import Context


def check(context: Context) -> None:
    """One int8 input, an output of its type and shape; the reference ignores their quantisation."""
    checks.arity(context, (1, 1))
    checks.dtype(context, context.input(0), "int8")
    checks.dtype(context, context.output, "int8")
    checks.shape(context, context.output, context.input(0).shape)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The two's complement of every element, as TensorFlow Lite's reference kernel has it."""
    return [np.asarray(np.negative(inputs[0]))]


SPEC = lookup.operator("neg", "NEG", reference, check=check)
