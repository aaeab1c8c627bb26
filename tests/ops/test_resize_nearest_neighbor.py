from __future__ import annotations

import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tests.reduction import emit_resize, refused
from tinygen.verify.golden import Golden

MODES: list[dict[str, bool]] = [
    {},
    {"alignCorners": True},
    {"halfPixelCenters": True},
    {"alignCorners": True, "halfPixelCenters": True},
]


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any size, in every mode."""
    return emit_resize(build, x, "RESIZE_NEAREST_NEIGHBOR", MODES)


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden)


def _resize(size: object, out: tuple[int, ...], shape: tuple[int, ...] = (1, 3, 4, 2), **mode: bool) -> ModelBuilder:
    build = ModelBuilder()
    x = build.input(shape, "int8", 0.1, 3)
    y = build.tensor(out, "int8", 0.1, 3)
    build.op("RESIZE_NEAREST_NEIGHBOR", [x, build.constant(size, "int32")], [y], "ResizeNearestNeighbor", **mode)
    return build


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_large_sizes(golden: Golden, mode: dict[str, bool]) -> None:
    for size in ((1, 1), (1, 150), (97, 1), (40, 45)):
        check_model(_resize(size, (1, *size, 1), (1, 29, 31, 1), **mode).finish(), golden)


@pytest.mark.parametrize("dtype", ("uint8", "int16"))
def test_element_types(golden: Golden, dtype: str) -> None:
    build = ModelBuilder()
    x = build.input((2, 3, 4, 3), dtype)
    size = build.constant([5, 7], "int32")
    build.op("RESIZE_NEAREST_NEIGHBOR", [x, size], [build.tensor((2, 5, 7, 3), dtype)], "ResizeNearestNeighbor")
    check_model(build.finish(), golden)


def test_refused() -> None:
    build = ModelBuilder()
    x, y = build.input((1, 3, 4, 2), "int8", 0.1, 3), build.tensor((1, 5, 6, 2), "int8", 0.1, 3)
    size = build.constant([5.0, 6.0], "float32")
    build.op("RESIZE_NEAREST_NEIGHBOR", [x, size], [y], "ResizeNearestNeighbor")
    refused(build, "element type this operator does not take, found float32")
    refused(_resize([5, 6], (1, 5, 7, 2)), "wrong shape, found .1, 5, 7, 2., expected .1, 5, 6, 2.")
    refused(_resize([5], (1, 5, 5, 2)), "wrong shape")
    refused(_resize([40000, 1], (1, 40000, 1, 1), (1, 1, 1, 1)), "image is too large, found 40000")
    refused(_resize([5, 6], (5, 6, 2), (3, 4, 2)), "wrong rank")
