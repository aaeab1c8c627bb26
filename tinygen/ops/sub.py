"""SUB: int8 difference of two tensors, broadcast against each other; also int32, and int64 for shape arithmetic."""

from __future__ import annotations

from tinygen.ops import add

SPEC = add.operator("sub", "SUB", -1)
