"""RELU: int8 values limited to reals above 0, at the output's quantisation; a table of 256 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir import Array
from tinygen.ops import activation, lookup
from tinygen.ops.spec import Context


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The reference kernel's rescaling with its limits."""
    return [activation.rescaled(context, "RELU", inputs[0])]


SPEC = lookup.operator("relu", "RELU", reference, check=activation.check)
