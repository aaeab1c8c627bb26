from __future__ import annotations

import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import check_types, like, random_axis, refuse
from tests.oracles import check_operator
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any axis, counted from either end, into any number of parts that divides it."""
    rank = len(x.shape)
    if rank == 0:
        return False
    axis = random_axis(build, rank)
    parts = build.pick([n for n in range(1, min(x.shape[axis], 20) + 1) if x.shape[axis] % n == 0])
    shape = list(x.shape)
    shape[axis] //= parts
    axis_input = build.constant(build.pick([axis, [axis]]), "int32")
    build.op("SPLIT", [axis_input, x], [like(build, x, shape) for _ in range(parts)], "Split", numSplits=parts)
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4, 5))


def test_types(golden: Golden) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        for axis, parts, shape in ((0, 2, (1, 3, 4)), (2, 4, (2, 3, 1)), (2, 2, (2, 3, 2)), (1, 1, (2, 3, 4))):
            outputs = [like(build, x, shape) for _ in range(parts)]
            build.op("SPLIT", [build.constant(axis, "int32"), x], outputs, "Split", numSplits=parts)

    check_types(add, (2, 3, 4), golden, beyond=("bool",))


def test_parts_of_a_constant(golden: Golden) -> None:
    """Folded whole; the parts then are constant inputs of a kernel."""

    def add(build: ModelBuilder, x: Value) -> bool:
        whole = build.constant(build.rng.integers(-128, 128, (4, 3)), "int8", x.scale, x.zero_point)
        halves = [like(build, x, (2, 3)) for _ in range(2)]
        build.op("SPLIT", [build.constant(0, "int32"), whole], halves, "Split", numSplits=2)
        build.op("CONCATENATION", [x, *halves], [like(build, x, (x.shape[0] + 4, 3))], "Concatenation", axis=0)
        return True

    check_operator(lambda build, x: len(x.shape) == 2 and x.shape[1] == 3 and add(build, x), 0, golden, (2,), 2, 4)


@pytest.mark.parametrize(
    ("axis", "parts", "text"),
    [
        (1, 3, "axis 1 does not divide evenly, found 4, expected a multiple of 3"),
        (2, 3, "axis is out of range, found 2, expected -2 to 1"),
        (0, 3, "wrong shape, found [3, 1], expected [1, 4]"),
        ([0, 1], 3, "axis must be one number, found 2 numbers"),
        (0, 2, "wrong number of outputs, found 3, expected 2"),
        (0, 0, "option numSplits is out of range, found 0, expected >= 1"),
    ],
)
def test_wrong_split(axis: object, parts: int, text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        outputs = [like(build, x, (3, 1)) for _ in range(3)]
        build.op("SPLIT", [build.constant(axis, "int32"), x], outputs, "Split", numSplits=parts)

    refuse(add, (3, 4), "SPLIT", text)


def test_axis_at_run_time() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("SPLIT", [build.input((1,), "int32"), x], [like(build, x, (3,))], "Split", numSplits=1)

    refuse(add, (3,), "input 0 ('t1') must be known at compile time")


def test_too_many_outputs() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        outputs = [like(build, x, (1,)) for _ in range(127)]
        build.op("SPLIT", [build.constant(0, "int32"), x], outputs, "Split", numSplits=127)

    refuse(add, (127,), "too many outputs, found 127, expected at most 126")
