"""Convolution of chained outputs for the DSP extension: its C on this computer, its instructions in the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_compilers, check_files, forms
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import check_tight, layers
from tests.rows_harness import by_rows, check_rows, rows_of
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_convolution_dsp import TEMPLATE as PAIRS
from tests.test_generated_c import check_sanitized
from tinygen.ops import convolution_chain_dsp

pytestmark = pytest.mark.usefixtures("every_function")

KERNEL = "tg_conv_2d_chain_dsp_s8"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is possible, whether or not it is faster."""
    monkeypatch.setattr(convolution_chain_dsp, "FEWER_CYCLES", 1e9)


def random_layers(seed: int, count: int = 12, batches: tuple[int, ...] = (1,)) -> ModelBuilder:
    """Any window along which four outputs lie, whole words of channels, outputs of one sign and of both."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for _ in range(count):
        kernel = build.pick([(3, 3), (3, 3), (1, 3), (2, 2), tuple(int(size) for size in rng.integers(1, 6, 2))])
        stride = build.pick([(1, 1), (2, 2), tuple(int(step) for step in rng.integers(1, 4, 2))])
        dilation = build.pick([(1, 1), (1, 1), tuple(int(gap) for gap in rng.integers(1, 3, 2))])
        if kernel == (1, 1):
            stride = (1, 2)  # else it is a pointwise convolution
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        height = int(rng.integers(1, 6)) + reach[0]
        width = int(rng.integers(3, 9)) * stride[1] + reach[1]
        y_zero = build.pick([-128, 3, build.random_zero_point()])
        zeros = {"x_zero": build.random_zero_point(), "y_zero": y_zero, "activation": RELU if y_zero == -128 else NONE}
        shape, filters = (build.pick(batches), height, width, build.pick([4, 8, 12])), int(rng.integers(2, 12))
        padding, channel = build.pick([SAME, SAME, VALID]), build.chance(0.7)
        slope = 10 ** rng.uniform(-4, -2)
        convolution(build, shape, filters, kernel, stride, dilation, padding, per_channel=channel, slope=slope, **zeros)
    return build


@pytest.mark.parametrize("board", BOARDS)
def test_random_shapes(board: str, always: None) -> None:
    build = random_layers(BOARDS.index(board), batches=(1, 1, 2))
    assert set(forms(check(build, [board]), KERNEL)) == {"line", "roundings"}


@pytest.mark.parametrize(
    ("shape", "filters", "stride"),
    [
        ((1, 4, 32, 16), 16, 1),
        ((1, 5, 16, 32), 32, 1),
        ((1, 8, 8, 64), 12, 1),
        ((1, 6, 32, 16), 32, 2),
        ((1, 5, 16, 32), 13, 2),
        ((1, 5, 15, 8), 8, 1),
    ],
)
def test_shapes_of_real_networks(shape: tuple[int, ...], filters: int, stride: int) -> None:
    """The kernel of choice, whole and by rows."""
    build = ModelBuilder()
    for y_zero in (-128, 3):
        activation = RELU if y_zero == -128 else NONE
        steps = (stride, stride)
        convolution(build, shape, filters, (3, 3), steps, (1, 1), SAME, activation, 17, y_zero, slope=0.002)
    check(build, samples=1)
    net = layers(build.finish(), BOARDS[0])
    assert [choice.variant.name for choice in net.choices] == ["chain_dsp"] * 2
    check_rows(net, samples=1)


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_weights_and_inputs_at_their_ends(weight: int, zero_point: int, always: None) -> None:
    """A -128 beside any other: byte pairs have no such channels."""
    build = ModelBuilder()
    for y_zero in (-128, 0, 127):
        convolution(build, (1, 3, 5, 8), 5, x_zero=zero_point, y_zero=y_zero, weights=weight, slope=1e-4)
    forms(check(build), KERNEL)


def test_windows_along_the_height(always: None) -> None:
    """Where the width has fewer than four outputs: rows are computed by byte pairs, two outputs by four channels."""
    build = ModelBuilder()
    for shape, kernel, stride in (((1, 9, 2, 8), (3, 1), (1, 1)), ((1, 12, 3, 4), (3, 3), (2, 1))):
        convolution(build, shape, 6, kernel, stride)
    result = check(build, BOARDS[:2])
    forms(result, KERNEL)
    assert all(function.values["turned"] for function in result.program.functions)
    net = layers(build.finish(), BOARDS[0])
    assert {form.template for form in rows_of(net)} == {PAIRS} and all(form.extra_cycles > 0 for form in rows_of(net))
    check_rows(net)


@pytest.mark.parametrize("seed", [3, 4])
def test_rows(seed: int, always: None) -> None:
    """Every window, its rows anywhere."""
    net = layers(random_layers(seed, 10).finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {"chain_dsp"}
    check_rows(net)


def test_every_word_of_a_loop(always: None) -> None:
    """Rounds of two words to six."""
    build = ModelBuilder()
    for depth, kernel in (
        (4, (1, 2)),
        (8, (3, 3)),
        (20, (3, 3)),
        (36, (2, 2)),
        (28, (1, 5)),
        (40, (3, 3)),
        (8, (1, 3)),
    ):
        convolution(build, (1, 3, 6, depth), 4, kernel, slope=0.001)
    functions = check(build, samples=1).program.functions
    assert {function.values["words_a_round"] for function in functions} == {2, 4, 6}


def test_layers_with_the_same_window_share_a_function() -> None:
    """Of any size and zero points, whole or by rows."""
    build = ModelBuilder()
    for zero, shape, filters in ((-128, (1, 4, 32, 16), 16), (3, (1, 5, 16, 32), 31), (7, (1, 8, 8, 64), 12)):
        convolution(build, shape, filters, x_zero=zero, y_zero=zero // 2, slope=0.001, scale_spread=3.0)
    whole, rows = check(build, samples=1), by_rows(layers(build.finish(), BOARDS[0]))
    assert set(forms(whole, KERNEL)) == {"roundings"}
    assert len(whole.program.functions) == len(rows.program.functions) == 1


def test_two_roundings_in_place_of_one_multiplication(always: None) -> None:
    """What layers of all scalings can share: whole, by rows, and over its input."""
    net = layers(random_layers(8, 10).finish(), BOARDS[0])
    assert "line" in {choice.kernel.values["finish"]["form"] for choice in net.choices}
    shared = net.of_variant({"conv_2d": "chain_shared_dsp"})
    finishes = [choice.kernel.values["finish"] for choice in shared.choices]
    assert all(finish["form"] == "roundings" and finish["shift"] is None for finish in finishes)
    check_rows(shared)
    assert check_tight(shared, samples=12) >= 4


def test_far_columns(always: None) -> None:
    """Beyond what a load of byte pairs reaches."""
    build = ModelBuilder()
    convolution(build, (1, 3, 26, 400), 6, (1, 2), (1, 6), slope=0.0005)
    forms(check(build, samples=1), KERNEL)


@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_one_shift_or_one_for_each_channel(spread: float, always: None) -> None:
    build = ModelBuilder(np.random.default_rng(5))
    for y_zero in (-1, 0):
        for slope in (0.001, 0.003, 0.005):
            convolution(build, (1, 3, 5, 8), 7, y_zero=y_zero, slope=slope, scale_spread=spread)
    finishes = [function.values["finish"] for function in check(build, samples=6).program.functions]
    one_shift = [finish["shift"] is not None for finish in finishes if finish["form"] == "roundings"]
    assert one_shift and (any(one_shift) if spread < 2 else not any(one_shift))


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (1, 4, 8, 6)},
        {"shape": (1, 3, 3, 8)},
        {"activation": RELU6, "slope": 0.01},
        {"groups": 2, "filters": 8},
        {"filters": 1},
    ],
    ids=["half a word", "three outputs", "limits", "groups", "one filter"],
)
def test_what_it_does_not_cover(options: dict[str, Any], always: None) -> None:
    build = ModelBuilder()
    convolution(build, **{"shape": (1, 4, 9, 8), "filters": 6, **options})
    result = check(build, samples=1)
    assert not any(call.function.startswith(KERNEL) for call in result.program.calls)


def test_byte_pairs_where_they_leave_fewer_outputs_over() -> None:
    build = ModelBuilder()
    convolution(build, (1, 9, 6, 8), 8)
    functions = {function.template for function in check(build, samples=1).program.functions}
    assert functions == {PAIRS}


def test_nothing_outside_its_buffers(tmp_path: Path, always: None) -> None:
    """Scratch included: the C beside the instructions, with poisoned bytes between all buffers."""
    build = random_layers(9, 8, batches=(1, 2))
    convolution(build, (1, 4, 5, 8), 5, (5, 5), x_zero=3)
    check_sanitized(build.finish(), tmp_path, "cortex-m4f")


def test_every_compiler(tmp_path: Path, always: None) -> None:
    build = ModelBuilder()
    for spread in (1.0, 30.0):
        for zero in (-128, 0):
            convolution(build, (2, 5, 9, 16), 5, y_zero=zero, scale_spread=spread)
    convolution(build, (1, 5, 18, 36), 6, (3, 3), (2, 2))
    check_compilers(build, tmp_path)


def test_compilers_of_rows(tmp_path: Path, always: None) -> None:
    build = ModelBuilder()
    for stride in (1, 2):
        convolution(build, (1, 5, 16, 8), 5, stride=(stride, stride), slope=0.001)
    net = layers(build.finish(), BOARDS[0])
    check_files(by_rows(net), tmp_path, ("-O2", "-Os"))


def test_over_its_input(always: None) -> None:
    """Four outputs are written behind all that lies under them: safe at the bound, wrong one byte beyond."""
    net = layers(random_layers(6, 8, batches=(1, 2)).finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {"chain_dsp"}
    assert check_tight(net, samples=12) >= 6
