from __future__ import annotations

import math

import numpy as np
import pytest

from tinygen.ops import libm

# Inputs at which glibc 2.36 does not give the float32 nearest to the true value, and what it gives.
EXPM1 = [(6.012324, 4.0743134e02), (2.7061725, 1.3971861e01), (1.6979998, 4.46301e00), (0.9587631, 1.608468e00)]
TANH = [(-0.93414015, -7.325184e-01), (-0.41820762, -3.954194e-01), (0.37339106, 3.569543e-01)]
ERFC = [(6.2768636, 6.8795547e-19), (8.623397, 3.291888e-34), (2.2533746, 1.4387965e-03), (2.4379206, 5.6529726e-04)]
CASES = [("expm1", *case) for case in EXPM1] + [("tanh", *case) for case in TANH] + [("erfc", *case) for case in ERFC]


@pytest.mark.parametrize(("name", "x", "expected"), CASES)
def test_last_bit_is_that_of_common_c_libraries(name: str, x: float, expected: float) -> None:
    (found,) = getattr(libm, name)(np.array([x], np.float32))
    assert found == np.float32(expected)
    assert found != np.float32(getattr(math, name)(np.float32(x)))


@pytest.mark.parametrize("name", ["exp", "expm1", "tanh", "erfc"])
def test_within_a_millionth(name: str) -> None:
    x = np.concatenate([np.linspace(-30, 9, 4001), np.geomspace(1e-30, 1, 100), -np.geomspace(1e-30, 1, 100)])
    x = x.astype(np.float32)
    exact = np.array([getattr(math, name)(value) for value in x.tolist()])
    np.testing.assert_allclose(getattr(libm, name)(x), exact, 1e-6, 1e-44)


def test_ends() -> None:
    ends = np.array([-np.inf, -1e30, 0.0, 1e30, np.inf], np.float32)
    np.testing.assert_array_equal(libm.exp(ends), [0, 0, 1, np.inf, np.inf])
    np.testing.assert_array_equal(libm.expm1(ends), [-1, -1, 0, np.inf, np.inf])
    np.testing.assert_array_equal(libm.tanh(ends), [-1, -1, 0, 1, 1])
    np.testing.assert_array_equal(libm.erfc(ends), [2, 2, 1, 0, 0])
