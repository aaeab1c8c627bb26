"""Every kernel's rule of how its output may lie over its input: equal results at the bound, others one byte beyond."""

from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder
from tests.oracles import Emit
from tests.overlap_harness import check_tight, layers
from tests.random_models import emitters


def side_by_side(emit: Emit, seed: int, count: int, most: int, ranks: tuple[int, ...] = (1, 2, 3, 4)) -> bytes:
    """A model of random instances of one operator, each on inputs of its own."""
    build = ModelBuilder(np.random.default_rng(seed))
    made = 0
    while made < count:
        build.pool.clear()
        x = build.random_input(build.random_shape(build.pick(ranks), most))
        made += 1 if emit(build, x) else 0
    return build.finish()


@pytest.mark.parametrize("name", ["logistic", "softmax"])
def test_one_element_after_another(name: str) -> None:
    failed = check_tight(layers(side_by_side(emitters()[name], 1, 12, 9)))
    assert failed == 12
