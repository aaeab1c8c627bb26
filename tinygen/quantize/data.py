"""A file of samples as arrays: inputs with their classes."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.ir import Array


@dataclass(frozen=True, eq=False)
class Data:
    """Samples `x`, one along the first axis, float32; the class of each as an integer in `y`; where they are from."""

    x: Array
    y: Array | None = None
    path: str = ""
