"""Turns a convolution over a small image into the same one with the part of its window that ever meets the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinygen.ops.spec import Context
from tinygen.ops.window import Geometry, Window, convolution_geometry


@dataclass(frozen=True)
class _Part:
    """Of one axis of a window what is left of it, and the border that then is around the input."""

    taps: slice
    gap: int
    before: int
    behind: int


def trimmed(context: Context) -> Context:
    """The node without the outer rows and columns of taps under which no output finds anything but border."""
    window = convolution_geometry(context)
    parts = [part for part in _parts(window) if part]
    if len(parts) != 2 or all(part.taps == slice(0, taps) for part, taps in zip(parts, window.kernel, strict=True)):
        return context
    down, along = parts
    filters = np.ascontiguousarray(context.constant(1)[:, down.taps, along.taps])
    number = context.node.inputs[1]
    tensor = replace(context.tensors[number], shape=filters.shape, data=filters)
    border = (down.before, down.behind, along.before, along.behind)
    rest = Window("VALID", window.stride, (down.gap, along.gap), border)
    node = replace(context.node, attributes=replace(context.attributes, window=rest))
    return replace(context, node=node, tensors={**context.tensors, number: tensor})


def _parts(window: Geometry) -> Iterator[_Part | None]:
    """Of each axis from the first tap that meets the input to the last; None where no border says the rest."""
    for axis in range(2):
        size, step, gap = window.input[axis], window.stride[axis], window.dilation[axis]
        last = (window.output[axis] - 1) * step
        places = np.arange(0, last + 1, step)[:, None] + np.arange(window.kernel[axis]) * gap - window.pad[axis]
        meeting = np.flatnonzero(((places >= 0) & (places < size)).any(axis=0))
        if not meeting.size:
            yield None
            continue
        first, end = int(meeting[0]), int(meeting[-1]) + 1
        before = window.pad[axis] - first * gap
        more = last + (end - first - 1) * gap + 1 - size - before
        # A border cannot take away; elements behind the last window must be too few for another one.
        said = before >= 0 and more > -step
        yield _Part(slice(first, end), gap if end - first > 1 else 1, before, max(0, more)) if said else None
