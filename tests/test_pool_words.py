"""Average poolings in words for cores without the DSP extension: their C on this computer, and in emulated boards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.dsp import NONE, RELU, RELU6, check, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_tight, layers
from tests.test_generated_c import check_sanitized
from tests.test_pool_dsp import AVERAGE, PLAIN, pool
from tests.test_v6m import compiles
from tests.weighted import output_size, random_window
from tinygen import target
from tinygen.driver import Compiled
from tinygen.ops.pool_words import mean
from tinygen.verify.compare import verify
from tinygen.verify.golden import Golden

KERNEL = "kernels/pool_2d.words.c.j2"
BOARDS = ("pico", "nucleo_l152re")
"""M0+ and M3."""


def templates(result: Compiled) -> list[str]:
    """Of all layers."""
    functions = {function.name: function for function in result.program.functions}
    return [functions[call.function].template for call in result.program.calls]


def test_means() -> None:
    """Where there is a multiplication, in 32 bits and as the definition has it; always for the usual maps."""
    for area in range(1, 300):
        found = mean(area)
        assert found or area > 200
        if found is None:
            continue
        sums = np.arange(-128 * area, 127 * area + 1)
        scaled = sums * found["multiplier"] + found["half"] - np.where(found["below"], sums < 0, 0)
        assert np.abs(scaled).max() < 2**31
        wanted = np.floor(np.abs(sums) / area + 0.5) * np.sign(sums)
        np.testing.assert_array_equal(scaled >> found["bits"], wanted)


@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str) -> None:
    """Any window and stride inside the input, batches, activations."""
    build = ModelBuilder(np.random.default_rng(180 + len(board)))
    for _ in range(16):
        height, width, words = (int(size) for size in build.rng.integers([1, 1, 1], [9, 9, 5]))
        window = random_window(build, height, width, dilated=False)
        shape, zero = (build.pick([1, 1, 2]), height, width, 4 * words), build.random_zero_point()
        x = build.input(shape, "int8", 0.05, zero)
        y = build.tensor((shape[0], *output_size(window, height, width), 4 * words), "int8", 0.05, zero)
        options = {key: value for key, value in window.options().items() if not key.startswith("dilation")}
        options["fusedActivationFunction"] = build.pick([NONE, NONE, RELU, RELU6])
        build.op(AVERAGE, [x], [y], "Pool2D", filterHeight=window.kernel[0], filterWidth=window.kernel[1], **options)
    pool(build, AVERAGE, (1, 25, 5, 8), (25, 5))
    pool(build, AVERAGE, (1, 3, 300, 4), (3, 100))
    assert templates(check(build, [board])).count(KERNEL) > 8


def of_every_kind() -> ModelBuilder:
    """Whole inputs and parts, lines that are added up, sums that are divided."""
    build = ModelBuilder(np.random.default_rng(182))
    shapes = (((1, 3, 3, 8), (3, 3)), ((2, 6, 4, 4), (2, 2)), ((1, 31, 7, 4), (31, 7)), ((1, 24, 24, 4), (24, 24)))
    for shape, kernel in shapes:
        pool(build, AVERAGE, shape, kernel, build.pick([NONE, RELU6]))
    return build


def test_sums_at_their_ends(golden: Golden) -> None:
    """All inputs the least, and the greatest: lanes of 16 bits hold 257 bytes."""
    build = of_every_kind()
    pool(build, AVERAGE, (1, 1, 257, 4), (1, 257))
    pool(build, AVERAGE, (1, 2, 256, 4), (2, 256))
    for board in BOARDS:
        result = compiled(build, board)
        assert set(templates(result)) == {KERNEL}
        shapes = [result.model.graph.tensors[i].shape for i in result.model.graph.inputs]
        samples = [[np.full(shape, value, np.int8) for shape in shapes] for value in (-128, 127)]
        verdict = verify(result, samples, interpreter=False, board=target.load(board))
        assert verdict.difference is None, str(verdict.difference)
    check_model(build.finish(), golden)


def test_what_is_left_to_plain_c() -> None:
    """Channels that are no words, a border, few elements of all, lines whose sums do not fit."""
    build = ModelBuilder()
    pool(build, AVERAGE, (1, 4, 4, 6), (4, 4))
    pool(build, AVERAGE, (1, 2, 2, 8), (2, 2))
    pool(build, AVERAGE, (1, 1, 258, 4), (1, 258))
    x, y = build.input((1, 5, 5, 4), "int8", 0.05, 3), build.tensor((1, 3, 3, 4), "int8", 0.05, 3)
    build.op(AVERAGE, [x], [y], "Pool2D", filterHeight=3, filterWidth=3, strideH=2, strideW=2, padding=0)
    assert templates(check(build, BOARDS[:1], samples=1)) == [PLAIN] * 4


def test_where_the_output_may_lie() -> None:
    build = ModelBuilder(np.random.default_rng(183))
    for shape, kernel in (((1, 4, 6, 8), (2, 2)), ((2, 6, 4, 4), (3, 2)), ((1, 9, 8, 12), (1, 4))):
        pool(build, AVERAGE, shape, kernel)
    net = layers(build.finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {"words"}
    assert check_tight(net) >= 2


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    check_sanitized(of_every_kind().finish(), tmp_path, "cortex-m0plus")


def test_compilers(tmp_path: Path) -> None:
    """No warning at any level of optimisation."""
    compiles(of_every_kind(), tmp_path)
