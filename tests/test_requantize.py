from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tinygen import quant, requantize
from tinygen.ir import Array
from tinygen.ops import real_scale
from tinygen.quant import INT32_MAX
from tinygen.requantize import Line, Roundings, Steps

NEAR = 3
"""Sums around each step that are checked one by one."""
Stored = Callable[[Array], Array]
"""Sums [n, channels] -> what the reference stores."""


class Layer:
    """Random channels of a layer under two roundings: weights, bias, scales."""

    def __init__(self, seed: int, zero_point: int, limits: tuple[int, int] = (-128, 127), inputs: int = 32) -> None:
        rng = np.random.default_rng(seed)
        channels = 40
        self.rng, self.zero_point, self.limits = rng, zero_point, limits
        weights = rng.integers(-128, 128, (channels, inputs)) // rng.choice([1, 2, 4, 32], (channels, 1))
        weights[0], weights[1], weights[2] = 0, -128, 127
        self.sums = requantize.sum_range(weights)
        self.bias = rng.integers(-20000, 20000, channels)
        scales = np.exp(rng.uniform(np.log(2e-4), np.log(5e-3), channels))
        self.multiplier, self.shift = quant.quantize_multipliers(scales)

    def stored(self, sums: Array) -> Array:
        """What the reference stores for sums [n, channels]."""
        scaled = quant.requantize(sums + self.bias, self.multiplier, self.shift)
        limited: Array = np.clip(scaled + self.zero_point, *self.limits)
        return limited

    def steps(self) -> Steps:
        """The steps of that."""
        return requantize.two_roundings(self.multiplier, self.shift, self.bias, self.sums, self.zero_point, self.limits)


def check(found: Line | Roundings, stored: Stored, steps: Steps, limits: tuple[int, int]) -> None:
    """Equal at every sum near a step, at both ends, and at random ones between."""
    near = (steps.first[:, :, None] + np.arange(-NEAR, NEAR + 1)).reshape(len(steps.first), -1).T
    between = np.linspace(0, 1, 5000)[:, None] * (steps.most - steps.least) + steps.least
    for sums in (near, between.astype(np.int64)):
        sums = np.clip(sums, steps.least, steps.most)
        np.testing.assert_array_equal(np.clip(found.stored(sums), *limits), stored(sums))


def test_sum_range() -> None:
    least, most = requantize.sum_range(np.array([[[1, -2]], [[-128, 0]]], np.int8))
    assert least.tolist() == [-128 - 254, -128 * 127] and most.tolist() == [127 + 256, 128 * 128]


@pytest.mark.parametrize("zero_point", [-128, 0, 127])
def test_steps_are_where_the_reference_steps(zero_point: int) -> None:
    """Exhaustively: every sum of narrow channels."""
    layer = Layer(1, zero_point, inputs=2)
    steps = layer.steps()
    for channel, (least, most) in enumerate(zip(*layer.sums, strict=True)):
        sums = np.arange(least, most + 1)
        scaled = quant.requantize(sums + layer.bias[channel], layer.multiplier[channel], layer.shift[channel])
        stored = quant.saturate(scaled + zero_point)
        counted = (sums[:, None] >= steps.first[channel]).sum(axis=1) - 128
        np.testing.assert_array_equal(stored, counted)
    assert steps.levels.tolist() == list(range(-127, 128))


@pytest.mark.parametrize("left", [8, 10])
@pytest.mark.parametrize("seed", range(4))
def test_one_line_for_outputs_of_one_sign(seed: int, left: int) -> None:
    layer = Layer(seed, -128)
    found = requantize.line(layer.steps(), left)
    assert found is not None and found.addend == -128 << found.shift and set(found.left) == {left}
    check(found, layer.stored, layer.steps(), layer.limits)


def test_a_line_for_limits_above_the_zero_point() -> None:
    layer = Layer(5, -60, (-60, 90))
    found = requantize.line(layer.steps(), 9)
    assert found is not None
    check(found, layer.stored, layer.steps(), layer.limits)
    assert found.stored(layer.sums[0][None]).min() < -60, "the limits are the caller's"


def test_every_sum_of_a_line() -> None:
    """Exhaustively: all sums that 3 weights can make."""
    layer = Layer(6, -128, inputs=3)
    found = requantize.line(layer.steps(), 8)
    assert found is not None
    sums = np.arange(layer.sums[0].min(), layer.sums[1].max() + 1)[:, None]
    sums = np.clip(sums, *layer.sums)
    np.testing.assert_array_equal(found.stored(sums), layer.stored(sums))


def test_no_line_for_outputs_of_both_signs() -> None:
    """Halves away from zero: negative outputs step one unit of the first rounding later."""
    assert requantize.line(Layer(7, 3).steps(), 8) is None


def test_no_line_without_room_to_shift() -> None:
    layer = Layer(8, -128)
    assert requantize.line(layer.steps(), 4) is None, "too few places for the offset"
    assert requantize.line(layer.steps(), 12) is None, "a sum leaves 32 bits"


def test_a_line_per_channel_of_its_own_shift() -> None:
    layer = Layer(9, -128)
    left = np.resize([9, 8], len(layer.bias))
    found = requantize.line(layer.steps(), left)
    assert found is not None
    np.testing.assert_array_equal(found.left, left)
    check(found, layer.stored, layer.steps(), layer.limits)


def test_channels_that_never_step() -> None:
    """Constants at, above and beyond the limits; one with a scale that all others would have to make room for."""
    layer = Layer(10, -128)
    for end in layer.sums:
        end[:6] = 0
    layer.bias[:6] = [0, 5000, 100000, -100000, 2**29, -(2**29)]
    layer.multiplier[:6], layer.shift[:6] = 2**30, [-31, -9, 0, 0, -25, -25]
    layer.multiplier[0] = 0
    found = requantize.line(layer.steps(), 8)
    assert found is not None
    assert len(np.unique(layer.stored(layer.sums[0][None])[0, :6])) > 3
    check(found, layer.stored, layer.steps(), layer.limits)


def test_channels_that_hardly_step() -> None:
    """Biases far outside the range of the sums: a line as steep as the scale leaves 32 bits, a steeper one does not."""
    layer = Layer(11, -128, inputs=2)
    layer.bias[:4], layer.shift[:4] = [2**24, -(2**24), 2**24 + 12345, 2**23 + 2**22], -17
    found = requantize.line(layer.steps(), 8)
    assert found is not None
    assert np.all(found.multiplier[:4] > np.ldexp(layer.steps().slopes[:4], 32 + found.shift - 8))
    check(found, layer.stored, layer.steps(), layer.limits)


def test_no_line_with_a_bias_out_of_reach() -> None:
    layer = Layer(11, -128)
    layer.bias[4], layer.shift[4] = 2**29, -21
    assert requantize.line(layer.steps(), 8) is None


@pytest.mark.parametrize("zero_point", [-128, -7, 0, 127])
@pytest.mark.parametrize("limits", [(-128, 127), (-7, 100)])
def test_single_rounding_in_float64(zero_point: int, limits: tuple[int, int]) -> None:
    """The reference's FULLY_CONNECTED has no bend at zero: outputs of both signs have a line too."""
    layer = Layer(12, zero_point, limits)
    scales = np.ldexp(layer.multiplier.astype(np.float64), layer.shift - 31)

    def stored(sums: Array) -> Array:
        limited: Array = np.clip(real_scale.scaled(sums + layer.bias, scales) + zero_point, *limits)
        return limited

    def scaled(totals: Array) -> Array:
        return real_scale.scaled(totals, scales[:, None])

    steps = requantize.steps(scaled, scales, layer.bias, layer.sums, zero_point, limits)
    found = requantize.line(steps, 8)
    assert found is not None
    check(found, stored, steps, limits)


@pytest.mark.parametrize("zero_point", [-128, 96])
def test_one_multiplier_for_all_channels(zero_point: int) -> None:
    """Channels of one scale, outputs of both signs under one rounding."""
    layer = Layer(14, zero_point)
    scales = np.full(40, 0.00123)

    def scaled(totals: Array) -> Array:
        return real_scale.scaled(totals, scales[0])

    def stored(sums: Array) -> Array:
        limited: Array = np.clip(real_scale.scaled(sums + layer.bias, scales) + zero_point, -128, 127)
        return limited

    steps = requantize.steps(scaled, scales, layer.bias, layer.sums, zero_point, layer.limits)
    found = requantize.line(steps, 8, shared=True)
    assert found is not None and len(np.unique(found.multiplier)) == 1
    check(found, stored, steps, layer.limits)


def test_no_multiplier_for_channels_of_different_scales() -> None:
    steps = Layer(15, -128).steps()
    assert requantize.line(steps, 8) is not None
    assert requantize.line(steps, 8, shared=True) is None


@pytest.mark.parametrize("zero_point", [-128, -1, 0, 127])
@pytest.mark.parametrize("seed", range(20, 23))
def test_roundings(seed: int, zero_point: int) -> None:
    layer = Layer(seed, zero_point)
    found = requantize.roundings(layer.multiplier, layer.shift, layer.bias, layer.sums, zero_point)
    assert found is not None
    check(found, layer.stored, layer.steps(), layer.limits)


def test_roundings_for_every_small_sum() -> None:
    """Exhaustively, ties of both signs included: multipliers that are powers of two."""
    shifts = -np.arange(1, 21)
    sums = np.full(20, -5000), np.full(20, 5000)
    multiplier, bias = np.full(20, 2**30), np.zeros(20, np.int64)
    found = requantize.roundings(multiplier, shifts, bias, sums, 5)
    assert found is not None
    every = np.arange(-5000, 5001)[:, None].repeat(20, axis=1)
    expected = quant.saturate(quant.requantize(every, multiplier, shifts) + 5)
    np.testing.assert_array_equal(found.stored(every), expected)


def test_no_roundings() -> None:
    one, sums = np.array([2**30]), (np.array([-10]), np.array([10]))

    def possible(shift: int, bias: int = 0) -> bool:
        return requantize.roundings(one, np.array([shift]), np.array([bias]), sums, 0) is not None

    assert possible(-1) and possible(-20)
    assert not possible(0), "no second rounding"
    assert not possible(-21), "the addend takes too many bits"
    assert possible(-9, 2**30 - 11) and not possible(-9, 2**30 - 10), "twice the sum leaves 32 bits"


def test_words_of_a_line_fit_32_bits() -> None:
    for seed in range(30, 34):
        found = requantize.line(Layer(seed, -128).steps(), 8)
        assert found is not None and found.multiplier.dtype == found.offset.dtype == np.int32
        assert found.multiplier.min() >= 1 and abs(found.addend) <= INT32_MAX and 1 <= found.shift <= 20


def test_a_scaling_that_is_not_its_slope_is_refused() -> None:
    layer = Layer(13, -128)
    with pytest.raises(AssertionError, match="GUESS_ERROR"):
        requantize.steps(lambda t: t // 1000, np.full(40, 0.5), layer.bias, layer.sums, -128, (-128, 127))
