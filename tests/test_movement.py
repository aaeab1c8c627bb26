from __future__ import annotations

import numpy as np
import pytest

from tinygen.ops.movement import Axis, collapse, strides


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4), (1, 7, 1, 2)])
def test_strides(shape: tuple[int, ...]) -> None:
    assert strides(shape) == tuple(step for step in np.empty(shape, np.int8).strides)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ([(2, 12), (3, 4), (4, 1)], [(24, 1)]),
        ([(2, 12), (3, 4), (2, 1)], [(6, 4), (2, 1)]),
        ([(3, 4), (2, 12), (4, 1)], [(3, 4), (2, 12), (4, 1)]),
        ([(4, 1), (2, 12), (3, 4)], [(4, 1), (6, 4)]),
        ([(1, 99), (5, 1), (1, 7)], [(5, 1)]),
        ([(3, -4), (4, -1)], [(12, -1)]),
        ([(3, 4), (4, -1)], [(3, 4), (4, -1)]),
        ([(1, 1), (1, 1)], []),
        ([], []),
    ],
)
def test_collapse(axes: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    assert collapse([Axis(*axis) for axis in axes]) == tuple(Axis(*axis) for axis in expected)


@pytest.mark.parametrize("seed", range(20))
def test_collapse_visits_the_same_elements(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(1, 4, 5))
    order = rng.permutation(5)
    axes = [Axis(shape[axis], strides(shape)[axis] * int(rng.choice([1, 1, -1]))) for axis in order]
    assert visited(collapse(axes)) == visited(axes)


def visited(axes: list[Axis] | tuple[Axis, ...]) -> list[int]:
    """The positions of a walk in their order."""
    found = [0]
    for axis in axes:
        found = [position + step * axis.stride for position in found for step in range(axis.count)]
    return found
