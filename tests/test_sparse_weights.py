"""Layers that are mostly zero, in plain C: exact on all oracles, and chosen where they save time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import dsp
from tests.compressed import check, compiled, constant_bytes, dense, pairs_of_zeros, templates
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import check_safe
from tests.overlap_harness import layers as harness_layers
from tests.test_convolution_dsp import VALID, convolution
from tests.test_generated_c import check_sanitized
from tests.test_pointwise_dsp import pointwise
from tinygen.ir import Array
from tinygen.variants import Optimize

AVR, M4 = "ATmega1284P", "nucleo_l4r5zi"
POINTWISE, WINDOW = "conv_2d.pointwise.sparse", "conv_2d.sparse"


def scattered(build: ModelBuilder, shape: tuple[int, ...], kept: float) -> Array:
    """Weights of which a share is not zero, anywhere."""
    return np.asarray(build.rng.integers(-128, 128, shape) * (build.rng.random(shape) < kept))


def layers(build: ModelBuilder, kept: float, lone: float) -> None:
    """A layer of every kind: four filters at a time that share their zeros, and filters with zeros of their own."""
    zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3])}
    pointwise(build, (2, 5, 3, 30), 12, dsp.RELU6, weights=pairs_of_zeros(build, (12, 1, 1, 30), kept), **zeros)
    pointwise(build, (1, 3, 3, 31), 7, weights=scattered(build, (7, 1, 1, 31), lone), **zeros)
    convolution(build, (2, 5, 6, 8), 8, stride=(2, 1), weights=pairs_of_zeros(build, (8, 3, 3, 8), kept), **zeros)
    shape = (9, 5, 3, 7)
    convolution(build, (1, 6, 3, 7), 9, (5, 3), dilation=(2, 1), weights=scattered(build, shape, lone), **zeros)
    grouped = pairs_of_zeros(build, (12, 3, 3, 4), kept)
    convolution(build, (1, 5, 5, 12), 12, padding=VALID, weights=grouped, groups=3, **zeros)
    dense(build, pairs_of_zeros(build, (32, 300), kept), activation=dsp.RELU6, **zeros)
    dense(build, scattered(build, (6, 64), lone), rows=3, per_channel=True, **zeros)


@pytest.mark.parametrize(("kept", "lone"), [(0.5, 0.2), (0.1, 0.02)])
@pytest.mark.parametrize(("board", "goal"), [(AVR, Optimize.SPEED), (M4, Optimize.FLASH)])
def test_all_oracles(board: str, goal: Optimize, kept: float, lone: float) -> None:
    """Lists of every length, none among them."""
    build = ModelBuilder(np.random.default_rng(int(100 * kept)))
    layers(build, kept, lone)
    result = check(build, board, goal)
    assert set(templates(result)) == {POINTWISE, WINDOW}
    side_by_side = {len(function.values["lanes"]) for function in result.program.functions}
    assert side_by_side >= {1, 4}


def test_more_inputs_than_a_list_counts() -> None:
    """Lists one behind another for a matrix; a window's position has one, so that others take it."""
    build = ModelBuilder()
    for depth in (255, 256, 511):
        dense(build, scattered(build, (4, depth), 0.1))
    convolution(build, (1, 3, 3, 256), 4, weights=scattered(build, (4, 3, 3, 256), 0.1), slope=1e-3)
    assert templates(check(build, M4, Optimize.FLASH)) == [*[POINTWISE] * 3, "conv_2d"]


def test_all_inputs_of_a_list() -> None:
    """255 of them; the other lists are empty."""
    build = ModelBuilder()
    weights = np.zeros((8, 1, 1, 255), np.int64)
    weights[3] = build.rng.integers(1, 100, 255)
    pointwise(build, (1, 2, 2, 255), 8, weights=weights, slope=1e-3)
    convolution(build, (1, 3, 3, 255), 8, weights=np.tile(weights, (1, 3, 3, 1)), slope=1e-3)
    assert templates(check(build, M4, Optimize.FLASH))[0] == POINTWISE


def test_zeros_that_do_not_pay() -> None:
    build = ModelBuilder()
    pointwise(build, (1, 4, 4, 64), 32, weights=scattered(build, (32, 1, 1, 64), 0.6))
    dense(build, scattered(build, (8, 64), 0.1), weights_zero=3)
    assert set(templates(check(build, M4, Optimize.FLASH))) == {"conv_2d.pointwise", "fully_connected"}


def test_less_flash() -> None:
    """Half of the inputs of four filters: five bytes for eight."""
    build, other = ModelBuilder(), ModelBuilder()
    pointwise(build, (1, 4, 4, 128), 128, weights=pairs_of_zeros(build, (128, 1, 1, 128), 0.5))
    pointwise(other, (1, 4, 4, 128), 128)
    sizes = [constant_bytes(compiled(one, AVR, Optimize.SPEED)) for one in (build, other)]
    assert sizes[1] - sizes[0] > 0.3 * 128 * 128


def test_over_the_input() -> None:
    """As close as the kernels of all weights may lie; not at all where filters go one by one."""
    build = ModelBuilder(np.random.default_rng(9))
    pointwise(build, (1, 3, 5, 16), 12, weights=pairs_of_zeros(build, (12, 1, 1, 16), 0.3))
    convolution(build, (1, 7, 6, 8), 12, weights=pairs_of_zeros(build, (12, 3, 3, 8), 0.3))
    net = harness_layers(build.finish())
    assert {choice.variant.name for choice in net.choices} == {"pointwise_sparse", "sparse"}
    check_safe(net)
    alone = ModelBuilder()
    pointwise(alone, (1, 3, 3, 31), 8, weights=scattered(alone, (8, 1, 1, 31), 0.1))
    (choice,) = harness_layers(alone.finish()).choices
    assert choice.variant.name == "pointwise_sparse" and not choice.kernel.overlaps


def test_compilers_and_sanitizers(tmp_path: Path) -> None:
    build = ModelBuilder()
    layers(build, 0.3, 0.1)
    dsp.check_files(compiled(build, M4, Optimize.FLASH), tmp_path / "compilers", ("-O2",))
    check_sanitized(build.finish(), tmp_path / "sanitized", "portable")
