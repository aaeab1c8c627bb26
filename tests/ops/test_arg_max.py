from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tests.reduction import emit_position, refused
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any axis, counted from either end, to int32 or int64."""
    return emit_position(build, x, "ARG_MAX")


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4, 5))


def _position(
    axis: object, out: tuple[int, ...] = (3,), dtype: str = "int32", output_type: int = 2, axis_type: str = "int32"
) -> ModelBuilder:
    build = ModelBuilder()
    x = build.input((3, 300), "int8", 0.1, 0)
    kind = "ArgMax"
    build.op("ARG_MAX", [x, build.constant(axis, axis_type)], [build.tensor(out, dtype)], kind, outputType=output_type)
    return build


def test_the_first_of_equals(golden: Golden) -> None:
    data = _position(1).finish()
    sample = np.zeros((3, 300), np.int8)
    sample[1, [270, 280]], sample[2, [5, 290]] = 127, 1
    np.testing.assert_array_equal(golden.run(data, [[sample]])[0][2], [0, 270, 5])
    check_model(data, golden)


def test_refused() -> None:
    refused(_position(float("nan"), axis_type="float32"), "element type this operator does not take, found float32")
    refused(_position(2), "axis is out of range, found 2, expected -2 to 1")
    refused(_position([0, 1]), "axis must be one number, found 2 numbers")
    refused(_position(0), "wrong shape, found .3., expected .300.")
    refused(_position(1, dtype="int64"), "output type is not the option's, found int64, expected int32")
    refused(_position(1, dtype="int16", output_type=7), "element type this operator does not take")
