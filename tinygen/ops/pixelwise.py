"""Turns a node whose pixels do not need each other into rows: its own kernel, on tensors of one row."""

from __future__ import annotations

from dataclasses import replace

from tinygen.ir import Tensor
from tinygen.ops.spec import Context, Cost, OpSpec, Rows, Variant

IMAGE_RANK = 4
MOST_BYTES = 2
"""Of an element of an activation."""


def rows(context: Context, spec: OpSpec, variant: Variant) -> Rows | None:
    """A row by `variant`; None where it does not apply to one row."""
    row = of_one_row(context)
    if row is None or not variant.when(row):
        return None
    extra = _partial_blocks(context, spec.cost(context), variant)
    return Rows((variant.params or spec.params)(row), variant.template, extra_cycles=extra)


def of_activations(context: Context) -> bool:
    """Whether elements have one or two bytes: `pixelwise` of an elementwise operator."""
    computed = (tensor for tensor in (*context.inputs, *context.outputs) if tensor.data is None)
    return all(tensor.bytes <= MOST_BYTES * tensor.size for tensor in computed)


def of_one_row(context: Context) -> Context | None:
    """The same node on tensors of one row; None where they have not the same rows, or constants differ by row."""
    tensors = dict(context.tensors)
    for tensor in (*context.inputs, *context.outputs):
        if tensor.data is not None:
            if len(tensor.shape) >= IMAGE_RANK - 1 and tensor.shape[1 - IMAGE_RANK] > 1:
                return None
        elif len(tensor.shape) != IMAGE_RANK or tensor.shape[:3] != context.output.shape[:3] or tensor.shape[0] != 1:
            return None
        else:
            tensors[tensor.id] = _one_row(tensor)
    return replace(context, tensors=tensors)


def _one_row(tensor: Tensor) -> Tensor:
    return replace(tensor, shape=(1, 1, *tensor.shape[2:]))


def _partial_blocks(context: Context, cost: Cost, variant: Variant) -> int:
    """About the cycles for pixels that fill the last block of each row, less those of the whole."""
    _, height, width, _ = context.output.shape
    extra = height * _blocks(width, variant) - _blocks(height * width, variant)
    return round(extra * variant.block * cost.macs / (height * width))


def _blocks(pixels: int, variant: Variant) -> float:
    """How many, by the time that they take."""
    full, rest = divmod(pixels, variant.block)
    return full + (variant.partial if rest else 0)
