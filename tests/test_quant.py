"""The arithmetic in NumPy and its mirror in C, firmware/include/tg_runtime.h, give the same."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tests.runtime import Runtime
from tinygen import quant
from tinygen.ir import Array
from tinygen.quant import INT32_MAX, INT32_MIN, Rounding

POWERS = 2 ** np.arange(31)
VALUES = np.unique(np.concatenate([POWERS - 1, POWERS, POWERS + 1, -POWERS, 1 - POWERS, [INT32_MAX, INT32_MIN]]))
SHIFTS = np.arange(-31, 31)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return Runtime(tmp_path_factory.mktemp("runtime"))


def values(rng: np.random.Generator, count: int) -> Array:
    """The powers of two with their neighbours, then values of every length."""
    lengths = rng.integers(0, 32, count)
    signed = rng.integers(0, 2**31, count) >> lengths
    return np.concatenate([np.clip(VALUES, INT32_MIN, INT32_MAX), np.where(rng.random(count) < 0.5, signed, ~signed)])


def multipliers(rng: np.random.Generator, count: int) -> Array:
    """0, both ends of the normalised range, and multipliers inside it."""
    return np.concatenate(
        [[0, 2**30, 2**30 + 1, 3 * 2**29, INT32_MAX - 1, INT32_MAX], rng.integers(2**30, 2**31, count)]
    )


def test_doubling_high_multiply(runtime: Runtime) -> None:
    rng = np.random.default_rng(0)
    a, b = values(rng, 1000)[:, None], values(rng, 300)
    b = b[b != INT32_MIN]
    np.testing.assert_array_equal(runtime("tg_doubling_high_multiply", a, b), quant.doubling_high_multiply(a, b))


def test_rounding_shift_right(runtime: Runtime) -> None:
    value, exponent = values(np.random.default_rng(1), 3000)[:, None], np.arange(32)
    ours = quant.rounding_shift_right(value, exponent)
    np.testing.assert_array_equal(runtime("tg_rounding_shift_right", value, exponent), ours)


@pytest.mark.parametrize("seed", range(3))
def test_requantize(runtime: Runtime, seed: int) -> None:
    rng = np.random.default_rng(seed)
    value, multiplier = values(rng, 300)[:, None, None], multipliers(rng, 20)[:, None]
    ours = quant.requantize(value, multiplier, SHIFTS)
    np.testing.assert_array_equal(runtime("tg_requantize", value, multiplier, SHIFTS), ours)


@pytest.mark.parametrize("seed", range(3))
def test_requantize_single(runtime: Runtime, seed: int) -> None:
    """Where the result fits 32 bits, which is the function's contract."""
    rng = np.random.default_rng(seed)
    value, multiplier = values(rng, 300)[:, None, None], multipliers(rng, 20)[:, None]
    ours = quant.requantize(value, multiplier, SHIFTS, Rounding.SINGLE)
    fits = (ours >= INT32_MIN) & (ours <= INT32_MAX)
    assert fits.mean() > 0.5
    theirs = runtime("tg_requantize_single", value, multiplier, SHIFTS)
    np.testing.assert_array_equal(theirs[fits], ours[fits])


def test_roundings_by_hand() -> None:
    """Halves: the high multiply takes them up, the shift away from zero, the single rounding up."""
    halves = np.array([-3, -1, 1, 3])
    np.testing.assert_array_equal(quant.doubling_high_multiply(halves, 2**30), [-1, 0, 1, 2])
    np.testing.assert_array_equal(quant.rounding_shift_right(halves, 1), [-2, -1, 1, 2])
    np.testing.assert_array_equal(quant.requantize(halves, 2**30, 0, Rounding.SINGLE), [-1, 0, 1, 2])
    assert quant.doubling_high_multiply(np.array(INT32_MIN), INT32_MAX) == INT32_MIN + 1


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.0, (0, 0)),
        (0.5, (2**30, 0)),
        (1.0, (2**30, 1)),
        (0.75, (3 * 2**29, 0)),
        (1.0 - 2.0**-40, (2**30, 1)),
        (2.0**-32, (2**30, -31)),
        (2.0**-33, (0, 0)),
        (2.0**30, (INT32_MAX, 30)),
        (1e30, (INT32_MAX, 30)),
    ],
)
def test_quantize_multiplier_at_its_ends(real: float, expected: tuple[int, int]) -> None:
    assert quant.quantize_multiplier(real) == expected


def test_quantize_multiplier_is_the_nearest() -> None:
    for real in np.exp(np.random.default_rng(2).uniform(-20, 20, 500)).tolist():
        multiplier, shift = quant.quantize_multiplier(real)
        assert 2**30 <= multiplier <= INT32_MAX
        assert abs(multiplier - Fraction(real) / Fraction(2) ** (shift - 31)) <= Fraction(1, 2)


def test_activation_range() -> None:
    assert quant.activation_range("NONE", 0.1, 3) == (-128, 127)
    assert quant.activation_range("RELU", 0.1, 3) == (3, 127)
    assert quant.activation_range("RELU6", 0.1, -100) == (-100, -40)
    assert quant.activation_range("RELU6", 0.01, -100) == (-100, 127)
    assert quant.activation_range("RELU_N1_TO_1", 0.4, 3) == (0, 6)
