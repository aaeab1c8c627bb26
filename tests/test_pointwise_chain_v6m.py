"""The kernel for Armv6-M cores that chains the sums of pixels: its C on this computer, its instructions in boards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import NONE, RELU, RELU6, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import Layers, check_tight, differing, layers, placed
from tests.rows_harness import check_rows
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import slope
from tests.test_pointwise_dsp import pointwise
from tests.test_v6m import BOARDS, CROSS, WIDENED, check_kernel, compiles, scaled
from tests.test_v6m_widened import random_layers
from tinygen.ir import Array
from tinygen.ops import chains_v6m, pointwise_chain_v6m
from tinygen.ops.pointwise_chain_v6m import TEMPLATE
from tinygen.verify.golden import Golden

NAME = "pointwise_chain_v6m"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is possible, not only where it is faster."""
    monkeypatch.setattr(pointwise_chain_v6m, "pays", lambda context: True)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("board", BOARDS)
def test_random_pixels(board: str) -> None:
    """Any inputs, channels and pixels, all zero points, outputs of one sign and of both."""
    build = ModelBuilder(np.random.default_rng(160 + BOARDS.index(board)))
    random_layers(build, board)
    templates = {function.template for function in check_kernel(build, NAME, board).program.functions}
    assert TEMPLATE in templates


@pytest.mark.usefixtures("always")
def test_pixels_and_inputs(golden: Golden) -> None:
    """From one group to several, all numbers of pixels over; inputs that fill words and rounds, and that do not."""
    build = ModelBuilder()
    for pixels, depth in ((8, 1), (9, 2), (15, 15), (16, 16), (17, 17), (20, 31), (12, 48), (31, 18)):
        pointwise(build, (1, 1, pixels, depth), 5, slope=0.02 / np.sqrt(depth))
    scaled(check_kernel(build, NAME), TEMPLATE)
    check_model(build.finish(), golden)


@pytest.mark.usefixtures("always")
def test_sums_of_many_bits() -> None:
    """Beyond what two multiplications of 32 bits take, sums are clamped to those between which outputs differ."""
    build = ModelBuilder(np.random.default_rng(5))
    for y_zero in (-128, 3):
        pointwise(build, (1, 3, 3, 20), 12, y_zero=y_zero, slope=0.003)
        pointwise(build, (1, 3, 3, 44), 8, y_zero=y_zero, slope=0.001)
        pointwise(build, (1, 3, 3, 44), 8, RELU6, y_zero=y_zero, slope=0.002)
    result = check_kernel(build, NAME, samples=8)
    assert {"line", "kink", "bounded line", "bounded kink"} >= set(scaled(result, TEMPLATE)) >= {"line", "kink"}


def bits(total: int) -> Array:
    """One chunk of one channel whose weights have that sum, without signs."""
    return np.array([[[127] * (total // 127) + [total % 127]]])


def test_sums_that_fit() -> None:
    """128 times the weights, the least sum, may be 2**19; the greatest one below zero weights may not."""
    assert chains_v6m.fit(bits(4096))
    assert not chains_v6m.fit(bits(4097))
    assert not chains_v6m.fit(-bits(4096))


def test_chunks_of_sums_that_do_not_fit() -> None:
    """As few as possible, all of one size but for the last one, which is filled up."""
    assert pointwise_chain_v6m.chunking(bits(4096)[0]) == (1, 33)
    assert pointwise_chain_v6m.chunking(bits(4097)[0]) == (2, 17)
    assert pointwise_chain_v6m.chunking(bits(3 * 4096)[0]) == (4, 25)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("y_zero", [-128, 4])
def test_chunks(y_zero: int, golden: Golden) -> None:
    """Two and more of them, the last one filled up or not, of groups of pixels that are whole and that are not."""
    build = ModelBuilder(np.random.default_rng(11))
    for pixels, depth, weight in ((8, 66, 127), (11, 67, -127), (9, 130, 127), (16, 40, 60)):
        signs = np.sign(build.rng.integers(0, 2, (5, 1, 1, depth)) - 0.5).astype(int)
        numbers = {"weights": weight * signs, "x_zero": 0, "y_zero": y_zero, "scale_spread": 1.0}
        pointwise(build, (1, 1, pixels, depth), 5, slope=5e-4, **numbers)
    net = layers(build.finish(), "pico").of_variant({"conv_2d": NAME})
    assert {choice.kernel.values["chunked"] for choice in net.choices} == {True, False}
    for emulated in (False, True):
        assert not differing(net, placed(net, lambda choice, rule: None), 5, emulated)
    check_model(build.finish(), golden)


@pytest.mark.usefixtures("always")
def test_outputs_that_are_the_least_one() -> None:
    """They are filled in where it is -128 and few multiplications show it; of all numbers of bytes."""
    build = ModelBuilder(np.random.default_rng(7))
    for y_zero in (-128, -127):
        for channels in (4, 5, 9, 14):
            pointwise(build, (1, 1, 8 + channels, 6), channels, x_zero=0, y_zero=y_zero, bias=-9000, slope=0.002)
    functions = check_kernel(build, NAME, samples=6).program.functions
    assert {function.values["floored"] for function in functions if function.template == TEMPLATE} == {True, False}


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("x_zero", [-128, 0, 127])
def test_weights_and_inputs_at_their_ends(x_zero: int) -> None:
    """Sums of all bits that a chain has: the samples hold the extremes of int8."""
    build = ModelBuilder()
    bias = [2**18, -(2**18), 0, 1000, -1000, 40000]
    signs = np.sign(build.rng.integers(0, 2, (6, 1, 1, 32)) - 0.5).astype(int)
    for data in (127, -127, 127 * signs, np.where(signs > 0, 127, -128)):
        for y_zero in (-128, 5):
            pointwise(build, (1, 3, 3, 32), 6, y_zero=y_zero, weights=data, bias=bias, slope=1e-3, x_zero=x_zero)
    functions = check_kernel(build, NAME, samples=6).program.functions
    assert TEMPLATE in {function.template for function in functions}


def test_pixels_that_do_not_fill_groups_are_widened() -> None:
    """Computing many of them twice takes more than chains save; so do their words for a few channels."""
    for shape, channels, template in (
        ((1, 6, 6, 32), 32, TEMPLATE),
        ((1, 3, 3, 32), 32, WIDENED),
        ((1, 6, 6, 32), 4, WIDENED),
    ):
        build = ModelBuilder()
        pointwise(build, shape, channels)
        assert {function.template for function in compiled(build, "pico").program.functions} == {template}


def test_layers_of_all_shapes_share_a_kernel() -> None:
    build = ModelBuilder()
    for depth in (8, 16, 40):
        pointwise(build, (1, 6, 6, depth), 16, RELU, slope=0.0005, y_zero=-128)
    program = compiled(build, "pico").program
    functions = [function for function in program.functions if function.template == TEMPLATE]
    forms = {tuple(function.values[key] for key in ("bounded", "kinked", "shift")) for function in functions}
    assert len(functions) == len(forms) < len(program.calls)


def test_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 3):
        pointwise(build, (1, 6, 6, 50), 16, RELU6, y_zero=y_zero, slope=0.001)
        pointwise(build, (1, 6, 6, 24), 16, y_zero=y_zero)
    compiles(build, tmp_path, CROSS[:2])


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    """Scratch included: the C beside the instructions, with poisoned bytes between all buffers."""
    build = ModelBuilder()
    for depth in (23, 32):
        for pixels in (36, 47):
            pointwise(build, (1, 1, pixels, depth), 24)
    check_sanitized(build.finish(), tmp_path, "cortex-m0plus")


def chained(seed: int) -> Layers:
    """Random layers whose outputs spread over their range."""
    build = ModelBuilder(np.random.default_rng(seed))
    numbers: dict[str, Any] = {"x_zero": 0, "y_zero": 0, "bias": 0}
    for _ in range(8):
        height, width, depth = (int(size) for size in build.rng.integers([2, 8, 1], [10, 12, 9]))
        filters = int(build.rng.integers(4, 12))
        pointwise(build, (build.pick([1, 1, 2]), height, width, depth), filters, slope=slope(depth), **numbers)
    net = layers(build.finish(), "nucleo_g0b1re")
    assert {choice.variant.name for choice in net.choices} == {NAME}
    return net


@pytest.mark.usefixtures("always")
def test_overlap() -> None:
    """At the rule outputs are equal, one byte beyond they are not: of whole groups, and of one that is not."""
    assert check_tight(chained(5), samples=12) >= 4


@pytest.mark.usefixtures("always")
def test_rows() -> None:
    """One row at a time, by the same kernel and by the one that widens rows."""
    build = ModelBuilder(np.random.default_rng(3))
    for width in (8, 9, 16, 23, 4, 7):
        depth, zeros = int(build.rng.integers(1, 20)), {"x_zero": 3, "y_zero": build.pick([-128, 3])}
        pointwise(build, (1, 4, width, depth), 8, build.pick([NONE, RELU6]), slope=slope(depth), **zeros)
    net = layers(build.finish(), "nucleo_g0b1re")
    assert {choice.variant.name for choice in net.choices} == {NAME}
    assert {choice.rows.template for choice in net.choices if choice.rows} == {TEMPLATE, WIDENED}
    check_rows(net)
