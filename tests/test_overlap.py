"""Every kernel's rule of how its output may lie over its input: equal results at the bound, others one byte beyond."""

from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder
from tests.oracles import Emit
from tests.overlap_harness import SCRATCH, at_most, check_tight, layers
from tests.random_models import emitters
from tests.test_fully_connected_dsp import dense
from tests.test_pointwise_dsp import pointwise


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


def pixels(build: ModelBuilder, count: int, multiple: int = 1) -> None:
    """1x1 convolutions of any number of pixels, more and fewer channels out than in."""
    for _ in range(count):
        shape = (int(build.pick([1, 1, 2])), *build.rng.integers(1, [6, 6]).tolist())
        depth, filters = (build.rng.integers(4, 40, 2) // multiple * multiple).tolist()
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3])}
        pointwise(build, (*shape, depth), filters, build.pick([0, 1, 3]), slope=0.02 / depth, **zeros)


@pytest.mark.parametrize("board", ["nucleo_l4r5zi"])
def test_pointwise(board: str) -> None:
    build = ModelBuilder(np.random.default_rng(4))
    pixels(build, 20)
    assert check_tight(layers(build.finish(), board)) > 15


@pytest.mark.parametrize("direct", [False, True])
def test_matrix_times_vector(direct: bool) -> None:
    """The output anywhere, the inputs where they become int16; or inputs that are read for each block of outputs."""
    build = ModelBuilder(np.random.default_rng(5))
    for _ in range(12):
        depth, units = build.rng.integers(1, 70, 2).tolist()
        dense(build, depth * 4 if direct else depth, units + 4, activation=build.pick([0, 3]), slope=0.02 / depth)
    net = layers(build.finish(), "nucleo_l4r5zi")
    if direct:
        net = net.of_variant("direct_dsp")
    failed = check_tight(net)
    assert failed > 6 if direct else failed == 0
    if not direct:
        check_tight(net, output=SCRATCH, distances=[at_most])
