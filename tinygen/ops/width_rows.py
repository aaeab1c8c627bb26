"""Turns what cuts or joins tensors along their width into rows: the same on tensors of one row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir import Tensor
from tinygen.ops import pixelwise
from tinygen.ops.spec import Context

HEIGHT = 1
"""The axis of rows."""


def joined(context: Context) -> Context | None:
    """Images side by side; None where a row may not lie anywhere, or an input is a constant."""
    if not _are_images(context) or any(tensor.data is not None for tensor in context.inputs):
        return None
    return _with(context, {tensor.id: _one_row(tensor) for tensor in (*context.inputs, *context.outputs)})


def cut(context: Context) -> Context | None:
    """A box of whole columns, which SLICE reads as begin and size; None where it is no such."""
    x, y = context.input(0), context.output
    if not _are_images(context) or x.shape[HEIGHT] != y.shape[HEIGHT] or x.data is not None:
        return None
    size = context.input(2)
    sizes = np.array([1, 1, *y.shape[2:]], size.dtype)
    return _with(context, {x.id: _one_row(x), y.id: _one_row(y), size.id: replace(size, data=sizes)})


def _are_images(context: Context) -> bool:
    images = (context.input(0), *context.outputs)
    return pixelwise.of_activations(context) and all(
        len(t.shape) == pixelwise.IMAGE_RANK and t.shape[0] == 1 for t in images
    )


def _one_row(tensor: Tensor) -> Tensor:
    return replace(tensor, shape=(1, 1, *tensor.shape[2:]))


def _with(context: Context, changed: dict[int, Tensor]) -> Context:
    return replace(context, tensors={**context.tensors, **changed})
