"""1x1 convolutions for cores with the DSP extension: their C on this computer, their instructions in the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_compilers, compiled, forms
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tinygen.ops import convolution_chain_dsp, pointwise_chain_dsp
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden

KERNEL = "tg_conv_2d_pointwise_"
OWN = "tg_conv_2d_pointwise_dsp_s8"


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No layer has a kernel of chained pixels."""
    monkeypatch.setattr(pointwise_chain_dsp, "LEAST_INPUTS", 1 << 30)
    monkeypatch.setattr(convolution_chain_dsp, "FEWER_CYCLES", 0.0)


def pointwise(
    build: ModelBuilder,
    shape: Sequence[int] = (1, 3, 3, 8),
    filters: int = 8,
    activation: int = NONE,
    x_zero: int = -128,
    y_zero: int = -128,
    slope: float = 0.005,
    weights: Any = None,
    bias: Any = None,
    per_channel: bool = True,
    scale_spread: float = 4.0,
) -> None:
    """One convolution of an input of its own; `slope` is about the output's steps for each unit of a sum."""
    count = filters if per_channel else 1
    scales = 0.01 * scale_spread ** build.rng.uniform(-1, 1, count)
    x = build.input(shape, "int8", 0.05, x_zero)
    data = build.rng.integers(-127, 128, (filters, 1, 1, shape[3])) if weights is None else weights
    w = build.constant(np.broadcast_to(data, (filters, 1, 1, shape[3])), "int8", scales, [0] * count)
    values = build.rng.integers(-20000, 20000, filters) if bias is None else np.broadcast_to(bias, filters)
    b = build.constant(values, "int32", np.float32(0.05) * scales.astype(np.float32), [0] * count)
    y = build.tensor((*shape[:3], filters), "int8", 0.05 * 0.01 / slope, y_zero)
    build.op("CONV_2D", [x, w, b], [y], "Conv2D", strideH=1, strideW=1, fusedActivationFunction=activation)


def others(build: ModelBuilder) -> None:
    """No layer of the model has the kernel."""
    names = [call.function for call in compiled(build).program.calls]
    assert names and not any("dsp" in name for name in names), names


@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize("board", BOARDS)
def test_random_shapes(board: str) -> None:
    """Any pixels, inputs and channels, all zero points, outputs of one sign and of both, limits inside the range."""
    build = ModelBuilder(np.random.default_rng(BOARDS.index(board)))
    rng = build.rng
    for _ in range(16):
        height, width, depth = (int(size) for size in rng.integers(1, [8, 8, 40]))
        shape = build.pick([1, 1, 2]), height, width + (height == 1), depth
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, build.random_zero_point(), 3])}
        choice = {"activation": build.pick([NONE, NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -1.7)}
        pointwise(build, shape, int(rng.integers(4, 24)), per_channel=build.chance(0.7), **choice, **zeros)
    pointwise(build, (1, 2, 2, 9), 5, y_zero=3)
    assert set(forms(check(build, [board]), KERNEL)) == {"line", "roundings"}


@pytest.mark.usefixtures("pairs")
def test_every_number_of_inputs() -> None:
    """Steps, rounds of steps, those behind, inputs behind the last whole word."""
    build = ModelBuilder()
    for depth in (*range(1, 10), 31, 32, 33, 34, 64, 67):
        pointwise(build, (1, 1, 2, depth), 4, slope=0.01 / np.sqrt(depth))
    for depth in (64, 66, 96, 127):
        pointwise(build, (1, 16, 16, depth), 4, slope=0.01 / np.sqrt(depth))
    result = check(build, samples=2, numerics=Numerics.TFLM)
    assert set(forms(result, KERNEL)) == {"line"}
    values = [function.values for function in result.program.functions]
    rounds = {(v["rounds"], v["steps_a_round"], v["steps_behind"]) for v in values}
    assert rounds >= {(1, 0, 0), (1, 1, 0), (4, 3, 3), (4, 4, 0), (2, 15, 1), (2, 16, 0), (4, 15, 3)}


@pytest.mark.usefixtures("pairs")
def test_shapes_of_real_networks() -> None:
    build = ModelBuilder()
    for shape, filters in (((1, 25, 5, 64), 64), ((1, 48, 48, 8), 16), ((1, 3, 3, 256), 256), ((1, 6, 6, 72), 12)):
        pointwise(build, shape, filters, RELU6, slope=0.002)
    assert set(forms(check(build, samples=2), KERNEL)) == {"line"}


@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize("spread", [1.0, 1.2, 40.0])
def test_outputs_of_both_signs(spread: float) -> None:
    """One shift for the layer, or one for each channel."""
    build = ModelBuilder(np.random.default_rng(5))
    for y_zero in (-127, -3, 0, 127):
        pointwise(build, (1, 3, 3, 9), 10, y_zero=y_zero, slope=0.003, scale_spread=spread)
        pointwise(build, (1, 2, 2, 20), 7, RELU6, y_zero=y_zero - 1, slope=0.003, scale_spread=spread, x_zero=127)
    result = check(build, samples=8)
    assert "roundings" in forms(result, KERNEL)
    finishes = [function.values["finish"] for function in result.program.functions]
    one_shift = [finish["shift"] is not None for finish in finishes if finish["form"] == "roundings"]
    assert any(one_shift) if spread < 2 else not any(one_shift)


@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize("weight", [-127, 127])
def test_weights_and_biases_at_their_ends(golden: Golden, weight: int) -> None:
    """The bias of a channel that is always at a limit, and those on whose account a sum can have 32 bits."""
    build = ModelBuilder()
    reach = 64 * 128 * 255
    bias = [2**29 - reach, reach - 2**29, 0, 1000, -1000, 40000]
    pointwise(build, (1, 2, 2, 64), 6, weights=weight, bias=bias, slope=1e-3, x_zero=127)
    pointwise(build, (1, 2, 2, 64), 6, y_zero=5, weights=weight, bias=bias, slope=1e-3)
    check(build, samples=4)
    check_model(build.finish(), golden)


@pytest.mark.usefixtures("pairs")
def test_least_weights() -> None:
    """-128 may be an even channel's, or an odd one's beside a weight that is not negative; else plain C takes over."""
    build, other = ModelBuilder(), ModelBuilder()
    even = build.rng.integers(-127, 128, (8, 1, 1, 12))
    even[::2] = -128
    pointwise(build, (1, 2, 3, 12), weights=even)
    odd = np.full_like(even, -128)
    odd[::2] = np.abs(even[1::2])
    pointwise(build, (1, 2, 3, 12), weights=odd)
    assert set(forms(check(build), KERNEL)) == {"line"}
    odd[0, 0, 0, 3] = -1
    pointwise(other, (1, 2, 3, 12), weights=odd)
    others(other)
    check(other)


@pytest.mark.usefixtures("pairs")
def test_a_sum_that_a_pair_cannot_hold() -> None:
    build, other = ModelBuilder(), ModelBuilder()
    pointwise(build, (1, 1, 2, 510), 4, x_zero=0, weights=127, slope=1e-4)
    assert forms(check(build, samples=1), KERNEL) == ["line"]
    pointwise(other, (1, 1, 2, 517), 4, weights=127, slope=1e-4)
    others(other)


@pytest.mark.usefixtures("pairs")
def test_zero_filters_and_filters_that_hardly_matter() -> None:
    build = ModelBuilder()
    weights = build.rng.integers(-127, 128, (8, 1, 1, 24))
    weights[:4], weights[4] = 0, np.eye(24)[3]
    bias = [0, 3000, 400000, -400000, 30000, 0, 0, 5]
    pointwise(build, (1, 3, 3, 24), weights=weights, bias=bias, scale_spread=100.0)
    pointwise(build, (1, 3, 3, 24), y_zero=-100, weights=weights, bias=bias, scale_spread=100.0)
    check(build, samples=3)


@pytest.mark.usefixtures("pairs")
def test_other_layers_are_left_to_plain_c() -> None:
    """Outputs of both signs beside sums that are scaled up."""
    build = ModelBuilder()
    pointwise(build, (1, 3, 3, 16), 16, y_zero=0, scale_spread=1000.0)
    others(build)
    check(build)


@pytest.mark.usefixtures("pairs")
def test_equal_shapes_share_a_kernel() -> None:
    build = ModelBuilder()
    for _ in range(3):
        pointwise(build, (1, 4, 4, 32), 16, RELU)
    assert len(check(build).program.functions) == 1


@pytest.mark.usefixtures("pairs")
def test_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    pointwise(build, (1, 5, 5, 67), 9, RELU6)
    pointwise(build, (1, 5, 5, 16), 8, y_zero=3, slope=0.001, scale_spread=9.0)
    pointwise(build, (1, 5, 5, 16), 8, y_zero=3, slope=0.001, scale_spread=1.0)
    names = {function.name.rpartition("_")[0] for function in compiled(build).program.functions}
    assert names == {OWN}
    check_compilers(build, tmp_path)
