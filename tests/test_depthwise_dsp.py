"""Depthwise convolution for cores with the DSP extension: its C on this computer, its instructions in the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_compilers, compiled
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import layers
from tests.rows_harness import check_rows
from tests.test_generated_c import check_sanitized
from tinygen import leaner
from tinygen.driver import Compiled
from tinygen.ops import depthwise_pairs_dsp, depthwise_taps_dsp
from tinygen.quant import Numerics

SAME, VALID = 0, 1
SLIDE, LINE, SHARED, STRIDED, TAPS, WINDOW, WINDOW_IN_C, PAIRS_V7M = (
    f"kernels/depthwise_conv_2d.{name}.c.j2"
    for name in ("dsp", "line.dsp", "line.shared.dsp", "strided.dsp", "taps.dsp", "window.dsp", "window", "pairs.v7m")
)


@pytest.fixture(autouse=True)
def _no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """These kernels also where that of small maps, of large windows, or of all sizes would take their layers."""
    monkeypatch.setattr(leaner, "CYCLES_A_BYTE", 0)
    for module in (depthwise_pairs_dsp, depthwise_taps_dsp):
        monkeypatch.setattr(module, "MOST_PRODUCTS", 0)


def depthwise(
    build: ModelBuilder,
    shape: Sequence[int] = (1, 5, 6, 3),
    stride: int | tuple[int, int] = 1,
    padding: int = SAME,
    activation: int = NONE,
    x_zero: int = -128,
    y_zero: int = -128,
    slope: float = 0.01,
    weights: Any = None,
    bias: Any = None,
    per_channel: bool = True,
    kernel: tuple[int, int] = (3, 3),
    dilation: int = 1,
    scale_spread: float = 4.0,
    multiplier: int = 1,
) -> None:
    """One convolution of an input of its own; `slope` is about the output's steps for each unit of a sum."""
    batch, height, width, depth = shape
    strides = (stride, stride) if isinstance(stride, int) else stride
    reach = [0 if padding == SAME else (k - 1) * dilation for k in kernel]
    out = [-(-(size - less) // step) for size, less, step in zip((height, width), reach, strides, strict=True)]
    filters = depth * multiplier
    count = filters if per_channel else 1
    scales = 0.01 * scale_spread ** build.rng.uniform(-1, 1, count)
    x = build.input(shape, "int8", 0.05, x_zero)
    data = build.rng.integers(-127, 128, (1, *kernel, filters)) if weights is None else weights
    w = build.constant(np.broadcast_to(data, (1, *kernel, filters)), "int8", scales, [0] * count, 3)
    values = build.rng.integers(-20000, 20000, filters) if bias is None else np.broadcast_to(bias, filters)
    b = build.constant(values, "int32", np.float32(0.05) * scales.astype(np.float32), [0] * count)
    y = build.tensor((batch, *out, filters), "int8", 0.05 * 0.01 / slope, y_zero)
    fields = {"strideH": strides[0], "strideW": strides[1], "padding": padding, "depthMultiplier": multiplier}
    fields |= {"dilationHFactor": dilation, "dilationWFactor": dilation, "fusedActivationFunction": activation}
    build.op("DEPTHWISE_CONV_2D", [x, w, b], [y], "DepthwiseConv2D", **fields)


def kernels(result: Compiled, *templates: str) -> list[str]:
    """How the sums of each layer are scaled; they have these kernels and no others."""
    functions = {function.name: function for function in result.program.functions}
    called = [functions[call.function] for call in result.program.calls]
    assert {function.template for function in called} <= set(templates)
    return [function.values["scaling"]["form"] for function in called]


@pytest.mark.parametrize("board", BOARDS)
def test_random_shapes(board: str) -> None:
    """Sizes from one pixel on, odd and even, both strides and paddings, all zero points."""
    build = ModelBuilder(np.random.default_rng(BOARDS.index(board)))
    rng = build.rng
    for _ in range(16):
        padding = build.pick([SAME, SAME, VALID])
        height, width, depth = (int(size) for size in rng.integers(3 if padding == VALID else 1, 17, 3))
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, -128, build.random_zero_point()])}
        choice = {
            "padding": padding,
            "multiplier": build.pick([1, 1, 1, 2]),
            "activation": build.pick([NONE, RELU, RELU6]),
            "slope": 10 ** rng.uniform(-4, -1),
        }
        batches, stride = build.pick([1, 1, 2]), build.pick([1, 1, 2])
        depthwise(build, (batches, height, width, depth), stride, per_channel=build.chance(0.7), **choice, **zeros)
    assert set(kernels(check(build, [board]), SLIDE, LINE, SHARED, STRIDED)) >= {"line", "roundings"}


@pytest.mark.parametrize("board", BOARDS)
def test_random_windows(board: str) -> None:
    """Any kernel and stride, channel multipliers."""
    build = ModelBuilder(np.random.default_rng(10 + BOARDS.index(board)))
    rng = build.rng
    for _ in range(16):
        height, width, depth = (int(size) for size in rng.integers(1, 14, 3))
        kernel = tuple(int(size) for size in rng.integers(1, 8, 2))
        stride = tuple(int(step) for step in rng.integers(1, 4, 2))
        if kernel == (3, 3) and stride in ((1, 1), (2, 2)):
            kernel = (3, 4)
        padding = VALID if kernel[0] <= height and kernel[1] <= width else SAME
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, -128, build.random_zero_point()])}
        choice = {"multiplier": build.pick([1, 1, 2, 3]), "activation": build.pick([NONE, RELU, RELU6])}
        shape, slope = (build.pick([1, 1, 2]), height, width, depth), 10 ** rng.uniform(-4, -1)
        depthwise(build, shape, stride, padding, kernel=kernel, slope=slope, **choice, **zeros)
    assert set(kernels(check(build, [board]), WINDOW)) >= {"line", "roundings"}


def test_windows_of_real_networks() -> None:
    build = ModelBuilder()
    depthwise(build, (1, 12, 12, 16), kernel=(5, 5))
    depthwise(build, (1, 12, 13, 16), 2, kernel=(5, 5), y_zero=3)
    depthwise(build, (1, 1, 60, 8), kernel=(1, 9))
    depthwise(build, (1, 49, 10, 1), 2, kernel=(10, 8), multiplier=8)
    depthwise(build, (1, 32, 1, 4), kernel=(32, 1), padding=VALID)
    depthwise(build, (1, 7, 7, 4), kernel=(7, 7), padding=VALID, weights=-128, x_zero=127)
    kernels(check(build, samples=2), WINDOW)


def test_every_length_of_row() -> None:
    """Loops, what they leave over, the odd output: rows of up to 27 outputs, along the width and along the height."""
    build = ModelBuilder()
    for length in (*range(1, 15), 25, 26, 27):
        stride = 2 - length % 2 if length % 3 else 1
        depthwise(build, (1, 2, length * stride, 1), stride)
        depthwise(build, (1, length * stride, 1, 2), stride)
    result = check(build, samples=2)
    turned = [function.values["turned"] for function in result.program.functions if "turned" in function.values]
    assert set(turned) == {True, False}


def test_slides_of_every_length() -> None:
    """The same where sums have two roundings."""
    build = ModelBuilder()
    for length in (*range(1, 15), 25, 26, 27):
        depthwise(build, (1, 2, length * 2, 1), 2, y_zero=3)
        depthwise(build, (1, length, 1, 2), y_zero=3)
    result = check(build, samples=2)
    assert {function.template for function in result.program.functions} == {SLIDE}
    assert {function.values["rounds"] for function in result.program.functions} >= {1, 2}


@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize(("stride", "template"), [(1, LINE), (2, STRIDED)])
def test_walks_of_every_length(stride: int, template: str, padding: int) -> None:
    """Columns one after another, rounds of them, what is left; rows above and below that are not there."""
    build = ModelBuilder()
    for length in (*range(13 - 4 * stride, 16), 25, 26, 27, 40):
        depthwise(build, (1, 5 + length % 2, length * stride - length % 3, 2), stride, padding, x_zero=length)
    functions = check(build, samples=2).program.functions
    assert {function.template for function in functions} == {template}
    assert {function.values["walk"].rounds for function in functions} > {0, 2}
    assert {function.values["below"] for function in functions} == {int(padding == SAME)}


def test_rows_far_apart() -> None:
    """Registers that move on by more than one instruction can say."""
    build = ModelBuilder()
    depthwise(build, (1, 4, 10, 450))
    depthwise(build, (1, 40, 4, 60))
    assert set(kernels(check(build, samples=1), LINE)) == {"line"}


def test_small_maps_share_a_kernel() -> None:
    """As many columns: one function for any channels and rows."""
    build = ModelBuilder()
    for columns in range(2, 9):
        for height, depth in ((columns, 3), (2, 5), (9, 1)):
            depthwise(build, (1, height, columns, depth), scale_spread=1.5, slope=0.004)
    depthwise(build, (1, 8, 8, 65))
    depthwise(build, (2, 4, 4, 3))
    depthwise(build, (1, 4, 4, 3), padding=VALID)
    functions = check(build, samples=2).program.functions
    assert [function.template for function in functions].count(SHARED) == 7
    assert {function.template for function in functions} == {SHARED, LINE}


def test_which_kernel_for_3x3() -> None:
    """Maps that are too small or too tall, several filters and two roundings are left to the plane."""
    build = ModelBuilder()
    depthwise(build, (1, 1, 1, 3))
    depthwise(build, (1, 3, 9, 3), 2)
    depthwise(build, (1, 40, 5, 3), 2)
    depthwise(build, (1, 6, 9, 3), multiplier=2)
    depthwise(build, (1, 6, 9, 3), 2, y_zero=3)
    functions = check(build, samples=2).program.functions
    assert {function.template for function in functions} == {SLIDE}


def test_outputs_far_apart() -> None:
    """The output's register moves on before a store is out of its reach."""
    build = ModelBuilder()
    for length, depth, stride in ((6, 900, 1), (7, 700, 1), (5, 2000, 1), (7, 700, 2), (5, 1365, 2), (3, 2048, 2)):
        depthwise(build, (1, 1, length * stride, depth), stride)
        depthwise(build, (1, length * stride, 1, depth), stride)
    assert set(kernels(check(build, samples=1), SLIDE, LINE)) == {"line"}


def test_shapes_of_real_networks() -> None:
    build = ModelBuilder()
    depthwise(build, (1, 25, 5, 64))
    depthwise(build, (1, 48, 48, 8))
    depthwise(build, (1, 24, 24, 16), 2)
    depthwise(build, (1, 3, 3, 256))
    result = check(build, samples=2)
    assert set(kernels(result, LINE, SHARED, STRIDED)) == {"line"}
    lines = [function.values for function in result.program.functions if function.template == LINE]
    assert [values["again"] for values in lines] == [False, True]


@pytest.mark.parametrize("weight", [-128, -127, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_weights_and_zero_points_at_their_ends(weight: int, zero_point: int) -> None:
    build = ModelBuilder()
    for stride in (1, 2):
        for y_zero in (-128, 0, 127):
            depthwise(build, stride=stride, x_zero=zero_point, y_zero=y_zero, weights=weight, slope=1e-3)
    check(build)


def test_great_biases() -> None:
    """Up to what any int32 sum allows, beside a channel that steps."""
    reach = 9 * 128 * 255
    build = ModelBuilder()
    for kernel in ((3, 3), (2, 3)):
        for y_zero in (-128, 5):
            ends = [2**31 - 1 - reach, reach + 1 - 2**31, 0]
            depthwise(build, kernel=kernel, bias=ends, slope=4e-4, y_zero=y_zero)
    check(build)


def test_constant_and_nearly_constant_channels() -> None:
    build = ModelBuilder()
    few = np.zeros((1, 3, 3, 3), int)
    few[0, 1, 1, 0] = 1
    depthwise(build, weights=few, slope=1e-5, bias=0)
    depthwise(build, weights=0, bias=[-300, 0, 70000])
    check(build)


@pytest.mark.parametrize("board", BOARDS)
def test_great_biases_under_small_slopes(board: str) -> None:
    """Nearly constant channels: their zero point is added behind the multiplication."""
    build = ModelBuilder()
    for stride in (1, 2):
        for y_zero in (-128, 100):
            depthwise(
                build, (1, 6, 7, 4), stride, slope=8e-6, scale_spread=1.0, y_zero=y_zero, bias=[870000, 5, 400000, 0]
            )
    result = check(build, [board])
    addends = [f.values["scaling"]["addend"] for f in result.program.functions if f.template == SLIDE]
    assert min(addends) < 0 < max(addends)
    check_rows(layers(build.finish(), board), samples=1)


def test_steep_scales() -> None:
    """Outputs that step more than once for each unit of the sum, where there is no second rounding either."""
    build = ModelBuilder()
    for kernel in ((3, 3), (2, 3)):
        for slope in (0.9, 3.0, 500.0):
            for per_channel in (True, False):
                depthwise(build, kernel=kernel, slope=slope, bias=0, y_zero=3, per_channel=per_channel)
    result = check(build)
    assert {function.values["scaling"]["form"] for function in result.program.functions} >= {"plain"}


def test_layers_of_equal_shape_share_a_kernel() -> None:
    build = ModelBuilder()
    for slope in (0.004, 0.005, 0.006):
        depthwise(build, slope=slope, scale_spread=1.5)
    assert len(check(build).program.functions) == 1


@pytest.mark.parametrize(
    ("options", "template"),
    [
        ({"stride": 3}, WINDOW),
        ({"shape": (1, 3, 3, 2100)}, WINDOW),
        ({"shape": (1, 1, 2060, 1)}, WINDOW),
        ({"kernel": (1, 33)}, WINDOW_IN_C),
        ({"dilation": 2}, WINDOW_IN_C),
    ],
    ids=["stride 3", "far channels", "long rows", "33 taps", "dilation"],
)
def test_which_kernel(options: dict[str, Any], template: str) -> None:
    """The next one takes over, with the same results."""
    build = ModelBuilder()
    depthwise(build, **options)
    result = check(build, samples=1)
    assert [function.template for function in result.program.functions] == [template]


def test_cores_without_the_extension() -> None:
    build = ModelBuilder()
    depthwise(build, (1, 24, 24, 3))
    depthwise(build, kernel=(5, 5))
    assert {f.template for f in compiled(build, "bluepill_f103c8").program.functions} == {PAIRS_V7M, WINDOW_IN_C}


@pytest.mark.parametrize("numerics", Numerics)
def test_the_scratch_is_small(numerics: Numerics) -> None:
    """A line with its border, a plane, or none; the output lies over the input."""
    for stride, y_zero, scratch in ((1, -128, 4 * 17), (1, 3, 2 * 17 * 28 + 4 * 25), (2, -128, 0)):
        build = ModelBuilder()
        depthwise(build, (1, 25, 15, 64), stride, y_zero=y_zero)
        assert compiled(build, numerics=numerics).program.plan.arena_bytes == 25 * 15 * 64 + scratch


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    """Scratch included: the C beside the instructions, with poisoned bytes between all buffers."""
    build = ModelBuilder()
    for height, width in ((5, 6), (1, 1), (2, 9)):
        for kernel in ((3, 3), (5, 2), (1, 6)):
            for stride in (1, 2):
                depthwise(build, (1, height, width, 2), stride, kernel=kernel, y_zero=build.pick([-128, 9]))
    check_sanitized(build.finish(), tmp_path, "cortex-m4f")


def test_every_compiler(tmp_path: Path) -> None:
    build = ModelBuilder()
    for stride in (1, 2):
        for zero in (-128, 0):
            depthwise(build, (1, 40, 9, 3), stride, y_zero=zero)
            depthwise(build, (1, 5, 6, 3), stride, y_zero=zero)
            depthwise(build, (2, 9, 9, 3), stride, y_zero=zero, kernel=(5, 4), multiplier=2)
    check_compilers(build, tmp_path)
