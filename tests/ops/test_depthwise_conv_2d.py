from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tests.weighted import MOST_ELEMENTS, bias_for, filter_scales, output_size, random_window, weights_for
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any channel multiplier, stride, dilation and padding, per tensor or per channel, with and without bias."""
    if len(x.shape) != 4:
        return False
    batch, height, width, depth = x.shape
    window = random_window(build, height, width)
    filters = depth * build.pick([1, 1, 1, 2, 3, 8])
    shape = (batch, *output_size(window, height, width), filters)
    if np.prod(shape) > MOST_ELEMENTS:
        return False
    scale = filter_scales(build, filters)
    w = weights_for(build, (1, *window.kernel, filters), scale, axis=3)
    bias = [] if build.chance(0.2) else [bias_for(build, x, scale, filters)]
    options = {**window.options(), "depthMultiplier": filters // depth}
    build.op("DEPTHWISE_CONV_2D", [x, w, *bias], [build.random_output(shape)], "DepthwiseConv2D", **options)
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden)
