from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tests.weighted import MOST_ELEMENTS, bias_for, filter_scales, random_window, weights_for
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any stride, padding and output size, per tensor or per channel, with and without bias."""
    if len(x.shape) != 4:
        return False
    batch, height, width, depth = x.shape
    window = random_window(build, height, width, dilated=False)
    filters = int(build.rng.integers(1, 6))
    size = []
    for length, stride, kernel in zip((height, width), window.stride, window.kernel, strict=True):
        size.append((length - 1) * stride + (1 if window.same else kernel) + int(build.rng.integers(stride)))
    shape = (batch, *size, filters)
    if np.prod(shape) > MOST_ELEMENTS:
        return False
    scale = filter_scales(build, filters)
    w = weights_for(build, (filters, *window.kernel, depth), scale)
    bias = build.pick([[], [None], [bias_for(build, x, scale, filters)], [bias_for(build, x, scale, filters)]])
    wanted = build.constant(shape, "int32")
    options = {name: value for name, value in window.options().items() if "dilation" not in name}
    build.op("TRANSPOSE_CONV", [wanted, w, x, *bias], [build.random_output(shape)], "TransposeConv", **options)
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden)
