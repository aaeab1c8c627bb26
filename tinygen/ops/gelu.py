"""GELU: x times the normal distribution's integral up to x, exact or by tanh, of int8 values; a table of 256 bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import libm, lookup
from tinygen.ops.spec import Context, Options


@dataclass(frozen=True)
class Gelu:
    """Attributes of GELU."""

    approximate: bool
    """By tanh of a cubic polynomial instead of erfc."""


def read(options: Options) -> Gelu:
    """Attributes from the file's options."""
    return Gelu(bool(options.get("approximate", False)))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """Computed in float32, in the order of the reference kernel's operations."""
    return [lookup.of_reals(context, _by_tanh if context.attributes.approximate else _by_erfc, inputs[0])]


def _by_erfc(x: libm.Floats) -> libm.Floats:
    found: libm.Floats = np.float32(0.5) * x * libm.erfc(x * np.float32(-math.sqrt(0.5)))
    return found


def _by_tanh(x: libm.Floats) -> libm.Floats:
    cubic = x + np.float32(0.044715) * x * x * x
    gate = np.float32(1) + libm.tanh(np.float32(math.sqrt(2 / math.pi)) * cubic)
    found: libm.Floats = np.float32(0.5) * x * gate
    return found


SPEC = lookup.operator("gelu", "GELU", reference, read=read)
