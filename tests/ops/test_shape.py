from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import read_by_kernel, refuse
from tests.oracles import check_model
from tinygen.driver import Compiled, Model, compile_model
from tinygen.frontend import tflite
from tinygen.verify.golden import Golden

TYPES = {"int32": 2, "int64": 4}
"""Codes in the file format."""


def add_shape(build: ModelBuilder, x: Value, dtype: str = "int32") -> Value:
    """The shape of `x`."""
    return build.op("SHAPE", [x], [build.tensor((len(x.shape),), dtype)], "Shape", outType=TYPES[dtype])[0]


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    build = ModelBuilder(np.random.default_rng(seed))
    results = []
    for rank in (1, 2, 3, 4, 5):
        x = build.random_input(build.random_shape(rank))
        add_shape(build, x, build.pick(list(TYPES)))
        results.append(read_by_kernel(build, x))
    check_model(build.finish(results), golden, seed)


def test_of_any_type(golden: Golden) -> None:
    build = ModelBuilder()
    for dtype in ("int8", "uint8", "int16", "int32", "int64", "float32", "bool"):
        add_shape(build, build.input((2, 3), dtype))
    result = read_by_kernel(build, build.random_input((2, 3)))
    check_model(build.finish([result]), golden)


def compiled_alone() -> Compiled:
    """A model whose only output is a shape."""
    build = ModelBuilder()
    add_shape(build, build.random_input((2, 3)))
    data = build.finish()
    return compile_model(Model("test", data, tflite.read(data, "test")), name="test")


def test_no_code() -> None:
    compiled = compiled_alone()
    assert not compiled.graph.nodes
    assert not compiled.program.calls
    assert compiled.graph.tensors[1].data is not None
    assert compiled.graph.tensors[1].data.tolist() == [2, 3]


def test_as_model_output() -> None:
    assert "2, 3," in compiled_alone().files["src/test_data.c"]


@pytest.mark.parametrize(
    ("dtype", "code", "shape", "text"),
    [
        ("int32", 4, (2,), "the output has another type than the option says, found int32, expected int64"),
        ("float32", 0, (2,), "element type this operator does not take, found float32, expected int32 or int64"),
        ("int32", 2, (3,), "wrong shape, found [3], expected [2]"),
        ("int32", 9, (2,), "option outType is unknown, found 9"),
    ],
)
def test_wrong_output(dtype: str, code: int, shape: tuple[int, ...], text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("SHAPE", [x], [build.tensor(shape, dtype)], "Shape", outType=code)

    refuse(add, (2, 3), "SHAPE", text)
