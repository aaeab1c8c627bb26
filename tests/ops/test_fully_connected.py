from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tests.weighted import MOST_ELEMENTS, bias_for, filter_scales, weights_for
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any rank, flattened or kept, per tensor (also with a zero point) or per channel, with and without bias."""
    elements = int(np.prod(x.shape))
    keep = len(x.shape) > 0 and build.chance(0.5)
    depth = x.shape[-1] if keep else int(build.pick([d for d in range(1, elements + 1) if elements % d == 0]))
    units = int(build.rng.integers(1, 13))
    if elements // depth * units > MOST_ELEMENTS:
        return False
    scale = filter_scales(build, units)
    w = weights_for(build, (units, depth), scale)
    if np.size(scale) == 1 and build.chance(0.3):
        build.tensors[w.index].quantization.zeroPoint = [build.random_zero_point()]
    bias = build.pick([[], [None], [bias_for(build, x, scale, units)], [bias_for(build, x, scale, units)]])
    y = build.random_output((*x.shape[:-1], units) if keep else (elements // depth, units))
    activation = build.pick([0, 0, 1, 2, 3])
    options = {"keepNumDims": keep, "fusedActivationFunction": activation}
    build.op("FULLY_CONNECTED", [x, w, *bias], [y], "FullyConnected", **options)
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4, 5), most=5, count=20)
