"""The kernel for Armv6-M cores that widens rows: its C on this computer, its instructions in the emulated boards."""

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
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_depthwise_dsp import depthwise
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import slope, window_of
from tests.test_pointwise_dsp import pointwise
from tests.test_v6m import BOARDS, CROSS, MATRIX, WIDENED, check, check_kernel, compiles, scaled
from tinygen import target
from tinygen.driver import Model, compile_model
from tinygen.frontend import tflite
from tinygen.ops import convolution_widened_v6m, pointwise_chain_v6m
from tinygen.quant import Numerics
from tinygen.variants import Optimize
from tinygen.verify.compare import verify
from tinygen.verify.golden import Golden
from tinygen.verify.samples import random_samples

LAYERS = {"bbcmicrobit": 3, "pico": 14}
"""Of random layers side by side, that fit into the RAM of the board."""


def random_layers(build: ModelBuilder, board: str) -> None:
    """1x1 convolutions side by side, of at least six pixels, any inputs and channels."""
    rng = build.rng
    for _ in range(LAYERS[board]):
        height, width, depth = (int(size) for size in rng.integers([1, 6, 1], [9, 9, 70]))
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, build.random_zero_point(), 3])}
        choice = {"activation": build.pick([NONE, NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -1.7)}
        shape = build.pick([1, 1, 2]), height, width, depth
        pointwise(build, shape, int(rng.integers(4, 24)), per_channel=build.chance(0.7), **choice, **zeros)


@pytest.mark.parametrize("board", BOARDS)
def test_random_pixels(board: str) -> None:
    """Any inputs and channels, pixels for several tiles, all zero points, outputs of one sign and of both."""
    build = ModelBuilder(np.random.default_rng(60 + BOARDS.index(board)))
    random_layers(build, board)
    templates = {function.template for function in check_kernel(build, "widened_v6m", board).program.functions}
    assert WIDENED in templates


@pytest.mark.parametrize("board", BOARDS)
def test_random_windows(board: str) -> None:
    """Any kernel, stride and padding, gaps between rows, windows that reach outside on all sides."""
    build = ModelBuilder(np.random.default_rng(80 + BOARDS.index(board)))
    rng = build.rng
    for _ in range(LAYERS[board]):
        height, width, depth = (int(size) for size in rng.integers([3, 3, 1], [12, 12, 12]))
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
    templates = {function.template for function in check_kernel(build, "widened_v6m", board).program.functions}
    assert WIDENED in templates


def test_gaps_between_columns() -> None:
    """Of windows of one row: each column is a line."""
    build = ModelBuilder()
    for depth, padding in ((4, SAME), (5, VALID), (5, SAME), (24, SAME)):
        convolution(build, (2, 3, 19, depth), 8, (1, 3), (1, 2), (1, 4), padding, slope=3e-3)
    convolution(build, (1, 1, 40, 40), 4, (1, 5), (1, 1), (1, 2), slope=3e-3)
    scaled(check_kernel(build, "widened_v6m"), WIDENED)


def test_lines_of_inputs(golden: Golden) -> None:
    """From one input to more than are printed one after another, odd ones too, with a loop and without."""
    build = ModelBuilder()
    for depth in (1, 2, 9, 16, 17):
        pointwise(build, (1, 2, 4, depth), 5, slope=0.02 / np.sqrt(depth))
        convolution(build, (1, 4, 3, depth), 4, (2, 2), padding=SAME, slope=0.02 / np.sqrt(depth))
    convolution(build, (1, 4, 4, 40), 4, (2, 3), padding=SAME, slope=0.002)
    scaled(check_kernel(build, "widened_v6m"), WIDENED)
    check_model(build.finish(), golden)


@pytest.mark.parametrize("y_zero", [-128, 3])
def test_short_windows(y_zero: int) -> None:
    """All inputs printed one after another, up to 48: lines of one and more, pairs in two lines, one input alone."""
    build = ModelBuilder(np.random.default_rng(6))
    windows = ((3, 3, 3), (3, 3, 1), (5, 2, 1), (4, 1, 1), (2, 5, 1), (4, 4, 3), (2, 1, 5), (7, 7, 1))
    for height, width, depth in windows:
        shape, numbers = (2, 9, 8, depth), {"y_zero": y_zero, "x_zero": 3, "slope": slope(height * width * depth)}
        convolution(build, shape, 6, (height, width), (1 + height % 2, 1), padding=SAME, **numbers)
    net = layers(build.finish(), "pico").of_variant({"conv_2d": "widened_v6m"})
    found = {choice.kernel.values["short"] and choice.kernel.values["short"]["inputs"] for choice in net.choices}
    assert found - {48} == {27, 9, 10, 4, None}  # 48 where scaling needs no bounds
    assert not differing(net, placed(net, lambda choice, rule: None), 4, emulated=True)
    assert not differing(net, placed(net, lambda choice, rule: None), 4, emulated=False)


def test_a_single_column() -> None:
    """Outputs below one another are walked like a row; columns between them that no window reads are left out."""
    build = ModelBuilder()
    convolution(build, (1, 20, 3, 2), 8, (3, 3), padding=VALID)
    convolution(build, (1, 14, 1, 5), 8, (2, 1), (2, 1))
    convolution(build, (1, 90, 1, 40), 4, (4, 1))
    convolution(build, (1, 90, 1, 41), 4, (3, 1), padding=VALID)
    convolution(build, (2, 13, 11, 5), 8, (1, 1), (2, 3))
    convolution(build, (1, 13, 11, 5), 8, (1, 3), (3, 2))
    scaled(check_kernel(build, "widened_v6m"), WIDENED)


def test_sums_of_many_bits() -> None:
    """Beyond what two multiplications of 32 bits take, sums are clamped to those between which outputs differ."""
    build = ModelBuilder(np.random.default_rng(5))
    for y_zero in (-128, 3):
        pointwise(build, (1, 3, 3, 20), 12, y_zero=y_zero, slope=0.003)
        pointwise(build, (1, 3, 3, 600), 8, y_zero=y_zero, slope=0.001)
        pointwise(build, (1, 3, 3, 600), 8, RELU6, y_zero=y_zero, slope=0.002)
    forms = scaled(check_kernel(build, "widened_v6m", samples=8), WIDENED)
    assert set(forms) == {"line", "kink", "bounded line", "bounded kink"}


@pytest.mark.parametrize("weight", [-127, 127])
@pytest.mark.parametrize("x_zero", [-128, 0, 127])
def test_weights_and_inputs_at_their_ends(weight: int, x_zero: int) -> None:
    """Lanes that are as full as they can be: the samples hold the extremes of int8."""
    build = ModelBuilder()
    bias = [2**18, -(2**18), 0, 1000, -1000, 40000]
    signs = np.sign(build.rng.integers(0, 2, (6, 1, 1, 64)) - 0.5).astype(int)
    for data in (weight, weight * signs, np.where(signs > 0, weight, -128 * (np.arange(64) % 2 == 0))):
        for y_zero in (-128, 5):
            pointwise(build, (1, 3, 2, 64), 6, y_zero=y_zero, weights=data, bias=bias, slope=1e-3, x_zero=x_zero)
    functions = check_kernel(build, "widened_v6m", samples=6).program.functions
    assert WIDENED in {function.template for function in functions}


def test_numerics() -> None:
    """The other profile rounds convolutions the same way."""
    build = ModelBuilder()
    convolution(build, (1, 6, 6, 5), 8, y_zero=4)
    scaled(check(build, numerics=Numerics.TFLM), WIDENED)


@pytest.fixture
def unchained(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chains of pixels, which take 1x1 convolutions otherwise."""
    monkeypatch.setattr(pointwise_chain_v6m, "pays", lambda context: False)


@pytest.mark.usefixtures("unchained")
def test_more_inputs_at_a_time_where_there_is_room() -> None:
    """For the least time weights are spread for more outputs; for speed 8 kB of inputs are enough.

    They are too where filling more scratch with the zero point takes longer than spreading few weights again.
    """
    build = ModelBuilder()
    pointwise(build, (1, 20, 20, 32), 16)
    pointwise(build, (1, 4, 4, 32), 16)
    convolution(build, (1, 42, 42, 3), 8, stride=(2, 2))
    data, board = build.finish(), target.load("pico")
    net = Model("net.tflite", data, tflite.read(data, "net.tflite"))
    fastest = compile_model(net, board, optimize=Optimize.FASTEST)
    assert [choice.variant.name for choice in fastest.choices if choice] == [
        "widened_large_v6m",
        "widened_v6m",
        "widened_v6m",
    ]
    assert fastest.plan.arena_bytes > compile_model(net, board).plan.arena_bytes
    verdict = verify(fastest, random_samples(fastest.model.graph, 2), interpreter=False, board=board)
    assert verdict.difference is None, str(verdict.difference)


def test_few_outputs_take_the_other_kernel() -> None:
    """Below six, spreading weights costs more than it saves; below four where there are many."""
    for outputs, depth, filters in ((6, 9, 8), (4, 256, 128)):
        build, other = ModelBuilder(), ModelBuilder()
        pointwise(build, (1, 1, outputs, depth), filters)
        pointwise(other, (1, 1, outputs - 1, depth), filters)
        scaled(check(build), WIDENED)
        scaled(check(other), MATRIX)


@pytest.mark.usefixtures("unchained")
def test_layers_of_all_shapes_share_a_kernel() -> None:
    build = ModelBuilder()
    for depth in (3, 16, 40):
        pointwise(build, (1, 4, 4, depth), 16, RELU, slope=0.0005, y_zero=-128)
        convolution(build, (1, 6, 6, depth), 8, (1, 3), slope=0.0005, y_zero=-128)
    program = compiled(build, "pico").program
    functions = {function.name: function for function in program.functions if function.template == WIDENED}
    forms = {(function.values["bounded"], function.values["kinked"]) for function in functions.values()}
    assert len(functions) == len(forms) < sum(call.function in functions for call in program.calls)


def test_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 3):
        pointwise(build, (1, 3, 3, 600), 8, RELU6, y_zero=y_zero, slope=0.001)
        convolution(build, (2, 5, 6, 3), y_zero=y_zero)
    compiles(build, tmp_path, CROSS[:2])


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    """Scratch included: the C beside the instructions, with poisoned bytes between all buffers."""
    build = ModelBuilder()
    for depth in (3, 8):
        pointwise(build, (2, 5, 7, depth), 6)
        convolution(build, (2, 7, 6, depth), 6)
        convolution(build, (1, 7, 6, depth), 6, (2, 3), (2, 2), padding=VALID)
        depthwise(build, (1, 7, 6, depth))
        depthwise(build, (1, 6, 7, depth), 2)
    check_sanitized(build.finish(), tmp_path, "cortex-m0plus")


def windows(seed: int, pixels: bool) -> Layers:
    """Random layers whose outputs spread over their range, in tiles of some rows."""
    build = ModelBuilder(np.random.default_rng(seed))
    numbers: dict[str, Any] = {"x_zero": 0, "y_zero": 0, "bias": 0}
    for _ in range(8):
        height, width, depth = (int(size) for size in build.rng.integers([4, 3, 1], [10, 10, 9]))
        filters, batches = int(build.rng.integers(4, 12)), build.pick([1, 1, 2])
        if pixels:
            pointwise(build, (batches, height, width, depth), filters, slope=slope(depth), **numbers)
            continue
        window = window_of(build, height, width, "v6m")
        numbers["slope"] = slope(window.kernel[0] * window.kernel[1] * depth)
        shape, padding = (batches, height, width, depth), SAME if window.same else VALID
        convolution(build, shape, filters, window.kernel, window.stride, window.dilation, padding, **numbers)
    if not pixels:
        convolution(build, (2, 5, 12, 4), 6, (1, 3), (1, 1), (1, 3), **{**numbers, "slope": slope(12)})
    return layers(build.finish(), "nucleo_g0b1re")


@pytest.mark.usefixtures("unchained")
@pytest.mark.parametrize(("bytes_", "pixels"), [(256, True), (256, False), (8192, False)])
def test_overlap(bytes_: int, pixels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the rule outputs are equal, one byte beyond they are not: of tiles of any size."""
    monkeypatch.setattr(convolution_widened_v6m, "MOST_CELLS_BYTES", bytes_)
    net = windows(5, pixels)
    assert {choice.variant.name for choice in net.choices} >= {"widened_v6m"}
    assert check_tight(net, samples=12) >= 6


def test_rows() -> None:
    """One row at a time, from rows at any address."""
    build = ModelBuilder(np.random.default_rng(3))
    for _ in range(8):
        height, width, depth = (int(size) for size in build.rng.integers([3, 6, 1], [10, 10, 9]))
        window = window_of(build, height, width, "v6m")
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3])}
        padding, activation = SAME if window.same else VALID, build.pick([NONE, RELU6])
        choice: dict[str, Any] = {**zeros, "activation": activation, "slope": slope(depth)}
        shape = (1, height, width, depth)
        convolution(build, shape, 8, window.kernel, window.stride, window.dilation, padding, **choice)
    convolution(build, (1, 4, 12, 5), 6, (1, 3), (1, 2), (1, 3), slope=3e-3)
    net = layers(build.finish(), "nucleo_g0b1re")
    assert "widened_v6m" in {choice.variant.name for choice in net.choices}
    check_rows(net)
