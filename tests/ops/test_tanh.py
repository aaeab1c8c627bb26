from __future__ import annotations

import zlib

import numpy as np
import pytest

from tests.elementwise import VALUES, check_all_values, one_input, refused
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tinygen import reference
from tinygen.frontend import tflite
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden

SCALE, ZERO_POINT = 1 / 128, 0


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any input quantisation."""
    build.op("TANH", [x], [build.tensor(x.shape, "int8", SCALE, ZERO_POINT)])
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(6), most=5)


@pytest.mark.parametrize("scale", [1e-5, 0.01, 0.0625, 0.5, 15.0])
@pytest.mark.parametrize("zero_point", [-128, -5, 127])
def test_all_values(golden: Golden, scale: float, zero_point: int) -> None:
    check_all_values(golden, "TANH", None, (scale, SCALE), (zero_point, ZERO_POINT))


def test_tflm_takes_zero_for_the_least_value_when_one_step_saturates(golden: Golden) -> None:
    found = check_all_values(golden, "TANH", None, (15.0, SCALE), (3, ZERO_POINT))
    zero = VALUES == 3
    assert found[Numerics.TFLITE][zero] == 0
    assert found[Numerics.TFLM][zero] == -128
    np.testing.assert_array_equal(found[Numerics.TFLITE][~zero], found[Numerics.TFLM][~zero])


@pytest.mark.parametrize(
    ("scale", "zero_point", "checksum"), [(0.02, 0, 287245936), (0.1, 3, 1605293320), (0.5, -128, 3836023101)]
)
def test_tflm_table(scale: float, zero_point: int, checksum: int) -> None:
    """The checksums are those of the tflite-micro package's own outputs."""
    scales, zero_points = (scale, SCALE), (zero_point, ZERO_POINT)
    graph = tflite.read(one_input("TANH", scales=scales, zero_points=zero_points), "test model")
    found = reference.run(graph, [VALUES], Numerics.TFLM)[graph.outputs[0]]
    assert zlib.crc32(found.tobytes()) == checksum


def test_refused() -> None:
    wrong = "output has the wrong scale or zero point"
    refused(one_input("TANH", scales=(0.1, SCALE), zero_points=(0, 3)), "operator 0 TANH", wrong, "1/128, 0")
    refused(one_input("TANH", scales=(0.1, 0.1), zero_points=(0, ZERO_POINT)), wrong, "found 0.1")
    refused(one_input("TANH", shapes=[(2, 3), (6,)], scales=(0.1, SCALE)), "wrong shape", "[6]", "[2, 3]")
