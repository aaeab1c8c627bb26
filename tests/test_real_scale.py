"""The integers of ops/real_scale.py, run in C, give what the scaling in float64 gives, for every sum that matters."""

from __future__ import annotations

import numpy as np
import pytest

from tests.runtime import Runtime
from tinygen.ir import Array
from tinygen.ops import real_scale


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return Runtime(tmp_path_factory.mktemp("runtime"))


def sums_around_steps(rng: np.random.Generator, scale: float, bound: int, low: int, high: int) -> Array:
    """Sums on both sides of every step, the ends, and some at random."""
    steps = np.clip((np.arange(low - 1, high + 2) - 0.5) / scale, -bound, bound).astype(np.int64)
    anywhere = rng.integers(-bound, bound + 1, 100)
    sums = np.concatenate([(steps[:, None] + np.arange(-3, 4)).ravel(), [-bound, -1, 0, 1, bound], anywhere])
    return np.unique(np.clip(sums, -bound, bound))


def scaled_in_c(runtime: Runtime, scaling: real_scale.Scaling, sums: Array) -> Array:
    (multiplier,) = scaling.multipliers
    words = (multiplier.high, multiplier.low)[: scaling.words]
    return runtime(scaling.function, sums, *words, multiplier.shift)


def random_scale(rng: np.random.Generator) -> float:
    """The quotient of three float32 scales, a fraction, or a power of two."""
    x, w, y = np.exp(rng.uniform(-7, 0, 3)).astype(np.float32).astype(np.float64)
    return float(rng.choice([x * w / y, 2.0 ** int(rng.integers(-25, 4)), 1 / int(rng.integers(1, 2000))]))


@pytest.mark.parametrize("seed", range(5))
def test_equal_for_every_sum(runtime: Runtime, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(100):
        scale = random_scale(rng)
        bound = int(np.exp(rng.uniform(0, np.log(min(2**31 - 1, 2**30 / scale)))))
        zero_point = int(rng.choice([-128, 127, rng.integers(-128, 128)]))
        high = 127 - zero_point
        low = int(rng.choice([-128 - zero_point, min(0, high)]))
        scaling = real_scale.scaling([scale], [bound], low, high)
        sums = sums_around_steps(rng, scale, bound, low, high)
        expected = np.clip(real_scale.scaled(sums, scale), low, high)
        got = np.clip(scaled_in_c(runtime, scaling, sums), low, high)
        np.testing.assert_array_equal(got, expected, f"{scaling} for {scale}, sums up to {bound}")


@pytest.mark.parametrize("seed", range(3))
def test_float64_in_integers(runtime: Runtime, seed: int) -> None:
    """tg_requantize_f64 alone, for any sum and scale: also where another function would do."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        scale = random_scale(rng)
        bound = int(min(2**31 - 1, 2**30 / scale))
        sums = sums_around_steps(rng, scale, bound, -300, 300)
        multiplier = real_scale.significand(scale)
        assert (multiplier.high * 2**31 + multiplier.low) * 2.0 ** (multiplier.shift - 53) == scale
        scaling = real_scale.Scaling("tg_requantize_f64", 2, (multiplier,))
        np.testing.assert_array_equal(scaled_in_c(runtime, scaling, sums), real_scale.scaled(sums, scale))


def test_simplest_function_first() -> None:
    assert real_scale.scaling([0.01], [10_000], -128, 127).function == "tg_requantize_single"
    assert real_scale.scaling([3.1e-7], [2**30], -128, 127).function == "tg_requantize_fine"
    assert real_scale.scaling([0.01, 1 / 98], [10_000, 10_000], -128, 127).function == "tg_requantize_f64"


def test_no_sums_no_limits() -> None:
    assert real_scale.scaling([1e20], [0], -128, 127).function == "tg_requantize_single"
    assert real_scale.scaling([0.0], [1000], -128, 127).multipliers[0].high == 0


def test_halves_go_away_from_zero() -> None:
    np.testing.assert_array_equal(real_scale.scaled(np.array([-3, -1, 1, 3]), 0.5), [-2, -1, 1, 2])
    assert real_scale.scaled(np.array([1]), float(np.nextafter(0.5, 0.0)))[0] == 0
