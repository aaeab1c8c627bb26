from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.elementwise import VALUES, one_input, refused
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model
from tinygen import reference
from tinygen.frontend import tflite
from tinygen.ir import Array
from tinygen.quant import Numerics

HAS_REFERENCE = False
"""The set of reference kernels has no ELU."""


def emit(build: ModelBuilder, x: Value) -> bool:
    """One ELU of any output quantisation."""
    build.op("ELU", [x], [build.random_output(x.shape)])
    return True


def default_kernels(data: bytes, sample: Array) -> Array:
    """The output of a model with one input and output by the interpreter's default kernels."""
    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter: Any = Interpreter(model_content=data, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
    interpreter.invoke()
    found: Array = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


@pytest.mark.parametrize("seed", range(40))
def test_reference_equals_the_default_kernels(seed: int) -> None:
    build = ModelBuilder(np.random.default_rng(seed))
    emit(build, build.random_input((256,)))
    data, sample = build.finish(), VALUES
    graph = tflite.read(data, "test model")
    found = reference.run(graph, [sample], Numerics.TFLITE)[graph.outputs[0]]
    np.testing.assert_array_equal(found, default_kernels(data, sample))


@pytest.mark.parametrize("scales", [(1e-4, 1e-6), (5.0, 0.005), (1e20, 1e-20), (0.1, 0.1)])
@pytest.mark.parametrize("zero_points", [(-128, -128), (127, 127), (-5, 60)])
def test_all_values(scales: tuple[float, float], zero_points: tuple[int, int]) -> None:
    data, sample = one_input("ELU", scales=scales, zero_points=zero_points), VALUES
    graph = tflite.read(data, "test model")
    found = reference.run(graph, [sample], Numerics.TFLITE)[graph.outputs[0]]
    np.testing.assert_array_equal(found, default_kernels(data, sample))


@pytest.mark.parametrize("seed", range(2))
def test_generated_code_equals_the_reference(seed: int) -> None:
    build = ModelBuilder(np.random.default_rng(seed))
    for rank in range(6):
        emit(build, build.random_input(build.random_shape(rank, 5)))
    check_model(build.finish(), None, seed)


def test_tflm_loses_bits_of_small_results() -> None:
    data, sample = one_input("ELU", scales=(1e-6, 4e-7)), VALUES
    graph = tflite.read(data, "test model")
    found = [reference.run(graph, [sample], numerics)[graph.outputs[0]] for numerics in Numerics]
    assert np.any(found[0] != found[1])


@pytest.mark.parametrize(
    ("scale", "zero_point", "checksum"), [(0.02, 0, 112451014), (0.1, 3, 2902304047), (0.5, -128, 384473502)]
)
def test_tflm_table(scale: float, zero_point: int, checksum: int) -> None:
    """The checksums are those of the tflite-micro package's own outputs."""
    scales, zero_points = (scale, 0.03), (zero_point, -20)
    graph = tflite.read(one_input("ELU", scales=scales, zero_points=zero_points), "test model")
    found = reference.run(graph, [VALUES], Numerics.TFLM)[graph.outputs[0]]
    assert zlib.crc32(found.tobytes()) == checksum


def test_refused() -> None:
    refused(one_input("ELU", shapes=[(2, 3), (3, 2)]), "operator 0 ELU", "wrong shape", "[3, 2]", "[2, 3]")
    refused(one_input("ELU", scales=(0.1, 1e-35)), "scale is out of range", "1e-35")
