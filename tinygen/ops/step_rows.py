"""Turns a node over sequences that are divided into rows of some steps into the same node on images with such rows."""

from __future__ import annotations

from dataclasses import replace

from tinygen.ops import reduction
from tinygen.ops.spec import Context, OpSpec

POOLS = frozenset({"average_pool_2d", "max_pool_2d"})
WINDOWED = POOLS | {"conv_2d", "depthwise_conv_2d"}


def applies(context: Context) -> bool:
    """Whether a node is over sequences whose rows are some of their steps."""
    return any(tensor.row_steps for tensor in (*context.inputs, *context.outputs))


def takes_all(context: Context) -> bool:
    """Whether a node is a mean or a pooling of all that it reads, which is gathered row by row."""
    if context.node.op == "mean":
        return True
    if context.node.op not in POOLS:
        return False
    window = reduction.pool_geometry(context)
    return window.kernel == window.input and window.output == (1, 1) and not window.padded


def folded(context: Context, spec: OpSpec) -> Context | None:
    """A node that computes each step by itself, on images whose rows are those of its sequences.

    None where it does not, or where not all of its sequences have the same rows.
    """
    if spec.pixelwise is None or not spec.pixelwise(context):
        return None
    computed = [tensor for tensor in (*context.inputs, *context.outputs) if tensor.data is None]
    constants = (tensor for tensor in context.inputs if tensor.data is not None)
    by_step = context.node.op not in WINDOWED and any(
        tensor.size > max(tensor.shape[-1:], default=1) for tensor in constants
    )
    if by_step or any(tensor.row_steps is None for tensor in computed):
        return None
    images = {t.id: replace(t, shape=(1, t.rows, t.row_steps or 1, t.shape[3]), row_steps=None) for t in computed}
    return replace(context, tensors={**context.tensors, **images})
