"""Layers that are mostly zero, on cores with the DSP extension: exact on all oracles, and as fast as promised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import dsp
from tests.compressed import check, compiled, constant_bytes, dense, pairs_of_zeros, templates
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import check_tight
from tests.overlap_harness import layers as harness_layers
from tests.rows_harness import check_rows
from tests.test_convolution_dsp import convolution
from tests.test_generated_c import check_sanitized
from tests.test_pointwise_dsp import pointwise
from tinygen import target
from tinygen.budget import weigh
from tinygen.footprint.measure import measure
from tinygen.ir import Array
from tinygen.profile.profile import profile
from tinygen.quant import Numerics
from tinygen.variants import Optimize

SPARSE = {"conv_2d.pointwise.sparse.dsp", "conv_2d.sparse.dsp", "matrix_vector.sparse.dsp"}
M4 = dsp.BOARDS[0]


def layers(build: ModelBuilder, kept: float) -> None:
    """A layer of every kind, with sizes that leave something over everywhere."""
    zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3])}
    pointwise(build, (1, 5, 3, 70), 22, dsp.RELU6, weights=pairs_of_zeros(build, (22, 1, 1, 70), kept), **zeros)
    pointwise(build, (1, 4, 4, 36), 12, weights=pairs_of_zeros(build, (12, 1, 1, 36), kept), **zeros)
    pointwise(build, (1, 1, 1, 121), 13, weights=pairs_of_zeros(build, (13, 1, 1, 121), kept, 8), **zeros)
    convolution(build, (1, 5, 6, 8), 16, stride=(2, 1), weights=pairs_of_zeros(build, (16, 3, 3, 8), kept), **zeros)
    convolution(
        build, (1, 6, 3, 12), 9, (5, 3), dilation=(2, 1), weights=pairs_of_zeros(build, (9, 5, 3, 12), kept), **zeros
    )
    dense(build, pairs_of_zeros(build, (32, 67), kept, 8), activation=dsp.RELU6, **zeros)
    dense(build, pairs_of_zeros(build, (6, 64), kept), per_channel=True, **zeros)


@pytest.mark.parametrize(
    ("kept", "board"), [(0.5, dsp.BOARDS[0]), (0.3, dsp.BOARDS[1]), (0.1, dsp.BOARDS[2]), (0.02, dsp.BOARDS[0])]
)
def test_pairs_at_random(kept: float, board: str) -> None:
    """Among them blocks of no step at all, and distances of all sizes."""
    build = ModelBuilder(np.random.default_rng(int(100 * kept)))
    layers(build, kept)
    result = check(build, board, Optimize.SPEED)
    assert set(templates(result)) >= SPARSE


def test_the_other_profile_of_numerics() -> None:
    build = ModelBuilder(np.random.default_rng(2))
    layers(build, 0.3)
    assert set(templates(check(build, M4, Optimize.SPEED, numerics=Numerics.TFLM))) >= SPARSE


@pytest.mark.parametrize("weight", [-127, 127])
def test_ends(weight: int) -> None:
    """Of weights, inputs and biases."""
    build = ModelBuilder()
    weights = np.sign(pairs_of_zeros(build, (8, 1, 1, 64), 0.4)) ** 2 * weight
    reach = 64 * 128 * 255
    bias = [2**29 - reach, reach - 2**29, 0, 1000, -1000, 40000, 9, -9]
    for x_zero, y_zero in ((127, -128), (-128, 5)):
        pointwise(build, (1, 2, 2, 64), 8, weights=weights, bias=bias, slope=1e-3, x_zero=x_zero, y_zero=y_zero)
    assert set(templates(check(build, M4, Optimize.SPEED, samples=4))) == {"conv_2d.pointwise.sparse.dsp"}


def test_far_apart() -> None:
    """The first and the last inputs of many, and those of the last column alone."""
    build = ModelBuilder()
    weights = np.zeros((8, 1, 1, 4000), np.int64)
    weights[..., [0, 3997, 3999]] = 5
    pointwise(build, (1, 1, 2, 4000), 8, weights=weights, slope=1e-2)
    columns = np.zeros((4, 3, 9, 20), np.int64)
    columns[:, 2, 8, 17:] = -9
    convolution(build, (1, 5, 12, 20), 4, (3, 9), weights=columns, slope=1e-2)
    assert set(templates(check(build, M4, Optimize.SPEED))) <= SPARSE


def cycles(build: ModelBuilder) -> int:
    """Of one inference on the M4."""
    board, result = target.load(M4), compiled(build, M4, Optimize.SPEED)
    found = profile(result, board, weigh(result, board, measure(result, board)), 0).total.cycles
    assert found is not None
    return found


def halved(build: ModelBuilder, shape: tuple[int, ...], kept: float) -> Array:
    """2:4: of each four inputs one pair, the same in four filters; of the groups a share is kept."""
    filters, height, width, depth = shape
    groups = filters // 4, 1, height, width, depth // 4, 1
    second = build.rng.random(groups) < 0.5
    keep = np.stack([~second, second], axis=-1) & (build.rng.random(groups) < kept)[..., None]
    weights = build.rng.integers(-127, 128, (filters // 4, 4, height, width, depth // 4, 2, 2))
    return np.asarray((weights * keep).reshape(shape))


@pytest.mark.parametrize(("kept", "most"), [(1.0, 0.67), (0.5, 0.45)])
def test_fewer_cycles(kept: float, most: float) -> None:
    """What docs/compression.md promises, of a 1x1 and of a 3x3 convolution."""
    dense_layers, sparse_layers = ModelBuilder(), ModelBuilder()
    for shape, emit in (((64, 1, 1, 64), pointwise), ((32, 3, 3, 32), convolution)):
        x = (1, 10, 10, shape[3])
        emit(dense_layers, x, shape[0], activation=dsp.RELU)
        emit(sparse_layers, x, shape[0], activation=dsp.RELU, weights=halved(sparse_layers, shape, kept))
    assert cycles(sparse_layers) <= most * cycles(dense_layers)


def test_less_flash() -> None:
    """A step of half as many weights is 10 bytes for 8."""
    build, other = ModelBuilder(), ModelBuilder()
    pointwise(build, (1, 4, 4, 128), 128, weights=pairs_of_zeros(build, (128, 1, 1, 128), 0.5))
    pointwise(other, (1, 4, 4, 128), 128)
    sizes = [constant_bytes(compiled(one, M4, Optimize.SPEED)) for one in (build, other)]
    assert sizes[0] < 0.75 * sizes[1]


def test_zeros_that_do_not_pay() -> None:
    """Too few, or scattered: dense kernels take them."""
    build = ModelBuilder()
    pointwise(build, (1, 4, 4, 64), 32, weights=pairs_of_zeros(build, (32, 1, 1, 64), 0.9))
    scattered = build.rng.integers(-127, 128, (32, 1, 1, 64)) * (build.rng.random((32, 1, 1, 64)) < 0.4)
    pointwise(build, (1, 4, 4, 64), 32, weights=scattered)
    assert set(templates(compiled(build, M4, Optimize.SPEED))) == {"conv_2d.pointwise.chain.dsp"}


def test_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    layers(build, 0.3)
    dsp.check_files(compiled(build, M4, Optimize.SPEED), tmp_path, ("-O2",))


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    build = ModelBuilder()
    layers(build, 0.3)
    check_sanitized(build.finish(), tmp_path, "cortex-m4f")


def test_row_by_row() -> None:
    """Convolutions without their zeros, as runs of rows compute them."""
    build = ModelBuilder(np.random.default_rng(8))
    for stride, kernel, y_zero in (((1, 1), (3, 3), -128), ((2, 1), (5, 3), 3), ((1, 2), (1, 3), -128)):
        weights = pairs_of_zeros(build, (12, *kernel, 8), 0.3)
        convolution(build, (1, 9, 6, 8), 12, kernel, stride, weights=weights, y_zero=y_zero)
    net = harness_layers(build.finish(), M4)
    assert {choice.variant.name for choice in net.choices} == {"sparse_dsp"}
    check_rows(net)


def test_over_the_input() -> None:
    """As close as the dense kernels may lie, and no closer."""
    build = ModelBuilder(np.random.default_rng(9))
    pointwise(build, (1, 3, 5, 16), 12, weights=pairs_of_zeros(build, (12, 1, 1, 16), 0.4))
    convolution(build, (1, 7, 6, 8), 12, weights=pairs_of_zeros(build, (12, 3, 3, 8), 0.4))
    net = harness_layers(build.finish(), M4)
    assert {choice.variant.name for choice in net.choices} == {"pointwise_sparse_dsp", "sparse_dsp"}
    check_tight(net)
