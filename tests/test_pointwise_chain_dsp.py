"""1x1 convolutions of chained pixels for the DSP extension: their C on this computer, their code in the emulator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_compilers, check_files, compiled, forms
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import SCRATCH, at_most, check_tight, layers
from tests.rows_harness import by_rows, check_rows, rows_of
from tests.test_pointwise_dsp import KERNEL as ANY
from tests.test_pointwise_dsp import OWN as PAIRS
from tests.test_pointwise_dsp import pointwise
from tinygen import leaner
from tinygen.ops import chains, pointwise_chain_dsp
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden

KERNEL = "tg_conv_2d_pointwise_chain_dsp_s8"


@pytest.fixture(params=["shared", "own"])
def own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether each layer has a function of its own; of more than eight pixels its weights are halfwords."""
    own = bool(request.param == "own")
    monkeypatch.setattr(pointwise_chain_dsp, "OWN_OUTPUTS", 0 if own else 2**30)
    monkeypatch.setattr(pointwise_chain_dsp, "HALFWORDS_FROM", 9)
    monkeypatch.setattr(leaner, "CYCLES_A_BYTE", 0)
    return own


@pytest.mark.parametrize("board", BOARDS)
def test_random_shapes(board: str, own: bool) -> None:
    """Any pixels from four on, inputs and channels, all zero points, outputs of one sign and of both."""
    build = ModelBuilder(np.random.default_rng(BOARDS.index(board)))
    rng = build.rng
    for _ in range(10):
        height, width, depth = (int(size) for size in rng.integers([2, 2, 4], [8, 8, 40]))
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, build.random_zero_point(), 3])}
        slope = 10 ** rng.uniform(-4, -1.7)
        activation = build.pick([NONE, NONE, RELU])
        shape, filters = (build.pick([1, 1, 2]), height, width, depth), int(rng.integers(4, 24))
        pointwise(build, shape, filters, activation, slope=slope, per_channel=build.chance(0.7), **zeros)
    pointwise(build, (1, 2, 2, 9), 5, y_zero=3)
    assert set(forms(check(build, [board], samples=2), ANY)) == {"line", "roundings"}


def test_every_number_of_inputs_and_pixels(own: bool) -> None:
    """Steps in rounds, inputs behind the last whole word, pixels that are left, odd channels."""
    build = ModelBuilder()
    for depth in (*range(4, 12), *range(31, 40), 64, 66, 127):
        pixels = (4, 8, 12, 16)[depth % 4] if own else (4, 8, 12, 13, 16, 17)[depth % 6]
        pointwise(build, (1, 1, pixels, depth), 2 + depth % 5, slope=0.01 / np.sqrt(depth))
    result = check(build, samples=2, numerics=Numerics.TFLM)
    assert set(forms(result, KERNEL)) == {"line"}
    sizes = {function.values["inputs"] for function in result.program.functions}
    assert sizes == ({*range(4, 12), *range(31, 40), 64, 66, 127} if own else {None})


def test_layers_of_many_outputs_have_functions_of_their_own() -> None:
    build = ModelBuilder()
    pointwise(build, (1, 48, 48, 8), 16)
    for shape, filters in (((1, 25, 5, 64), 64), ((1, 6, 6, 60), 106), ((1, 4, 4, 25), 31)):
        pointwise(build, shape, filters, slope=0.002)
    functions = [function.values for function in check(build, samples=1).program.functions]
    assert sorted((values["inputs"] or 0, values["halfwords"]) for values in functions) == [(0, False), (8, True)]


@pytest.mark.parametrize("channels", [1364, 1366])
def test_pixels_too_far_apart_for_a_function_of_their_own(own: bool, channels: int) -> None:
    """A store reaches 4,095 bytes."""
    build = ModelBuilder()
    pointwise(build, (1, 1, 4, 4), channels)
    [function] = check(build, samples=1).program.functions
    assert function.values["channels"] == (1364 if own and channels == 1364 else None)


@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_outputs_of_both_signs(spread: float, own: bool) -> None:
    """One shift for the layer, or one for each channel."""
    build = ModelBuilder(np.random.default_rng(5))
    for y_zero in (-127, 0, 127):
        pointwise(build, (1, 3, 3, 9), 10, y_zero=y_zero, slope=0.003, scale_spread=spread)
        pointwise(build, (1, 2, 2, 20), 7, y_zero=y_zero - 1, slope=0.003, scale_spread=spread, x_zero=127)
    result = check(build, samples=6)
    assert "roundings" in forms(result, KERNEL)
    finishes = [function.values["finish"] for function in result.program.functions]
    one_shift = [finish["shift"] is not None for finish in finishes if finish["form"] == "roundings"]
    assert any(one_shift) if spread < 2 else not any(one_shift)


@pytest.mark.parametrize("weight", [-128, 127])
def test_weights_and_biases_at_their_ends(golden: Golden, weight: int) -> None:
    build = ModelBuilder()
    reach = 64 * 128 * 255
    bias = [2**29 - reach, reach - 2**29, 0, 1000, -1000, 40000]
    pointwise(build, (1, 2, 2, 64), 6, weights=weight, bias=bias, slope=1e-3, x_zero=127)
    pointwise(build, (1, 3, 3, 64), 6, weights=weight, slope=1e-3, x_zero=-128)
    result = check(build, samples=4)
    assert set(forms(result, KERNEL)) == {"line"}
    check_model(build.finish(), golden)


def test_zero_filters_and_filters_that_hardly_matter() -> None:
    build = ModelBuilder()
    weights = build.rng.integers(-128, 128, (8, 1, 1, 24))
    weights[:4], weights[4] = 0, np.eye(24)[3]
    bias = [0, 3000, 400000, -400000, 30000, 0, 0, 5]
    pointwise(build, (1, 3, 3, 24), weights=weights, bias=bias, scale_spread=100.0)
    pointwise(build, (1, 3, 3, 24), y_zero=-100, weights=weights, bias=bias, scale_spread=100.0)
    check(build, samples=3)


def test_the_largest_sums() -> None:
    """256 times a sum fills 32 bits; more, and plain C takes the layer."""
    build, other = ModelBuilder(), ModelBuilder()
    pointwise(build, (1, 1, 4, 510), 2, x_zero=0, weights=127, slope=1e-4)
    assert forms(check(build, samples=2), KERNEL) == ["line"]
    pointwise(other, (1, 1, 4, 517), 4, weights=127, slope=1e-4)
    assert not any(KERNEL in call.function for call in compiled(other).program.calls)


def test_what_is_left_to_pairs_of_pixels() -> None:
    """Fewer than four pixels, three behind four, fewer than four inputs, limits inside the range."""
    build = ModelBuilder()
    for pixels in (2, 3, 7):
        pointwise(build, (1, 1, pixels, 16), 8)
    pointwise(build, (1, 2, 2, 3), 8)
    pointwise(build, (1, 2, 2, 8), 8, RELU6, slope=0.01)
    names = {call.function.rpartition("_")[0] for call in check(build, samples=1).program.calls}
    assert names == {PAIRS}


def test_equal_ways_to_store_share_a_kernel() -> None:
    build = ModelBuilder()
    for depth in (8, 9, 16, 33):
        pointwise(build, (1, 4, 5, depth), 16, slope=0.01 / np.sqrt(depth))
    functions = check(build, samples=1).program.functions
    assert len(functions) == len({str(function.values["finish"]) for function in functions}) <= 2


def test_chained_sums_come_apart() -> None:
    """The arithmetic of ops/chains.py for sums of 24 bits, wherever they start."""
    rng = np.random.default_rng(1)
    ends = [-(2**23), 2**23 - 1]
    sums = np.concatenate([rng.integers(ends[0], ends[1], (1000, 4)), rng.choice([*ends, 0, -1], (1000, 4))])
    chained = (sums[:, :3] + (sums[:, 1:] << chains.SHIFT)).astype(np.uint32)
    first = chained[:, 0] - (chained[:, 1] << np.uint32(8)) + (chained[:, 2] << np.uint32(16))
    found = [(first << np.uint32(8)).view(np.int32)]
    for link in chained.T:
        found.append((link - (found[-1] >> chains.SHIFT).view(np.uint32)).view(np.int32))
    np.testing.assert_array_equal(np.stack(found, axis=1), sums << chains.SHIFT)


@pytest.fixture(scope="module")
def fives() -> ModelBuilder:
    """Layers whose rows are computed by five pixels: any inputs, odd channels, a pixel left, both ways to store."""
    build = ModelBuilder(np.random.default_rng(7))
    for width, depth, filters in ((5, 64, 16), (5, 33, 7), (10, 34, 4), (15, 35, 9), (26, 66, 8), (5, 4, 2)):
        pointwise(build, (1, 4, width, depth), filters, slope=0.01 / np.sqrt(depth))
    pointwise(build, (1, 4, 5, 20), 8, y_zero=3, slope=0.003, scale_spread=1.0)
    return build


def test_rows_of_five_pixels(fives: ModelBuilder) -> None:
    """Pairs of pixels are there as rows with less scratch."""
    net = layers(fives.finish(), BOARDS[0])
    rows = rows_of(net)
    assert [form.kernel.values.get("outputs") for form in rows] == [5] * 7
    small = [form.small for form in rows if form.small]
    assert [form.kernel.values.get("outputs") for form in small] == [None] * 6
    scratch = [form.small.kernel.scratch_bytes < form.kernel.scratch_bytes for form in rows if form.small]
    assert all(scratch) and all(form.extra_cycles > 0 for form in small)
    check_rows(net)


def test_compilers_of_five_pixels(fives: ModelBuilder, tmp_path: Path) -> None:
    check_files(by_rows(layers(fives.finish(), BOARDS[0])), tmp_path, ("-O0", "-O2", "-Os"))


def test_one_shift_for_each_channel_by_two_pixels() -> None:
    """Rows of five pixels have none: these layers' rows are computed by pairs."""
    build = ModelBuilder(np.random.default_rng(5))
    pointwise(build, (1, 4, 5, 20), 7, y_zero=0, slope=0.003, scale_spread=40.0)
    net = layers(build.finish(), BOARDS[0])
    assert [form.kernel.values.get("outputs") for form in rows_of(net)] == [None]
    check_rows(net, samples=2)


def test_compilers(tmp_path: Path, own: bool) -> None:
    build = ModelBuilder()
    pointwise(build, (1, 5, 5, 67), 9)
    pointwise(build, (1, 4, 4, 16), 8)
    pointwise(build, (1, 5, 5, 16), 8, y_zero=3, slope=0.001, scale_spread=9.0)
    pointwise(build, (1, 5, 5, 16), 8, y_zero=3, slope=0.001, scale_spread=1.0)
    names = {function.name.rpartition("_")[0] for function in compiled(build).program.functions}
    assert names == {KERNEL}
    check_compilers(build, tmp_path)


@pytest.mark.parametrize("pixels", [4, 5])
def test_scratch_may_lie_over_the_input_of_a_single_chain(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole layer of four pixels, and a row of five."""
    monkeypatch.setattr(pointwise_chain_dsp, "FEWER_CYCLES", 0)
    build = ModelBuilder(np.random.default_rng(pixels))
    for depth, filters in ((4, 6), (8, 4), (20, 12), (64, 16)):
        pointwise(build, (1, 1, pixels, depth), filters, slope=0.01 / np.sqrt(depth))
    net = layers(build.finish(), BOARDS[0]).of_variant({"conv_2d": "pointwise_chain_dsp"})
    if pixels == chains.MOST_OUTPUTS:
        of_rows = [pointwise_chain_dsp.rows(choice.context) for choice in net.choices]
        kernels = [rows.kernel for rows in of_rows if rows and rows.template == pointwise_chain_dsp.TEMPLATE]
        net = replace(net, choices=tuple(replace(c, kernel=k) for c, k in zip(net.choices, kernels, strict=True)))
    bounds = [rule.most for choice in net.choices for rule in choice.kernel.scratch_overlaps]
    assert len(bounds) == 4 and bounds[-1] == {4: -300, 5: -420}[pixels]
    assert check_tight(net, output=SCRATCH, distances=[at_most]) >= 3


def test_scratch_lies_apart_from_what_several_chains_read() -> None:
    build = ModelBuilder()
    pointwise(build, (1, 1, 8, 16), 8, slope=0.002)
    pointwise(build, (1, 1, 4, 18), 8, slope=0.002)
    net = layers(build.finish(), BOARDS[0]).of_variant({"conv_2d": "pointwise_chain_dsp"})
    assert [choice.kernel.scratch_overlaps for choice in net.choices] == [(), ()]
