"""Kernels for Armv6-M cores: their C on this computer, their instructions in the emulated boards."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import NONE, RELU, RELU6, WARNINGS, compiled
from tests.dsp import check as check_on
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_tight, differing, layers, placed
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_depthwise_dsp import depthwise
from tests.test_fully_connected_dsp import dense
from tests.test_pointwise_dsp import pointwise
from tinygen import ops
from tinygen.driver import Compiled
from tinygen.ops import depthwise_small, depthwise_taps_v6m, depthwise_v6m
from tinygen.quant import Numerics
from tinygen.variants import Choice
from tinygen.verify.golden import Golden

BOARDS = ("bbcmicrobit", "pico")
"""M0 and M0+."""
MATRIX, CONVOLUTION = "kernels/matrix.v6m.c.j2", "kernels/conv_2d.v6m.c.j2"
WIDENED = "kernels/conv_2d.widened.v6m.c.j2"
PIXELS = ("widened_v6m", "pointwise_v6m")
WINDOWS = ("widened_v6m", "v6m")
"""Kernels of 1x1 convolutions, and of any."""


@pytest.fixture(autouse=True)
def _no_other_depthwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of small maps or of lists of taps, which have their own tests."""
    monkeypatch.setattr(depthwise_small, "MOST_MAP", 0)
    monkeypatch.setattr(depthwise_taps_v6m, "LEAST_OUTPUTS", 1 << 30)


DEPTHWISE = "kernels/depthwise_conv_2d.v6m.c.j2"


def check(build: ModelBuilder, board: str = "pico", samples: int = 3, numerics: Numerics = Numerics.TFLITE) -> Compiled:
    """The C here and in the emulated board, against the NumPy reference, every layer."""
    return check_on(build, [board], samples, numerics)


def check_kernel(build: ModelBuilder, name: str, board: str = "pico", samples: int = 3) -> Compiled:
    """The same with one of the kernels for convolutions, wherever it is possible."""
    net = layers(build.finish(), board)
    net = replace(net, choices=tuple(_by(name, choice) for choice in net.choices))
    result = placed(net, lambda choice, rule: None)
    for emulated in (False, True):
        wrong = differing(net, result, samples, emulated)
        assert not wrong, [net.choices[i].context.output.shape for i in wrong]
    return result


def _by(name: str, choice: Choice) -> Choice:
    variant = next(v for v in ops.SPECS[choice.context.node.op].variants if v.name == name)
    if not variant.when(choice.context):
        return choice
    assert variant.params
    return replace(choice, variant=variant, kernel=variant.params(choice.context))


def scaled(result: Compiled, template: str = MATRIX) -> list[str]:
    """By what each layer scales its sums; every layer has the kernel."""
    functions = {function.name: function for function in result.program.functions}
    called = [functions[call.function] for call in result.program.calls]
    assert {function.template for function in called} == {template}
    return [_form(function.values) for function in called]


def _form(values: Mapping[str, Any]) -> str:
    line = "kink" if values["kinked"] else "line"
    if "bounded" in values:
        return f"bounded {line}" if values["bounded"] else line
    return line if values["scaled"] else "reference"


@pytest.mark.parametrize("board", BOARDS)
def test_random_pixels(board: str) -> None:
    """Any pixels, inputs and channels, all zero points, outputs of one sign and of both, limits inside the range."""
    build = ModelBuilder(np.random.default_rng(BOARDS.index(board)))
    rng = build.rng
    for _ in range(16):
        height, width, depth = (int(size) for size in rng.integers(1, [8, 8, 40]))
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, build.random_zero_point(), 3])}
        choice = {"activation": build.pick([NONE, NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -1.7)}
        shape = build.pick([1, 1, 2]), height, width, depth
        pointwise(build, shape, int(rng.integers(4, 24)), per_channel=build.chance(0.7), **choice, **zeros)
    assert set(scaled(check_kernel(build, "pointwise_v6m", board))) >= {"line", "kink"}


def test_outputs_of_both_signs() -> None:
    """A kink where the roundings change their direction; the reference's arithmetic where sums are too many."""
    build = ModelBuilder(np.random.default_rng(5))
    for depth in (8, 40):
        pointwise(build, (1, 3, 3, depth), 12, y_zero=3, slope=0.003)
    pointwise(build, (1, 2, 2, 600), 8, y_zero=5, slope=0.0003)
    assert sorted(scaled(check_kernel(build, "pointwise_v6m", samples=8))) == ["kink", "kink", "reference"], (
        "in whatever order"
    )


@pytest.mark.parametrize("numerics", Numerics)
@pytest.mark.parametrize("y_zero", [-128, 3])
def test_fully_connected(numerics: Numerics, y_zero: int) -> None:
    """One rounding or two, in a line or as the reference does it."""
    build = ModelBuilder(np.random.default_rng(7))
    for depth in (1, 7, 32, 100):
        dense(build, depth, int(build.rng.integers(4, 30)), 2, y_zero=y_zero, slope=0.02 / depth)
    dense(build, 50, 9, y_zero=y_zero, slope=1e-6, bias=2**29)
    check(build, numerics=numerics)


def test_every_size_of_a_chunk(golden: Golden) -> None:
    """Weights that are small enough take chunks of more inputs, each block of channels its own."""
    build = ModelBuilder()
    for depth in (*range(1, 18), 31, 64):
        weights = build.rng.integers(-30, 31, (12, 1, 1, depth))
        weights[4:8] = build.rng.integers(-62, 63, (4, 1, 1, depth))
        weights[8:] = build.rng.integers(-127, 128, (4, 1, 1, depth))
        pointwise(build, (1, 1, 2, depth), 12, weights=weights, slope=0.02 / np.sqrt(depth))
    check(build)
    check_model(build.finish(), golden)


@pytest.mark.parametrize("weight", [-127, 127])
@pytest.mark.parametrize("x_zero", [-128, 0, 127])
def test_weights_and_inputs_at_their_ends(weight: int, x_zero: int) -> None:
    """Lanes that are as full as they can be: the samples hold the extremes of int8."""
    build = ModelBuilder()
    reach = 64 * 128 * 255
    bias = [2**29 - reach, reach - 2**29, 0, 1000, -1000, 40000]
    signs = np.sign(build.rng.integers(0, 2, (6, 1, 1, 64)) - 0.5).astype(int)
    for data in (weight, weight * signs, np.where(signs > 0, weight, 0)):
        pointwise(build, (1, 2, 2, 64), 6, weights=data, bias=bias, slope=1e-3, x_zero=x_zero)
        pointwise(build, (1, 2, 2, 64), 6, y_zero=5, weights=data, bias=bias, slope=1e-3, x_zero=x_zero)
    check_kernel(build, "pointwise_v6m", samples=6)


def test_lanes_that_overflow() -> None:
    """-128 beside -128 in a chunk of two leaves 16 bits for inputs of -128; anything less stays."""
    build, other = ModelBuilder(), ModelBuilder()
    weights = build.rng.integers(-127, 128, (8, 1, 1, 12))
    weights[3, 0, 0, 4:6] = -128, -127
    pointwise(build, (1, 2, 3, 12), weights=weights)
    for kernel, template in zip(PIXELS, (WIDENED, MATRIX), strict=True):
        assert scaled(check_kernel(build, kernel), template) == ["line"]
    weights[3, 0, 0, 5] = -128
    pointwise(other, (1, 2, 3, 12), weights=weights)
    assert not any("v6m" in call.function for call in check(other).program.calls)


def test_other_layers_are_left_to_plain_c() -> None:
    build = ModelBuilder()
    pointwise(build, (1, 3, 3, 8), 3)
    assert not any("v6m" in call.function for call in check(build).program.calls)


def test_layers_of_all_shapes_share_a_kernel() -> None:
    """One for matrices; for 1x1 convolutions one with a shift for each channel, and one with a shift for all."""
    build = ModelBuilder()
    for depth in (3, 16, 40):
        pointwise(build, (1, 4, 4, depth), 16, RELU)
        dense(build, depth, 8)
    functions = compiled(build, "pico").program.functions
    found = sorted((function.template, function.values.get("shift", 0)) for function in functions)
    chain = "kernels/conv_2d.pointwise.chain.v6m.c.j2"
    assert found == [(chain, 0), (chain, 19), ("kernels/matrix.v6m.c.j2", 0)]


CROSS = (
    ("arm-none-eabi-gcc", "-mcpu=cortex-m0plus", "-mthumb"),
    ("clang", "--target=arm-none-eabi", "-mcpu=cortex-m0", "-mthumb", "-I/usr/lib/arm-none-eabi/include"),
    ("clang",),
    ("gcc",),
)


@pytest.mark.parametrize("command", CROSS)
def test_compilers(command: tuple[str, ...], tmp_path: Path) -> None:
    """No warning at any level of optimisation, with the instructions and without."""
    build = ModelBuilder()
    all_kernels(build)
    compiles(build, tmp_path, [command])


def compiles(build: ModelBuilder, tmp_path: Path, commands: Sequence[Sequence[str]] = CROSS) -> None:
    """The same of a model."""
    compiled(build, "pico").write(tmp_path / "net")
    others = product(commands, ("-O0", "-O2", "-Os"))
    for command, level in (*others, *((command, "-O3") for command in commands if command == CROSS[0])):
        parts = [*command, level, *WARNINGS, "-Iinclude", "-c", "src/net.c", "-o", str(tmp_path / "net.o")]
        done = subprocess.run(parts, cwd=tmp_path / "net", capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(parts)}: {done.stderr}"


def all_kernels(build: ModelBuilder) -> None:
    """One layer of each: outputs and sums, limits inside the range."""
    pointwise(build, (1, 2, 2, 600), 8, RELU6, y_zero=-20, slope=0.0003)
    for y_zero in (-128, 3):
        pointwise(build, (1, 5, 5, 20), 9, RELU6, y_zero=y_zero)
        pointwise(build, (1, 5, 5, 67), 9, y_zero=y_zero, slope=1e-3)
        dense(build, 12, 9, y_zero=y_zero)
        convolution(build, (2, 5, 6, 3), y_zero=y_zero)
        depthwise(build, (2, 5, 6, 3), activation=RELU6)
        depthwise(build, (1, 6, 5, 3), 2)


@pytest.mark.parametrize("board", BOARDS)
def test_random_windows(board: str) -> None:
    """Any kernel, stride and padding, windows that reach outside on all sides."""
    build = ModelBuilder(np.random.default_rng(20 + BOARDS.index(board)))
    rng = build.rng
    for _ in range(14):
        height, width, depth = (int(size) for size in rng.integers(1, [10, 10, 12]))
        kernel = tuple(int(size) for size in rng.integers(1, 6, 2))
        choice = {
            "padding": SAME if kernel[0] * 2 > height or kernel[1] > width else build.pick([SAME, VALID]),
            "stride": tuple(int(step) for step in rng.integers(1, 4, 2)),
            "dilation": (build.pick([1, 1, 2]), 1),
            "activation": build.pick([NONE, RELU, RELU6]),
            "slope": 10 ** rng.uniform(-4, -2),
            "x_zero": build.random_zero_point(),
            "y_zero": build.pick([-128, -128, build.random_zero_point()]),
        }
        convolution(build, (build.pick([1, 2]), height, width, depth), int(rng.integers(4, 14)), kernel, **choice)
    functions = {function.template for function in check_kernel(build, "v6m", board).program.functions}
    assert CONVOLUTION in functions


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (1, 7, 7, 3), "filters": 16},
        {"shape": (1, 6, 6, 16), "filters": 16, "y_zero": 5},
        {"shape": (1, 12, 6, 1), "filters": 12, "kernel": (10, 4), "stride": (2, 2)},
        {"shape": (1, 7, 7, 3), "filters": 8, "stride": (2, 2), "padding": VALID},
    ],
)
def test_windows_of_real_networks(options: dict[str, Any]) -> None:
    build = ModelBuilder()
    convolution(build, **options)
    for kernel, template in zip(WINDOWS, (WIDENED, CONVOLUTION), strict=True):
        scaled(check_kernel(build, kernel), template)


@pytest.mark.parametrize("board", BOARDS)
def test_random_depthwise(board: str) -> None:
    """Sizes from one pixel on, both strides and paddings, either axis along the rows, all zero points."""
    build = ModelBuilder(np.random.default_rng(40 + BOARDS.index(board)))
    rng = build.rng
    for _ in range(16):
        padding = build.pick([SAME, SAME, VALID])
        height, width, depth = (int(size) for size in rng.integers(3 if padding == VALID else 1, 14, 3))
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, -128, build.random_zero_point()])}
        choice = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -1)}
        shape, stride = (build.pick([1, 1, 2]), height, width, depth), build.pick([1, 1, 2])
        depthwise(build, shape, stride, padding, per_channel=build.chance(0.7), **choice, **zeros)
    functions = {function.template for function in check(build, board).program.functions}
    assert DEPTHWISE in functions


def test_depthwise_by_three_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planes for which scratch has no room."""
    monkeypatch.setattr(depthwise_v6m, "MOST_PLANE_BYTES", 0)
    build = ModelBuilder()
    for shape, stride in (((2, 7, 6, 3), 1), ((1, 5, 9, 4), 2), ((1, 9, 5, 4), 1), ((1, 1, 1, 5), 1)):
        depthwise(build, shape, stride, x_zero=0, bias=0, slope=0.004)
    net = layers(build.finish(), "pico")
    assert {choice.variant.template for choice in net.choices} == {DEPTHWISE}
    assert check_tight(net, samples=12) >= 3


def test_depthwise_with_long_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs and rows further apart than one instruction leads, or two; words in rounds and beside them."""
    monkeypatch.setattr(depthwise_v6m, "MOST_PLANE_BYTES", 1200)
    build = ModelBuilder()
    for shape, stride in (((1, 3, 4, 260), 1), ((1, 5, 4, 520), 2), ((1, 2, 161, 2), 1), ((1, 7, 70, 1), 2)):
        depthwise(build, shape, stride, x_zero=5, slope=0.004)
    result = check(build, samples=4)
    assert {function.template for function in result.program.functions} == {DEPTHWISE}


def test_depthwise_whose_outputs_are_the_least_one() -> None:
    """All of a channel, none, and those below a threshold, whatever the zero point."""
    build = ModelBuilder()
    for y_zero in (-128, -100, 127):
        bias = [2**20, -(2**20), 0, 700, -700]
        depthwise(build, (1, 6, 7, 5), y_zero=y_zero, x_zero=0, bias=bias, slope=0.01)
    result = check(build, samples=6)
    assert DEPTHWISE in {function.template for function in result.program.functions}


@pytest.mark.parametrize("weight", [-128, -127, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_depthwise_at_its_ends(weight: int, zero_point: int) -> None:
    build = ModelBuilder()
    for stride in (1, 2):
        depthwise(build, (1, 6, 5, 4), stride, x_zero=zero_point, weights=weight, bias=[2**28, -(2**28), 0, 900])
    result = check(build, samples=6)
    assert {function.template for function in result.program.functions} == {DEPTHWISE}


@pytest.mark.parametrize("sign", [-1, 1])
def test_depthwise_with_full_lanes(sign: int) -> None:
    """Rows of taps whose sums are the greatest int16 or just not: three products at a time, or two, or one."""
    build = ModelBuilder()
    rows = [[127, 127, 1], [127, 127, 2], [86, 85, 85], [85, 85, 85], [-128, -128, 0], [1, -128, -128], [-128, -127, 0]]
    weights = sign * np.tile(np.array(rows).T[None, None], (1, 3, 1, 1)).clip(-128 if sign > 0 else -127, 127)
    bias = 0
    for shape in ((1, 5, 7, 7), (1, 8, 4, 7)):
        depthwise(build, shape, x_zero=0, weights=weights, bias=bias, slope=1e-3)
    result = check(build, samples=8)
    assert {function.template for function in result.program.functions} == {DEPTHWISE}


def test_depthwise_of_real_networks(golden: Golden) -> None:
    build = ModelBuilder()
    for shape, stride in (((1, 25, 5, 8), 1), ((1, 12, 12, 8), 1), ((1, 12, 12, 8), 2), ((1, 3, 3, 40), 1)):
        depthwise(build, shape, stride, activation=RELU6)
    result = check(build)
    assert {function.template for function in result.program.functions} == {DEPTHWISE}
    check_model(build.finish(), golden)


@pytest.mark.parametrize("options", [{"kernel": (3, 5)}, {"stride": 3}, {"dilation": 2}, {"multiplier": 2}])
def test_other_depthwise_is_left_to_plain_c(options: dict[str, Any]) -> None:
    build = ModelBuilder()
    depthwise(build, (1, 9, 9, 4), **options)
    assert not any("v6m" in call.function for call in check(build).program.calls)
