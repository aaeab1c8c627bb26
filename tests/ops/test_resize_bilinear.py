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
]


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any size, in every mode."""
    return emit_resize(build, x, "RESIZE_BILINEAR", MODES)


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden)


def _resize(size: object, out: tuple[int, ...], shape: tuple[int, ...] = (1, 3, 4, 2), **mode: bool) -> ModelBuilder:
    build = ModelBuilder()
    x = build.input(shape, "int8", 0.1, 3)
    y = build.tensor(out, "int8", 0.1, 3)
    build.op("RESIZE_BILINEAR", [x, build.constant(size, "int32")], [y], "ResizeBilinear", **mode)
    return build


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_large_sizes(golden: Golden, mode: dict[str, bool]) -> None:
    for size in ((1, 1), (1, 150), (97, 1), (40, 45)):
        check_model(_resize(size, (1, *size, 1), (1, 29, 31, 1), **mode).finish(), golden)


def test_extremes(golden: Golden) -> None:
    check_model(_resize([9, 13], (3, 9, 13, 5), (3, 4, 6, 5), halfPixelCenters=True).finish(), golden)


def test_refused() -> None:
    refused(
        _resize([65, 65], (1, 65, 65, 2), (1, 1, 1, 2)), "reads beyond its input at this enlargement, found 1 to 65"
    )
    refused(
        _resize([5, 6], (1, 5, 6, 2), alignCorners=True, halfPixelCenters=True),
        "align_corners and half_pixel_centers exclude each other",
    )
    build = ModelBuilder()
    x = build.input((1, 3, 4, 2), "int8", 0.1, 3)
    size = build.constant([5, 6], "int32")
    build.op("RESIZE_BILINEAR", [x, size], [build.tensor((1, 5, 6, 2), "int8", 0.1, 4)], "ResizeBilinear")
    refused(build, "must have the same scale and zero point")
