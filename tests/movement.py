"""What the tests of data movements share: tensors of every element type, and models that must be refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import Emit, check_model
from tinygen import passes
from tinygen.errors import ModelError
from tinygen.frontend import tflite
from tinygen.ir import DTYPES
from tinygen.verify.golden import Golden

MAX_ELEMENTS = 4000

Add = Callable[[ModelBuilder, Value], object]
"""Adds one operator that reads the given tensor."""


def like(build: ModelBuilder, x: Value, shape: Sequence[int]) -> Value:
    """A tensor for an operator to write, of the type and quantisation of `x`."""
    return build.tensor(shape, x.dtype, x.scale, 0 if x.zero_point is None else x.zero_point)


def typed_input(build: ModelBuilder, shape: Sequence[int], dtype: str) -> Value:
    """A model input of any element type, quantised where that is usual."""
    if dtype in ("int8", "uint8"):
        return build.input(shape, dtype, 0.5, 3)
    if dtype == "int16":
        return build.input(shape, dtype, 0.5, 0)
    return build.input(shape, dtype)


def read_by_kernel(build: ModelBuilder, x: Value) -> Value:
    """`x` turned around by a TRANSPOSE: for operators that are no code themselves."""
    axes = list(range(len(x.shape)))[::-1]
    return build.op("TRANSPOSE", [x, build.constant(axes, "int32")], [like(build, x, x.shape[::-1])])[0]


def then_read(emit: Emit) -> Emit:
    """`emit`, and a kernel that reads what it wrote."""

    def both(build: ModelBuilder, x: Value) -> bool:
        if not emit(build, x):
            return False
        if build.pool[-1].shape:
            read_by_kernel(build, build.pool[-1])
        return True

    return both


def check_types(add: Add, shape: Sequence[int], golden: Golden, beyond: Collection[str] = ()) -> None:
    """The operator on every element type; types `beyond` the interpreter are compared without it."""
    for dtypes, oracle in (([d for d in DTYPES if d not in beyond], golden), (["int8", *beyond], None)):
        build = ModelBuilder()
        for dtype in dtypes:
            add(build, typed_input(build, shape, dtype))
        check_model(build.finish(), oracle)


def refuse(add: Add, shape: Sequence[int], *texts: str, dtype: str = "int8") -> None:
    """The model with this operator raises a ModelError, whose message has all `texts`."""
    build = ModelBuilder()
    add(build, typed_input(build, shape, dtype))
    with pytest.raises(ModelError) as caught:
        passes.run(tflite.read(build.finish(), "test model"))
    message = str(caught.value)
    assert len(caught.value.lines) == 1, message
    for text in ("operator 0", *texts):
        assert text in message, message


def random_axis(build: ModelBuilder, rank: int) -> int:
    """One of `rank` axes, counted from either end."""
    return int(build.rng.integers(-rank, rank))


def random_cuts(build: ModelBuilder, length: int, parts: int) -> list[int]:
    """`parts` sizes of at least 1 that add up to `length`."""
    cuts = np.sort(build.rng.choice(np.arange(1, length), parts - 1, replace=False))
    return [int(size) for size in np.diff([0, *cuts, length])]
