"""Sums and differences proved equal in 32 bits: plain C, and words on cores with the DSP extension."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_compilers, compiled
from tests.elementwise import VALUES
from tests.modelbuilder import ModelBuilder
from tinygen import quant, target
from tinygen.ops import scaled_sum
from tinygen.verify.compare import verify

DSP, PLAIN, GENERAL = "kernels/add.dsp.c.j2", "kernels/add.scaled_sum.c.j2", "kernels/add.c.j2"


def add(
    build: ModelBuilder,
    shape: Sequence[int],
    scales: Sequence[float] = (0.0394, 0.1042, 0.0509),
    zero_points: Sequence[int] = (3, -7, -128),
    activation: int = NONE,
    op: str = "ADD",
    second: Sequence[int] | None = None,
) -> None:
    """One sum or difference of two inputs of its own."""
    x = build.input(shape, "int8", scales[0], zero_points[0])
    other = build.input(shape if second is None else second, "int8", scales[1], zero_points[1])
    y = build.tensor(shape, "int8", scales[2], zero_points[2])
    build.op(op, [x, other], [y], op.capitalize(), fusedActivationFunction=activation)


def templates(build: ModelBuilder, board: str = BOARDS[0]) -> list[str]:
    """Of each layer."""
    program = compiled(build, board).program
    functions = {function.name: function.template for function in program.functions}
    return [functions[call.function] for call in program.calls]


@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str) -> None:
    """Any number of elements, scales and zero points, sums and differences, limits inside the range or not."""
    build = ModelBuilder(np.random.default_rng(BOARDS.index(board)))
    rng = build.rng
    for count in (1, 2, 3, 4, 5, 7, 8, 11, 12, 16, *rng.integers(17, 400, 10)):
        scales = 10 ** rng.uniform(-2, 0, 3)
        scales[2] = max(scales) * 10 ** rng.uniform(-0.5, 0.5)
        zeros = [build.random_zero_point(), build.random_zero_point(), build.pick([-128, build.random_zero_point()])]
        add(
            build,
            (1, int(count)),
            scales.tolist(),
            zeros,
            build.pick([NONE, NONE, RELU, RELU6]),
            build.pick(["ADD", "SUB"]),
        )
    assert {DSP, PLAIN} <= set(templates(build, board))
    check(build, [board])


@pytest.mark.parametrize("op", ["ADD", "SUB"])
def test_every_pair(op: str) -> None:
    """All 65,536 pairs, here and by the instructions, outputs of one sign and of both."""
    samples = [list(np.meshgrid(VALUES, rows)) for rows in np.split(VALUES, 4)]
    for zero_point in (-128, 3):
        build = ModelBuilder()
        add(build, (64, 256), (0.0394, 0.1042, 0.0509), (-128, 4, zero_point), op=op)
        assert templates(build) == [DSP]
        verdict = verify(compiled(build), samples, interpreter=False, board=target.load(BOARDS[0]))
        assert verdict.difference is None, str(verdict.difference)


def test_a_sum_without_proof_takes_three_roundings() -> None:
    """Sums of sixths, whose halves the first rounding moves up or down; an output too fine for factors of 24 bits."""
    build = ModelBuilder()
    add(build, (2, 8), (0.05, 0.03, 0.06))
    add(build, (2, 8), (0.1, 0.07, 0.001))
    assert templates(build) == [GENERAL, GENERAL]
    check(build)


@pytest.mark.parametrize("board", ["pico", "uno"])
def test_cores_without_the_extension(board: str) -> None:
    build = ModelBuilder()
    add(build, (2, 37))
    add(build, (2, 8), second=(1, 8), op="SUB", zero_points=(0, 0, 0), activation=RELU)
    assert set(templates(build, board)) == {PLAIN}
    check(build, [board])


@pytest.mark.parametrize("seed", range(8))
def test_search(seed: int) -> None:
    """What is found equals the outputs that it was found for; nothing is found for others."""
    rng = np.random.default_rng(seed)
    slopes, zero_points = rng.uniform(-2, 2, 2), [int(zero) for zero in rng.integers(-128, 128, 3)]
    x, y = (scaled_sum.VALUES - zero for zero in zero_points[:2])
    exact = np.floor(slopes[0] * x[:, None] + slopes[1] * y[None, :] + 0.5).astype(np.int64) + zero_points[2]
    limits = (-128, int(rng.integers(0, 128)))
    stored = np.clip(exact, *limits)
    found = scaled_sum.search(stored, slopes.tolist(), zero_points, limits)
    assert found is not None
    _, total = found.sums(scaled_sum.VALUES[:, None], scaled_sum.VALUES[None, :])
    assert abs(total).max() <= quant.INT32_MAX
    np.testing.assert_array_equal(np.clip(total >> found.shift, *limits), stored)
    row, column = np.argwhere((stored > -100) & (stored < limits[1]))[0]
    stored[row, column] += 1
    assert scaled_sum.search(stored, slopes.tolist(), zero_points, limits) is None


def test_limits_and_broadcasts_stay_plain() -> None:
    build = ModelBuilder()
    add(build, (2, 8))
    add(build, (2, 8), second=(1, 8))
    add(build, (2, 8), zero_points=(0, 0, 0), activation=RELU)
    add(build, (2, 8), zero_points=(3, -7, -128), activation=RELU)
    assert templates(build) == [DSP, PLAIN, PLAIN, DSP]
    check(build)


def test_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    add(build, (3, 7))
    add(build, (4, 8), op="SUB")
    add(build, (2, 8), second=(1, 8))
    check_compilers(build, tmp_path)
