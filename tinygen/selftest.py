"""Makes the vectors that a project tests itself with: inputs from a generator, outputs of the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen import reference
from tinygen.ir import DTYPES, Array, Graph, Tensor
from tinygen.quant import Numerics

MOST_OUTPUT_BYTES = 4096
"""Flash that the expected outputs may take; a model with larger ones gets a single vector."""
VECTORS = 4
MULTIPLIER, INCREMENT = 1664525, 1013904223
"""Of the linear congruential generator modulo 2^32: Press et al., Numerical Recipes, 7.1."""


@dataclass(frozen=True)
class SelfTest:
    """The outputs that are expected of each vector, all of a vector one after another as they lie in memory."""

    expected: tuple[bytes, ...]
    multiplier: int = MULTIPLIER
    increment: int = INCREMENT


def self_test(graph: Graph, numerics: Numerics) -> SelfTest:
    """The vectors of `graph`: the first of extreme values, the others of all values."""
    each = sum(graph.tensors[i].bytes for i in graph.outputs)
    count = max(1, min(VECTORS, MOST_OUTPUT_BYTES // each))
    return SelfTest(tuple(_outputs(graph, numerics, vector) for vector in range(count)))


def _outputs(graph: Graph, numerics: Numerics, vector: int) -> bytes:
    values = reference.run(graph, inputs(graph, vector), numerics)
    return b"".join(np.ascontiguousarray(values[i]).tobytes() for i in graph.outputs)


def inputs(graph: Graph, vector: int) -> list[Array]:
    """What test/.../test_main.cpp puts into the inputs for that vector."""
    tensors = [graph.tensors[i] for i in graph.inputs]
    drawn = _draw(vector, sum(tensor.bytes // _bytes_per_draw(tensor) for tensor in tensors))
    found, start = [], 0
    for tensor in tensors:
        count = tensor.bytes // _bytes_per_draw(tensor)
        found.append(_fill(tensor, drawn[start : start + count]))
        start += count
    return found


def _bytes_per_draw(tensor: Tensor) -> int:
    return 4 if tensor.dtype == "float32" else 1


def _draw(vector: int, count: int) -> Array:
    """`count` bytes: the generator's top eight bits, or for the first vector the least or the greatest int8."""
    state, drawn = vector, np.empty(count, np.uint8)
    for i in range(count):
        state = (state * MULTIPLIER + INCREMENT) % 2**32
        drawn[i] = state >> 24
    return drawn if vector else np.where(drawn & 0x80, 0x80, 0x7F).astype(np.uint8)


def _fill(tensor: Tensor, drawn: Array) -> Array:
    """The drawn bytes as they are; for reals each a multiple of 1/32, for truth values their last bit."""
    if tensor.dtype == "float32":
        return (drawn.view(np.int8).astype(np.float32) / 32).reshape(tensor.shape)
    if tensor.dtype == "bool":
        return (drawn & 1).astype(np.bool_).reshape(tensor.shape)
    return np.frombuffer(drawn.tobytes(), DTYPES[tensor.dtype]).reshape(tensor.shape)
