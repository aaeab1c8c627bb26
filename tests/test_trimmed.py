"""Windows that reach beyond their whole input: what is left of them, and that they have the same sums."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_depthwise_dsp import depthwise
from tests.test_folded import contexts
from tinygen import ops
from tinygen.ops.trimmed import trimmed
from tinygen.ops.window import convolution_geometry


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "left"),
    [
        ((2, 2), (5, 5), 1, 1, (3, 3)),
        ((1, 1), (3, 3), 1, 1, (1, 1)),
        ((1, 6), (3, 3), 1, 1, (1, 3)),
        ((3, 2), (7, 4), 1, 1, (5, 3)),
        ((3, 3), (5, 5), 2, 1, (5, 5)),
        ((2, 2), (5, 5), 2, 1, (2, 2)),
        ((4, 9), (3, 3), 1, 4, (1, 3)),
        ((4, 9), (3, 3), 1, 3, (3, 3)),
        ((9, 9), (3, 3), 2, 1, (3, 3)),
    ],
)
def test_what_is_left(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, dilation: int, left: tuple[int, int]
) -> None:
    build = ModelBuilder()
    depthwise(build, (1, *size, 3), stride, kernel=kernel, dilation=dilation)
    [context] = contexts(build)
    assert trimmed(context).input(1).shape[1:3] == left
    assert (trimmed(context) is context) == (kernel == left)


def test_the_same_sums() -> None:
    """Any size, window, stride, gaps and padding of small images; nothing is left to trim."""
    build = ModelBuilder(np.random.default_rng(4))
    for height, taps, stride, gap in product((1, 2, 4, 5), (2, 3, 4, 6), (1, 2, 3), (1, 2, 5)):
        if stride > 1 < gap:
            continue
        width, kernel = int(build.rng.integers(1, 6)), (taps, int(build.rng.integers(1, 6)))
        reach = [(size - 1) * gap + 1 for size in kernel]
        padding = VALID if reach[0] <= height and reach[1] <= width else SAME
        if build.chance(0.5):
            depthwise(build, (1, height, width, 2), stride, padding, kernel=kernel, dilation=gap, x_zero=9)
        else:
            strides, gaps = (stride, stride), (gap, gap)
            convolution(build, (1, height, width, 2), 3, kernel, strides, dilation=gaps, padding=padding, x_zero=9)
    found = 0
    for context in contexts(build):
        rest = trimmed(context)
        assert trimmed(rest) is rest and convolution_geometry(rest).output == convolution_geometry(context).output
        x = np.random.default_rng(1).integers(-128, 128, context.input(0).shape).astype(np.int8)
        constants = [context.input(i).data for i in range(2, len(context.inputs))]
        spec = ops.SPECS[context.node.op]
        [wanted] = spec.reference(context, [x, context.input(1).data, *constants])
        [result] = spec.reference(rest, [x, rest.input(1).data, *constants])
        np.testing.assert_array_equal(result, wanted)
        found += rest is not context
    assert found > 30
