from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tests.weighted import bias_for, filter_scales, output_size, random_window
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any stride, dilation, padding, grouping, per tensor or per channel."""
    if len(x.shape) != 4:
        return False
    batch, height, width, depth = x.shape
    window = random_window(build, height, width)
    groups = depth if build.chance(0.1) else 1
    filters = int(build.rng.integers(1, 9)) * groups
    weights = build.rng.integers(-127, 128, (filters, *window.kernel, depth // groups))
    scale = filter_scales(build, filters)
    w = build.constant(weights, "int8", scale, [0] * np.size(scale))
    out_height, out_width = output_size(window, height, width)
    y = build.random_output((batch, out_height, out_width, filters))
    bias = bias_for(build, x, scale, filters)
    build.op("CONV_2D", [x, w, bias], [y], "Conv2D", **window.options())
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden)
