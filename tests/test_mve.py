"""Kernels for Helium: their C on this computer, their instructions in QEMU's Cortex-M55."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import dsp
from tests.dsp import NONE, RELU, RELU6, WARNINGS
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import check_tight, layers
from tests.rows_harness import check_rows
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_depthwise_dsp import depthwise
from tests.test_fully_connected_dsp import dense
from tests.test_generated_c import check_sanitized
from tests.test_pointwise_dsp import pointwise
from tinygen import planning
from tinygen.driver import Compiled
from tinygen.quant import Numerics
from tinygen.variants import Optimize

M55 = "mps3-an547"
CORE = "cortex-m55"
FLAGS = ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard")
COMPILERS = (
    ("arm-none-eabi-gcc", *FLAGS),
    ("arm-none-eabi-gcc", *FLAGS, "-fno-omit-frame-pointer", "-DTG_MVE_ASM=0"),
    ("clang", "--target=arm-none-eabi", *FLAGS, "-I/usr/lib/arm-none-eabi/include"),
    ("clang", "-x", "c"),
)
DEPTHWISE = "kernels/depthwise_conv_2d.mve.c.j2"
DENSE = "kernels/fully_connected.mve.c.j2"
PAIRS = "kernels/conv_2d.dsp.c.j2"
POINTWISE, CONVOLUTION = "kernels/conv_2d.pointwise.mve.c.j2", "kernels/conv_2d.mve.c.j2"


def templates(result: Compiled) -> list[str]:
    """The kernel of each layer."""
    functions = {function.name: function.template for function in result.program.functions}
    return [functions[call.function] for call in result.program.calls]


def check(
    build: ModelBuilder, kernel: str, folder: Path, samples: int = 5, numerics: Numerics = Numerics.TFLITE
) -> Compiled:
    """Every layer is exact, here and in the emulator, and has the kernel; its C stays inside its buffers.

    The first three samples are the ends of the range alone; those behind have sums in between.
    """
    result = dsp.check(build, [M55], samples, numerics)
    assert set(templates(result)) == {kernel}
    check_sanitized(result.model.data, folder, CORE)
    return result


def others(build: ModelBuilder) -> None:
    """No layer has a kernel for Helium."""
    found = templates(dsp.compiled(build, M55))
    assert found and not any(".mve." in template for template in found), found


def check_compilers(build: ModelBuilder, folder: Path) -> None:
    """No warning under any compiler and level of optimisation, with the instructions and without."""
    result = dsp.compiled(build, M55)
    result.write(folder / "net")
    for command in COMPILERS:
        for level in ("-O0", "-O2", "-O3", "-Os"):
            parts = [*command, level, *WARNINGS, "-Iinclude", "-c", "src/net.c", "-o", str(folder / "net.o")]
            done = subprocess.run(parts, cwd=folder / "net", capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{' '.join(parts)}: {done.stderr}"


@pytest.mark.parametrize("seed", range(2))
def test_pointwise_of_random_shapes(seed: int, tmp_path: Path) -> None:
    """Any pixels, inputs and channels, all zero points, outputs of one sign and of both, limits inside the range."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for _ in range(14):
        height, width, depth = (int(size) for size in rng.integers(1, [8, 8, 70]))
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, build.random_zero_point(), 3])}
        choice = {"activation": build.pick([NONE, NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -1.7)}
        shape = build.pick([1, 1, 2]), height, width, depth
        pointwise(build, shape, int(rng.integers(1, 24)), per_channel=build.chance(0.7), **choice, **zeros)
    found = [function.values["finish"] for function in check(build, POINTWISE, tmp_path).program.functions]
    assert {(finish["form"], finish.get("signed")) for finish in found} >= {("line", None), ("exact", True)}


def test_pointwise_of_every_depth(tmp_path: Path) -> None:
    """Whole vectors and parts of one; steps after one another, rounds of them, and those behind."""
    build = ModelBuilder()
    for depth in (1, 15, 16, 17, 64, 127, 128, 129, 144, 145, 160, 176, 320, 330, 336, 417):
        pointwise(build, (1, 1, 4, depth), 5, slope=0.01 / np.sqrt(depth))
    result = check(build, POINTWISE, tmp_path, numerics=Numerics.TFLM)
    values = [function.values for function in result.program.functions]
    loops = {(loop["rounds"] > 1, loop["steps_behind"] > 0, loop["tail"] > 0) for loop in values}
    assert len(loops) == 6


def test_pointwise_of_every_number_of_pixels_and_channels(tmp_path: Path) -> None:
    build = ModelBuilder()
    for pixels, channels in (
        (4, 1),
        (2, 2),
        (5, 3),
        (1, 4),
        (2, 5),
        (3, 6),
        (4, 7),
        (5, 8),
        (2, 62),
        (3, 63),
        (3, 64),
        (4, 65),
        (3, 127),
        (3, 131),
    ):
        pointwise(build, (1, pixels, 1, 20), channels, RELU, slope=0.003)
    check(build, POINTWISE, tmp_path)


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_pointwise_of_weights_and_biases_at_their_ends(weight: int, zero_point: int, tmp_path: Path) -> None:
    """Sums that need 32 bits before they are scaled."""
    build = ModelBuilder()
    reach = 64 * 128 * 255
    bias = [2**29 - reach, reach - 2**29, 0, 1000, -1000, 40000]
    for y_zero in (-128, 0, 127):
        pointwise(build, (1, 2, 2, 64), 6, weights=weight, bias=bias, slope=1e-3, x_zero=zero_point, y_zero=y_zero)
    check(build, POINTWISE, tmp_path)


def test_pointwise_halves_below_zero(tmp_path: Path) -> None:
    """Sums that end on halves: away from zero, which a rounding shift of vectors does not do by itself."""
    build = ModelBuilder()
    weights = np.zeros((4, 1, 1, 16), np.int64)
    weights[:, 0, 0, 0] = 1
    for right in (1, 2, 5):
        pointwise(
            build,
            (1, 16, 16, 16),
            weights=weights,
            bias=0,
            slope=2.0**-right,
            x_zero=0,
            y_zero=0,
            filters=4,
            scale_spread=1.0,
        )
    result = check(build, POINTWISE, tmp_path)
    assert all(function.values["finish"]["signed"] for function in result.program.functions)


def test_pointwise_of_one_sign_without_a_line(tmp_path: Path) -> None:
    """Sums that leave no bits to shift them left, and so are scaled by both roundings."""
    build = ModelBuilder()
    pointwise(build, (1, 2, 3, 8192), 4, RELU6, slope=2e-4, x_zero=0)
    found = [function.values["finish"] for function in check(build, POINTWISE, tmp_path).program.functions]
    assert [(finish["form"], finish["signed"]) for finish in found] == [("exact", False)]


def test_lines_of_every_shift(tmp_path: Path) -> None:
    """Narrowed by the shift itself up to 16 bits, behind it beyond."""
    build = ModelBuilder()
    for slope in (0.1, 0.01, 1e-3, 1e-4, 1e-5):
        pointwise(build, (1, 2, 3, 12), 4, slope=slope, bias=0, scale_spread=1.0)
        depthwise(build, (1, 3, 3, 4), slope=slope, bias=0, scale_spread=1.0)
    result = dsp.check(build, [M55], 4)
    found = [function.values["finish"] for function in result.program.functions]
    shifts = {finish["shift"] for finish in found if finish["form"] == "line"}
    assert min(shifts) <= 8 and max(shifts) > 16, shifts


def test_layers_that_are_left_to_other_kernels() -> None:
    """Sums that are scaled up."""
    build = ModelBuilder()
    pointwise(build, (1, 3, 3, 16), 8, y_zero=0, slope=3.0)
    others(build)
    dsp.check(build, [M55], 4)


def test_short_rows_end_by_themselves(tmp_path: Path) -> None:
    """Pixels that fill no block have instructions of their own; in longer rows, others are computed again."""
    build = ModelBuilder()
    for pixels in (1, 2, 3, 4, 5, 22, 23, 24, 25, 26):
        pointwise(build, (1, 1, pixels, 33), 6, slope=0.002)
    found = [function.values for function in check(build, POINTWISE, tmp_path).program.functions]
    assert [values["counts"] for values in found] == [[1], [2], [3], [3, 1], [3, 2], [3, 1], [3, 2], [3], [3], [3]]


def test_pointwise_under_all_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    pointwise(build, (1, 5, 5, 67), 9, RELU6, slope=0.002)
    pointwise(build, (1, 5, 5, 300), 8, y_zero=3, slope=0.001)
    check_compilers(build, tmp_path)


@pytest.mark.parametrize("seed", range(2))
def test_convolution_of_random_shapes(seed: int, tmp_path: Path) -> None:
    """Sizes from one pixel on, odd and even, any window, gaps of one row or column, all zero points."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for _ in range(14):
        height, width, depth = (int(size) for size in rng.integers(1, 12, 3))
        kernel = build.pick([(3, 3), (3, 3), (2, 2), tuple(int(size) for size in rng.integers(1, 6, 2))])
        stride = build.pick([(1, 1), (2, 2), tuple(int(step) for step in rng.integers(1, 4, 2))])
        if kernel == (1, 1):
            stride = (2, 1)  # else it is a pointwise convolution
        dilation = (build.pick([1, 1, 2]), build.pick([1, 1, 2]))
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        padding = VALID if build.chance(0.4) and reach[0] <= height and reach[1] <= width else SAME
        choice = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -2)}
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3, build.random_zero_point()])}
        shape, filters = (build.pick([1, 1, 2]), height, width, depth), int(rng.integers(1, 14))
        convolution(
            build, shape, filters, kernel, stride, dilation, padding, per_channel=build.chance(0.7), **choice, **zeros
        )
    check(build, CONVOLUTION, tmp_path)


def test_convolution_of_pixels_of_every_size(tmp_path: Path) -> None:
    """Bytes of a row that are spread over columns, whole vectors, or one column after another; borders on any side."""
    build = ModelBuilder()
    sizes = ((1, 5), (1, 35), (3, 11), (3, 17), (4, 5), (5, 19), (7, 3), (16, 4), (32, 5), (128, 3), (144, 2))
    for depth, width in sizes:
        padding, slope = VALID if depth % 2 else SAME, 0.003 / float(np.sqrt(depth))
        convolution(build, (1, 4, width, depth), 4, (3, 2), padding=padding, x_zero=7, slope=slope)
    found = [function.values for function in check(build, CONVOLUTION, tmp_path, 4).program.functions]
    assert {(len(values["places"]) // 16, values["vectors"]) for values in found} == {
        *((vectors, 0) for vectors in (0, 1, 3, 5)),
        *((0, vectors) for vectors in (1, 2, 8)),
    }


def test_convolution_of_every_width_and_stride(tmp_path: Path) -> None:
    """Rows that are kept and rows that are not; one, two or three outputs at the end; windows that lie outside."""
    build = ModelBuilder()
    for width in (1, 2, 4, 6, 26):
        for kernel, stride in (((3, 3), (1, 1)), ((3, 2), (2, 1)), ((2, 1), (3, 2)), ((1, 1), (2, 2))):
            zero = build.pick([-128, 4])
            convolution(build, (1, 5, width, 3), 4 + width % 3, kernel, stride, x_zero=zero, y_zero=zero)
    found = [function.values for function in check(build, CONVOLUTION, tmp_path, 4).program.functions]
    assert {(values["rest"], values["kept"] > 0) for values in found} == {
        (rest, kept) for rest in (0, 1, 2) for kept in (False, True)
    }


def test_convolution_behind_a_border(tmp_path: Path) -> None:
    """A PAD that is part of the layer: windows of one column too begin outside the input."""
    build = ModelBuilder()
    for kernel, stride, border in (((1, 1), (2, 2), 1), ((1, 1), (3, 3), 2), ((3, 3), (2, 2), 1), ((2, 3), (1, 2), 3)):
        x = build.input((1, 5, 6, 4), "int8", 0.05, 3)
        padded = build.tensor((1, 5 + 2 * border, 6 + 2 * border, 4), "int8", 0.05, 3)
        paddings = build.constant([[0, 0], [border, border], [border, border], [0, 0]], "int32")
        build.op("PAD", [x, paddings], [padded], "Pad")
        size = [(n + 2 * border - k) // s + 1 for n, k, s in zip((5, 6), kernel, stride, strict=True)]
        weights = build.constant(build.rng.integers(-127, 128, (5, *kernel, 4)), "int8", 0.01)
        y = build.tensor((1, *size, 5), "int8", 0.1, -3)
        options = {"strideH": stride[0], "strideW": stride[1], "padding": VALID}
        build.op("CONV_2D", [padded, weights], [y], "Conv2D", **options)
    result = check(build, CONVOLUTION, tmp_path)
    assert any(function.values["source_offset"] for function in result.program.functions)


@pytest.mark.parametrize(
    ("shape", "filters", "kernel", "stride"),
    [
        ((1, 49, 10, 1), 64, (10, 4), (2, 2)),
        ((1, 24, 24, 3), 8, (3, 3), (2, 2)),
        ((1, 8, 8, 16), 16, (3, 3), (1, 1)),
        ((1, 8, 8, 64), 16, (3, 3), (1, 1)),
        ((1, 8, 8, 16), 32, (1, 1), (2, 2)),
    ],
)
def test_convolution_of_real_networks(
    shape: tuple[int, ...], filters: int, kernel: tuple[int, int], stride: tuple[int, int], tmp_path: Path
) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 3):
        convolution(build, shape, filters, kernel, stride, x_zero=17, y_zero=y_zero, activation=int(y_zero == -128))
    check(build, CONVOLUTION, tmp_path)


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_convolution_of_weights_and_zero_points_at_their_ends(weight: int, zero_point: int, tmp_path: Path) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 0, 127):
        convolution(build, x_zero=zero_point, y_zero=y_zero, weights=weight, slope=1e-4)
    check(build, CONVOLUTION, tmp_path)


def test_convolution_with_gaps(tmp_path: Path) -> None:
    """Between the rows of a window, its columns, or both; whole and by rows."""
    build = ModelBuilder()
    for kernel, dilation, stride in (((3, 3), (2, 2), 1), ((1, 4), (1, 2), 2), ((2, 2), (3, 2), 1)):
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3])}
        for padding in (SAME, VALID):
            step = (stride, stride)
            convolution(build, (1, 7, 9, 5), 6, kernel, step, dilation, padding, slope=0.002, **zeros)
    result = check(build, CONVOLUTION, tmp_path, 3)
    assert {function.values["gap"] for function in result.program.functions} == {2}
    check_rows(layers(result.model.data, M55))


def test_gaps_are_not_filled_where_that_takes_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros between the columns of a window that many filters have, over a few pixels."""
    monkeypatch.setattr(planning, "MOST_FOR_FLASH", dict.fromkeys(Optimize, math.inf))
    kernels = {}
    for size in (3, 24):
        for gap in (1, 2):
            build = ModelBuilder()
            convolution(build, (1, size, size, 32), 32, dilation=(gap, gap), slope=0.001)
            kernels[size, gap] = templates(dsp.compiled(build, M55))
    assert kernels == {(3, 1): [CONVOLUTION], (24, 1): [CONVOLUTION], (24, 2): [CONVOLUTION], (3, 2): [PAIRS]}


def test_convolution_in_groups(tmp_path: Path) -> None:
    """Groups of four inputs and more, of whole blocks of filters, uneven ones and few; rows by byte pairs."""
    build = ModelBuilder()
    for inputs, filters, groups in ((8, 8, 2), (15, 21, 3), (64, 32, 4), (12, 3, 3)):
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3])}
        for kernel, stride in (((3, 3), (1, 1)), ((1, 1), (2, 2)), ((2, 3), (3, 2))):
            convolution(build, (1, 5, 7, inputs), filters, kernel, stride, groups=groups, slope=0.002, **zeros)
    check(build, CONVOLUTION, tmp_path, 3)
    build = ModelBuilder()
    convolution(build, (1, 5, 7, 24), 12, groups=3, slope=0.002)
    net = layers(build.finish(), M55)
    assert net.choices[0].variant.name == "mve"
    check_rows(net)


def test_convolutions_that_are_left_to_other_kernels() -> None:
    """Windows with gaps of more than a column along their rows, groups of a few inputs or of several images."""
    build = ModelBuilder()
    convolution(build, (1, 5, 9, 3), kernel=(3, 3), dilation=(1, 3))
    convolution(build, (1, 5, 5, 6), 6, groups=2)
    convolution(build, (2, 5, 5, 8), 8, groups=2)
    others(build)
    dsp.check(build, [M55], 4)


def test_convolution_under_all_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    convolution(build, (2, 5, 5, 7), 9, activation=RELU6, y_zero=-127, slope=0.002)
    convolution(build, (1, 5, 5, 160), 8, y_zero=3, slope=0.001)
    convolution(build, (1, 5, 5, 12), 6, dilation=(1, 2), groups=3, y_zero=3, slope=0.001)
    check_compilers(build, tmp_path)


@pytest.mark.parametrize("numerics", Numerics)
def test_fully_connected_of_random_shapes(numerics: Numerics, tmp_path: Path) -> None:
    """One rounding and two; any inputs and channels; a row and several."""
    build = ModelBuilder(np.random.default_rng(len(numerics.value)))
    rng = build.rng
    for _ in range(14):
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, build.random_zero_point(), 3])}
        choice = {"activation": build.pick([NONE, NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -1.7)}
        depth, units = int(rng.integers(1, 80)), int(rng.integers(1, 24))
        dense(build, depth, units, rows=build.pick([1, 1, 3]), per_channel=build.chance(0.5), **choice, **zeros)
    result = check(build, DENSE, tmp_path, numerics=numerics)
    forms = {function.values["finish"]["form"] for function in result.program.functions}
    assert forms == ({"line"} if numerics is Numerics.TFLITE else {"line", "exact"})


def test_fully_connected_of_every_depth(tmp_path: Path) -> None:
    build = ModelBuilder()
    for depth in (1, 16, 17, 64, 128, 129, 144, 145, 160, 330, 336, 640, 4096, 4120):
        dense(build, depth, 6, slope=0.01 / np.sqrt(depth))
    check(build, DENSE, tmp_path, numerics=Numerics.TFLM)


def test_layers_of_a_few_channels() -> None:
    """A block of which not all are stored; outputs over their inputs."""
    build = ModelBuilder()
    for channels in (1, 2, 3):
        for depth in (5, 200):
            dense(build, depth, channels, slope=0.002)
            pointwise(build, (1, 3, 5, depth), channels, slope=0.002, y_zero=3)
        convolution(build, (1, 5, 7, 6), channels, slope=0.002)
        dense(build, 33, channels, rows=3, slope=0.002)
    net = layers(build.finish(), M55)
    assert {choice.variant.name for choice in net.choices} == {"mve", "pointwise_mve"}
    check_tight(net, samples=3, least=0.9)


def test_fully_connected_under_all_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    for channels in (1, 2, 3):
        dense(build, 67, channels, slope=0.002)
    pointwise(build, (1, 1, 5, 16), 2, slope=0.002)
    dense(build, 67, 9, slope=0.002, activation=RELU6)
    dense(build, 300, 8, y_zero=3, slope=0.001)
    check_compilers(build, tmp_path)


@pytest.mark.parametrize("seed", range(2))
def test_depthwise_of_random_shapes(seed: int, tmp_path: Path) -> None:
    """Any sizes, channels and windows, several filters for a channel, all zero points."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for _ in range(14):
        kernel = build.pick([(3, 3), (3, 3), (1, 3), (5, 5), (2, 4), (4, 1), (7, 7)])
        stride = build.pick([(1, 1), (2, 2), (1, 2), (2, 1), (3, 3), (4, 1)])
        height, width = (int(size) for size in rng.integers(1, 14, 2))
        padding = VALID if build.chance(0.5) and kernel[0] <= height and kernel[1] <= width else SAME
        choice: dict[str, Any] = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-3.5, -2)}
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3, build.random_zero_point()])}
        multiplier, channels = build.pick([(1, 4), (1, 5), (1, 24), (1, 33), (2, 3), (3, 9), (8, 1)])
        shape = build.pick([1, 1, 2]), height, width, channels
        choice |= {"multiplier": multiplier, "per_channel": build.chance(0.7)}
        depthwise(build, shape, stride, padding, kernel=kernel, **choice, **zeros)
    check(build, DEPTHWISE, tmp_path)


def test_depthwise_of_every_width(tmp_path: Path) -> None:
    """Columns that are copied once, and some twice; borders on one side, on both, and on none."""
    build = ModelBuilder()
    for width in (1, 2, 3, 5, 6, 7, 9, 13):
        for stride in (1, 2):
            depthwise(build, (1, 3, width, 8), stride, SAME)
        if width >= 3:
            depthwise(build, (1, 3, width, 9), 1, VALID, y_zero=0)
    check(build, DEPTHWISE, tmp_path)


def test_depthwise_of_many_channels(tmp_path: Path) -> None:
    """Columns and outputs that are too far from each other for a load's or a store's offset."""
    build = ModelBuilder()
    for channels in (32, 63, 127, 128, 270):
        depthwise(build, (1, 3, 4, channels), (1, 1), SAME)
        depthwise(build, (1, 3, 5, channels), (2, 2), SAME, y_zero=0, kernel=(3, 5))
    depthwise(build, (1, 2, 2, 4095))
    check(build, DEPTHWISE, tmp_path)


def test_depthwise_of_windows_of_every_size(tmp_path: Path) -> None:
    """One vector to seven, the last one full or not, tall windows and wide ones."""
    build = ModelBuilder()
    sizes = ((1, 1), (4, 4), (17, 1), (1, 17), (4, 8), (7, 6), (8, 8), (9, 10), (14, 8))
    for kernel in sizes:
        slope = 0.02 / float(np.sqrt(kernel[0] * kernel[1]))
        depthwise(build, (1, 18, 18, 5), (1, 1), VALID, kernel=kernel, slope=slope)
        depthwise(build, (1, 4, 3, 4), (3, 2), SAME, kernel=kernel, slope=slope, y_zero=3)
    found = check(build, DEPTHWISE, tmp_path).program.functions
    assert {function.values["steps"] for function in found} == {1, 2, 3, 4, 6, 7}


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_depthwise_of_weights_and_zero_points_at_their_ends(weight: int, zero_point: int, tmp_path: Path) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 0, 127):
        for activation in (NONE, RELU6):
            ends: dict[str, Any] = {"x_zero": zero_point, "y_zero": y_zero, "weights": weight}
            depthwise(build, (1, 4, 4, 9), activation=activation, **ends)
    check(build, DEPTHWISE, tmp_path)


def test_depthwise_halves_below_zero(tmp_path: Path) -> None:
    """Sums that end on halves: away from zero."""
    build = ModelBuilder()
    for right in (1, 2, 5):
        weights = np.zeros((3, 3, 4), np.int64)
        weights[1, 1] = 1
        same: dict[str, Any] = {"slope": 2.0**-right, "x_zero": 0, "y_zero": 0, "scale_spread": 1.0}
        depthwise(build, (1, 16, 16, 4), weights=weights, bias=0, **same)
    result = check(build, DEPTHWISE, tmp_path)
    assert all(function.values["finish"]["signed"] for function in result.program.functions)


def test_depthwise_with_gaps(tmp_path: Path) -> None:
    """In any direction, also between taps that lie outside; whole and by rows."""
    build = ModelBuilder()
    for kernel, dilation, stride in (((3, 3), 2, 1), ((5, 1), 4, 1), ((1, 3), 8, 1), ((3, 2), 3, 2)):
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3])}
        depthwise(build, (1, 9, 11, 9), stride, kernel=kernel, dilation=dilation, slope=0.002, **zeros)
        depthwise(build, (1, 17, 17, 4), stride, VALID, kernel=kernel, dilation=dilation, slope=0.002, **zeros)
    check(build, DEPTHWISE, tmp_path)
    net = layers(build.finish(), M55)
    assert {choice.variant.name for choice in net.choices} == {"mve"}
    check_rows(net)


def test_depthwise_that_is_left_to_other_kernels() -> None:
    """Few channels, windows of more than seven vectors, outputs that are far apart, sums that are scaled up."""
    build = ModelBuilder()
    depthwise(build, (1, 5, 5, 3))
    depthwise(build, (1, 16, 16, 4), dilation=5)
    depthwise(build, (1, 12, 12, 4), kernel=(12, 12), slope=0.001)
    depthwise(build, (1, 40, 9, 4), (1, 8), kernel=(20, 1), slope=0.001)
    depthwise(build, (1, 1, 2, 4096), kernel=(1, 2))
    depthwise(build, (1, 5, 5, 9), y_zero=0, slope=3.0)
    others(build)
    dsp.check(build, [M55], 3)


def test_depthwise_under_all_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    depthwise(build, (2, 5, 5, 9), (1, 1), SAME, activation=RELU6, y_zero=-127, slope=0.002)
    depthwise(build, (1, 5, 6, 64), (2, 2), SAME, y_zero=3)
    depthwise(build, (1, 7, 8, 130), kernel=(5, 5), y_zero=3, activation=RELU6, slope=0.002)
    depthwise(build, (1, 5, 6, 3), 1, VALID, kernel=(5, 1), multiplier=4, slope=0.002)
    check_compilers(build, tmp_path)
