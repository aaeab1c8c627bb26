from __future__ import annotations

import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import Add, check_types, like, refuse
from tests.oracles import check_operator
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """A box anywhere inside, sizes perhaps -1."""
    if not 1 <= len(x.shape) <= 5:
        return False
    whole = [build.chance(0.4) for _ in x.shape]
    begins = [0 if all_of_it else int(build.rng.integers(size)) for size, all_of_it in zip(x.shape, whole, strict=True)]
    rests = [size - begin for size, begin in zip(x.shape, begins, strict=True)]
    shape = [
        rest if all_of_it else int(build.rng.integers(1, rest + 1))
        for rest, all_of_it in zip(rests, whole, strict=True)
    ]
    named = [-1 if size == rest and build.chance(0.5) else size for size, rest in zip(shape, rests, strict=True)]
    dtype = build.pick(["int32", "int64"])
    build.op("SLICE", [x, build.constant(begins, dtype), build.constant(named, dtype)], [like(build, x, shape)])
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4))


def test_random_of_high_rank(golden: Golden) -> None:
    check_operator(emit, 3, golden, ranks=(5,), most=5)


def add_slice(begins: list[int], sizes: list[int], shape: tuple[int, ...]) -> Add:
    """SLICE of one box."""

    def add(build: ModelBuilder, x: Value) -> None:
        inputs = [x, build.constant(begins, "int32"), build.constant(sizes, "int32")]
        build.op("SLICE", inputs, [like(build, x, shape)])

    return add


def test_types(golden: Golden) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        add_slice([0, 1, 1], [2, -1, 2], (2, 2, 2))(build, x)
        add_slice([1, 0, 2], [1, -1, 1], (1, 3, 1))(build, x)
        add_slice([1, 2, 3], [1, 1, 1], (1, 1, 1))(build, x)

    check_types(add, (2, 3, 4), golden)


@pytest.mark.parametrize(
    ("begins", "sizes", "text"),
    [
        ([0, 2], [2, 2], "slice leaves its input along axis 1, found 2 elements from 2, expected inside 0 to 3"),
        ([-1, 0], [2, 2], "slice leaves its input along axis 0, found 2 elements from -1"),
        ([0, 0], [2, -2], "slice leaves its input along axis 1, found -2 elements"),
        ([0, 4], [2, -1], "slice leaves its input along axis 1, found -1 elements from 4"),
        ([0], [2], "wrong shape, found [1], expected [2]"),
        ([0, 0], [1, 2], "wrong shape, found [2, 2], expected [1, 2]"),
    ],
)
def test_wrong_box(begins: list[int], sizes: list[int], text: str) -> None:
    refuse(add_slice(begins, sizes, (2, 2)), (2, 3), "SLICE", text)


def test_begin_at_run_time() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("SLICE", [x, build.input((1,), "int32"), build.constant([2], "int32")], [like(build, x, (2,))])

    refuse(add, (3,), "input 1 ('t1') must be known at compile time")
