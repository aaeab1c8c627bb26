"""Lines that bend at zero: equal to two roundings for every sum of a layer, or not found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from tinygen import quant, requantize
from tinygen.ir import Array
from tinygen.ops import bent_line

ENLARGED = 576
CHANNELS = 12
LEAST_SLOPE, MOST_SLOPE = 2**-13, 2**-2.5


@dataclass(frozen=True, eq=False)
class Layer:
    """Channels whose scales are up to eight times the least one."""

    multiplier: Array
    shift: Array
    bias: Array
    reach: int
    """Of sums, both ways."""
    zero_point: int

    @property
    def steps(self) -> requantize.Steps:
        """Of what the reference stores."""
        sums = np.full(CHANNELS, -self.reach), np.full(CHANNELS, self.reach)
        limits = quant.RANGES["int8"]
        return requantize.two_roundings(self.multiplier, self.shift, self.bias, sums, self.zero_point, limits)

    def stored(self, totals: Array) -> Array:
        """What the reference stores."""
        return quant.saturate(quant.requantize(totals, self.multiplier, self.shift) + self.zero_point)


def layer(slope: float, zero_point: int, reach: int = 30000) -> Layer:
    rng = np.random.default_rng(zero_point + 200)
    multiplier, shift = quant.quantize_multipliers(slope * 2 ** rng.uniform(0, 3, CHANNELS))
    return Layer(multiplier, shift, rng.integers(-9000, 9000, CHANNELS), reach, zero_point)


@pytest.mark.parametrize("slope", [LEAST_SLOPE, 2**-9, 2**-6, MOST_SLOPE])
@pytest.mark.parametrize("zero_point", [-128, -3, 0, 127])
def test_equal_to_two_roundings_at_every_sum(zero_point: int, slope: float) -> None:
    given = layer(slope, zero_point)
    found = bent_line.search(given.steps, given.bias, ENLARGED)
    assert found is not None
    totals = np.arange(-given.reach, given.reach + 1)[:, None] + given.bias
    np.testing.assert_array_equal(found.stored(totals), given.stored(totals))
    assert np.all(found.bend <= 0)


def test_no_bend_without_outputs_below_zero() -> None:
    """Nor above it: a line is as good as two then."""
    for zero_point in (-128, 127):
        given = layer(2**-9, zero_point)
        found = bent_line.search(given.steps, given.bias, ENLARGED)
        assert found is not None and not found.bend.any()


def test_channels_that_never_step() -> None:
    given = replace(layer(2**-9, 5), multiplier=np.zeros(CHANNELS, np.int64))
    found = bent_line.search(given.steps, given.bias, ENLARGED)
    assert found is not None
    np.testing.assert_array_equal(found.stored(given.bias), np.full(CHANNELS, 5))


def test_none() -> None:
    """Where a sum is more than all outputs, there is nothing to shift; where it leaves 32 bits, nothing to multiply."""
    steep, far = layer(200.0, 0), layer(LEAST_SLOPE, 0, reach=2**31 // ENLARGED)
    for given in (steep, far):
        assert bent_line.search(given.steps, given.bias, ENLARGED) is None


def test_too_few_bits() -> None:
    """Sums that are not enlarged leave no room between the steps."""
    given = layer(LEAST_SLOPE, -3)
    assert bent_line.search(given.steps, given.bias, 1) is None
