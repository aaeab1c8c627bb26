"""RELU: int8 or int16 values limited to reals above 0, at the output's quantisation; of int8 a table of 256 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.ir import Array
from tinygen.ops import activation, lookup
from tinygen.ops.spec import Context, Kernel


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The reference kernel's rescaling with its limits."""
    return [activation.rescaled(context, "RELU", inputs[0])]


def _wide_params(context: Context) -> Kernel:
    """The kernel of int16."""
    return activation.rescaling(context, "RELU")


SPEC = lookup.operator("relu", "RELU", reference, check=activation.check, wide=activation.wide(_wide_params))
