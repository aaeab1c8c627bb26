from __future__ import annotations

import numpy as np
import pytest

from tests.dsp import compiled
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_host, check_model, check_operator
from tests.overlap_harness import at_most, check_tight, layers
from tests.reduction import refused
from tinygen import reference
from tinygen.frontend import tflite
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any shape, any beta."""
    if len(x.shape) == 0 or x.shape[-1] >= 512:
        return False
    y = build.tensor(x.shape, "int8", 1 / 256, -128)
    build.op("SOFTMAX", [x], [y], "Softmax", beta=build.pick([1.0, 1.0, build.random_scale(0.01, 20.0)]))
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4, 5), most=12)


def _softmax(shape: tuple[int, ...], scale: float = 0.1, beta: float = 1.0) -> ModelBuilder:
    build = ModelBuilder()
    x = build.input(shape, "int8", scale, 5)
    build.op("SOFTMAX", [x], [build.tensor(shape, "int8", 1 / 256, -128)], "Softmax", beta=beta)
    return build


@pytest.mark.parametrize("scale", (2.0**-25, 1e-4, 0.01, 0.06, 0.3, 1.0, 4.0, 15.9, 16.1, 31.9, 32.0, 64.0, 1e6))
def test_scales(golden: Golden, scale: float) -> None:
    check_model(_softmax((40, 20), scale).finish(), golden)


def test_every_distance(golden: Golden) -> None:
    """Rows of the largest element and one other, at each distance; then rows with many of the largest."""
    data = _softmax((256, 7), 0.021).finish()
    pairs = np.full((256, 7), -128, np.int8)
    pairs[:, 3], pairs[:, 5] = 127, np.arange(-128, 128)
    crowds = np.where(np.arange(7) < 4, pairs[:, 3:4], pairs[:, 5:6])
    for sample in (pairs, crowds):
        graph = tflite.read(data, "test model")
        expected = reference.run(graph, [sample], Numerics.TFLITE)
        np.testing.assert_array_equal(golden.run(data, [[sample]])[0][1], expected[1])
        check_host(data, [[sample]], [expected], Numerics.TFLITE)


@pytest.mark.parametrize(
    ("scale", "mirrored"), [(1e-4, True), (0.021, True), (0.3, False), (15.9, False), (64.0, False), (1e6, False)]
)
def test_rows_of_two(golden: Golden, scale: float, mirrored: bool) -> None:
    """Each distance of two, either way around; the table ends where nothing changes, one of both where they mirror."""
    data = _softmax((511, 2), scale).finish()
    ahead = np.stack([np.full(256, 127), np.arange(-128, 128)], axis=1)
    sample = np.concatenate([ahead, ahead[:-1, ::-1]]).astype(np.int8)
    expected = reference.run(tflite.read(data, "test model"), [sample], Numerics.TFLITE)
    np.testing.assert_array_equal(golden.run(data, [[sample]])[0][1], expected[1])
    check_host(data, [[sample]], [expected], Numerics.TFLITE)
    by_distance = expected[1][255::-1]
    changes = np.flatnonzero(np.any(by_distance != by_distance[-1], axis=1))
    (table,) = [data.data for data in compiled(_softmax((511, 2), scale)).program.data if "shares" in data.symbol]
    np.testing.assert_array_equal(table, by_distance[: changes.max(initial=-1) + 2, 1 if mirrored else slice(None)])


def test_rows_of_two_in_the_place_of_their_inputs() -> None:
    assert check_tight(layers(_softmax((5, 2)).finish()), distances=[at_most]) == 1


@pytest.mark.parametrize("depth", (512, 1000, 4095))
def test_sums_of_512_and_more(depth: int) -> None:
    """The reference interpreter ends its own process on these."""
    data = _softmax((2, depth), 0.01).finish()
    equal = np.full((2, depth), 7, np.int8)
    outputs = reference.run(tflite.read(data, "test model"), [equal], Numerics.TFLITE)[1]
    assert np.all(outputs == -128)
    check_model(data, None)


def test_refused() -> None:
    refused(_softmax((1, 4096)), "too many elements in a row, found 4096, expected at most 4095")
    refused(_softmax((1, 4), beta=0.0), "beta times the input's scale is too small")
    refused(_softmax((1, 4), beta=-1.0), "beta times the input's scale is too small")
    refused(_softmax((1, 4), beta=float("nan")), "beta times the input's scale is too small")
    build = ModelBuilder()
    x = build.input((1, 4), "int8", 0.1, 0)
    build.op("SOFTMAX", [x], [build.tensor((1, 4), "int8", 1 / 128, 0)], "Softmax", beta=1.0)
    refused(build, "softmax needs an output of its own scale, found scale 0.0078125 and zero point 0")
