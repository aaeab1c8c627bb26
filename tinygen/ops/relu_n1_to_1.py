"""RELU_N1_TO_1: int8 values limited to reals from -1 to 1, at the output's quantisation; a table of 256 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir import Array
from tinygen.ops import activation, lookup
from tinygen.ops.spec import Context


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The reference kernel's rescaling with its limits."""
    return [activation.rescaled(context, "RELU_N1_TO_1", inputs[0])]


SPEC = lookup.operator("relu_n1_to_1", "RELU_N1_TO_1", reference, check=activation.check_narrow)
