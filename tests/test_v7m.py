"""Kernels for Armv7-M cores: their C on this computer, their instructions in the emulated board."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import NONE, RELU, RELU6, WARNINGS, compiled
from tests.dsp import check as check_on
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import layers
from tests.rows_harness import check_rows, rows_of
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_depthwise_dsp import depthwise
from tests.test_fully_connected_dsp import dense
from tests.test_generated_c import check_sanitized
from tests.test_pointwise_dsp import pointwise
from tinygen.driver import Compiled
from tinygen.ops import depthwise_pairs_v7m
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden

BOARD = "nucleo_l152re"
"""An M3."""
MATRIX, CONVOLUTION = "kernels/matrix.v7m.c.j2", "kernels/conv_2d.pairs.v7m.c.j2"
DEPTHWISE = "kernels/depthwise_conv_2d.v7m.c.j2"


def check(build: ModelBuilder, samples: int = 3, numerics: Numerics = Numerics.TFLITE) -> Compiled:
    """The C here and in the emulated board, against the NumPy reference, every layer."""
    return check_on(build, [BOARD], samples, numerics)


def values(result: Compiled, template: str) -> list[dict[str, Any]]:
    """The numbers of each layer's kernel; every layer has that template."""
    functions = {function.name: function for function in result.program.functions}
    called = [functions[call.function] for call in result.program.calls]
    assert {function.template for function in called} == {template}
    return [dict(function.values) for function in called]


def templates(result: Compiled) -> set[str]:
    """The templates of all kernels."""
    return {function.template for function in result.program.functions}


@pytest.mark.parametrize("numerics", Numerics)
@pytest.mark.parametrize("y_zero", [-128, 3])
def test_fully_connected(numerics: Numerics, y_zero: int) -> None:
    """One row of a large matrix in its own kernel; several rows as a 1x1 convolution."""
    build = ModelBuilder(np.random.default_rng(7))
    for depth in (7, 32, 100):
        dense(build, depth, int(build.rng.integers(4, 30)), 2, y_zero=y_zero, slope=0.02 / depth)
    for depth in (129, 300):
        dense(build, depth, 33, y_zero=y_zero, slope=0.02 / depth)
    dense(build, 500, 9, y_zero=y_zero, slope=1e-6, bias=2**29)
    assert templates(check(build, numerics=numerics)) == {MATRIX, CONVOLUTION}


def test_every_size_of_a_chunk() -> None:
    """Weights that are small enough take chunks of more inputs, each block of channels its own."""
    build = ModelBuilder()
    for depth in (342, 343, 345, 349, 352):
        weights = build.rng.integers(-30, 31, (12, depth))
        weights[4:8] = build.rng.integers(-62, 63, (4, depth))
        weights[8:] = build.rng.integers(-127, 128, (4, depth))
        dense(build, depth, 12, weights=weights, slope=0.02 / np.sqrt(depth))
    values(check(build), MATRIX)


@pytest.fixture
def no_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Depthwise layers do not have the kernel that multiplies pairs of elements."""
    monkeypatch.setattr(depthwise_pairs_v7m, "_ways", lambda context: [])


@pytest.mark.usefixtures("no_pairs")
def test_random_depthwise() -> None:
    """Sizes from one pixel on, any stride, both paddings, filters for each channel, either axis along the rows."""
    build = ModelBuilder(np.random.default_rng(41))
    rng = build.rng
    for _ in range(20):
        padding = build.pick([SAME, SAME, VALID])
        height, width, depth = (int(size) for size in rng.integers(3 if padding == VALID else 1, 14, 3))
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, -128, build.random_zero_point()])}
        choice = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -1)}
        choice["multiplier"] = build.pick([1, 1, 3])
        shape, stride = (build.pick([1, 1, 2]), height, width, depth), build.pick([1, 1, 2, 3])
        depthwise(build, shape, stride, padding, per_channel=build.chance(0.7), **choice, **zeros)
    fused = {v["fused"] for v in values(check(build), DEPTHWISE)}
    assert fused == {False, True}


@pytest.mark.usefixtures("no_pairs")
def test_depthwise_of_many_channels() -> None:
    """Outputs too far apart for a store that moves its register, rows of several rounds."""
    build = ModelBuilder()
    depthwise(build, (1, 7, 9, 300), activation=RELU6)
    depthwise(build, (1, 3, 31, 4), 2, y_zero=5)
    values(check(build, 1), DEPTHWISE)


@pytest.mark.usefixtures("no_pairs")
@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_depthwise_at_its_ends(weight: int, zero_point: int) -> None:
    build = ModelBuilder()
    for stride in (1, 2):
        depthwise(build, (1, 6, 5, 4), stride, x_zero=zero_point, weights=weight, bias=[2**28, -(2**28), 0, 900])
    values(check(build, 6), DEPTHWISE)


def all_kernels(build: ModelBuilder) -> None:
    """One layer of each: outputs of one sign and of both, limits inside the range, all sizes of a row."""
    for y_zero in (-128, 3):
        pointwise(build, (1, 5, 5, 20), 9, RELU6, y_zero=y_zero)
        pointwise(build, (1, 1, 1, 20), 9, RELU6, y_zero=y_zero)
        dense(build, 400, 12, y_zero=y_zero)
        convolution(build, (2, 5, 6, 3), y_zero=y_zero)
        convolution(build, (1, 5, 5, 3), y_zero=y_zero, padding=VALID, kernel=(5, 5))
        depthwise(build, (2, 5, 6, 3), activation=RELU6, y_zero=y_zero)
        depthwise(build, (1, 6, 5, 3), 2, multiplier=2)
        depthwise(build, (1, 9, 8, 3), 3, activation=RELU6, y_zero=y_zero)


@pytest.mark.usefixtures("every_function")
def test_oracles(golden: Golden) -> None:
    build = ModelBuilder()
    all_kernels(build)
    check(build)
    check_model(build.finish(), golden)


@pytest.mark.usefixtures("every_function")
def test_sanitizers(tmp_path: Path) -> None:
    """Nothing undefined in the C, at the ends of the arena either."""
    build = ModelBuilder()
    all_kernels(build)
    convolution(build, (1, 12, 12, 9), 6, (5, 5))
    check_sanitized(build.finish(), tmp_path, "cortex-m3")


CROSS = (
    ("arm-none-eabi-gcc", "-mcpu=cortex-m3", "-mthumb"),
    ("clang", "--target=arm-none-eabi", "-mcpu=cortex-m3", "-mthumb", "-I/usr/lib/arm-none-eabi/include"),
    ("clang",),
    ("gcc",),
)


@pytest.mark.usefixtures("every_function")
@pytest.mark.parametrize("command", CROSS)
def test_compilers(command: tuple[str, ...], tmp_path: Path) -> None:
    """No warning at any level of optimisation, with the instructions and without."""
    build = ModelBuilder()
    all_kernels(build)
    compiles(build, tmp_path, [command])


def compiles(build: ModelBuilder, tmp_path: Path, commands: Sequence[Sequence[str]] = CROSS) -> None:
    """The same of a model."""
    compiled(build, BOARD).write(tmp_path / "net")
    for command, level in product(commands, ("-O0", "-O2", "-O3", "-Os")):
        parts = [*command, level, *WARNINGS, "-Iinclude", "-c", "src/net.c", "-o", str(tmp_path / "net.o")]
        done = subprocess.run(parts, cwd=tmp_path / "net", capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(parts)}: {done.stderr}"


def test_depthwise_rows() -> None:
    """One row at a time: of one output and many, of sums scaled in the loop and behind it, limits inside the range."""
    build = ModelBuilder(np.random.default_rng(4))
    for shape in ((1, 6, 7, 3), (1, 7, 4, 2), (1, 1, 5, 4), (1, 5, 1, 3), (1, 4, 31, 2)):
        for stride in (1, 2):
            choice = {"activation": build.pick([NONE, RELU, RELU6]), "multiplier": build.pick([1, 1, 2])}
            zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3])}
            depthwise(build, shape, stride, **choice, **zeros)
    depthwise(build, (1, 9, 8, 5), 1, VALID)
    net = layers(build.finish(), BOARD)
    assert {rows.template for rows in rows_of(net)} == {DEPTHWISE}
    assert {rows.kernel.values["fused"] for rows in rows_of(net)} == {False, True}
    check_rows(net)
