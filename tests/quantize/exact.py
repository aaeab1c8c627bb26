"""Whether our references compute an integer .tflite as TensorFlow Lite does, and what its tensors are."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tests.quantize.networks import trained
from tinygen import reference
from tinygen.frontend import tflite
from tinygen.quant import Numerics
from tinygen.quantize.convert import convert
from tinygen.quantize.tflite_file import Node, TfliteFile
from tinygen.quantize.weights import layer_of
from tinygen.verify.golden import Golden

SAMPLES = 6


@functools.cache
def converted() -> bytes:
    """The network of the tests in floating point."""
    return convert(trained())


def assert_bit_exact(data: bytes, golden: Golden) -> None:
    """Every tensor of the NumPy reference is that of the reference interpreter, on random inputs."""
    graph = tflite.read(data, "model")
    rng = np.random.default_rng(0)
    tensors = [graph.tensors[i] for i in graph.inputs]
    samples = [
        [rng.integers(-128, 128, tensor.shape).astype(tensor.dtype) for tensor in tensors] for _ in range(SAMPLES)
    ]
    samples[0] = [np.full_like(value, 127) for value in samples[0]]
    for sample, expected in zip(samples, golden.run(data, samples), strict=True):
        values = reference.run(graph, sample, Numerics.TFLITE)
        for node in graph.nodes:
            for index in node.outputs:
                np.testing.assert_array_equal(values[index], expected[index], err_msg=node.op)


def weighted(data: bytes) -> dict[str, Node]:
    """The operators with weights, by the names of their layers."""
    return {layer_of(node): node for node in TfliteFile(data).weighted()}


def quantization(tensor: Any) -> tuple[np.ndarray, np.ndarray]:
    """(scales, zero points) of a tensor."""
    return np.asarray(tensor.quantization.scale), np.asarray(tensor.quantization.zeroPoint)
