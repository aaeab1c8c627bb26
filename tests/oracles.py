"""The oracles side by side: C on the host == NumPy reference == reference interpreter, every tensor, every element."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tests.modelbuilder import ModelBuilder, Value
from tinygen import reference
from tinygen.driver import Model, compile_model
from tinygen.frontend import tflite
from tinygen.ir import DTYPES, Array, Graph
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden
from tinygen.verify.host import HostModel
from tinygen.verify.samples import random_samples

Emit = Callable[[ModelBuilder, Value], bool]
"""Adds one random operator that reads the given activation; False when it cannot."""


def check_operator(
    emit: Emit, seed: int, golden: Golden, ranks: Sequence[int] = (4,), count: int = 10, most: int = 9
) -> None:
    """`count` random instances of one operator, each on inputs of its own, through all oracles."""
    check_model(model_of(emit, seed, ranks, count, most), golden, seed)


def model_of(emit: Emit, seed: int, ranks: Sequence[int], count: int, most: int, activations: str = "int8") -> bytes:
    """A model of `count` instances of one operator, each on an input of its own of sizes up to `most`."""
    build = ModelBuilder(np.random.default_rng(seed), activations)
    made = 0
    for _ in range(100 * count):
        if made == count:
            return build.finish()
        x = build.random_input(build.random_shape(build.pick(ranks), most))
        if emit(build, x):
            made += 1
        else:
            build.forget(x)
    raise AssertionError(f"only {made} of {count} instances could be made")


def check_model(data: bytes, golden: Golden | None, seed: int = 0, samples: int = 5) -> None:
    """All tensors of the model through all oracles, under both numerics profiles."""
    graph = tflite.read(data, "test model")
    inputs = random_samples(graph, samples, seed)
    truth = golden.run(data, inputs) if golden else None
    computed = [tensor for node in graph.nodes for tensor in node.outputs]
    for numerics in Numerics:
        expected = [reference.run(graph, sample, numerics) for sample in inputs]
        if truth and numerics is Numerics.TFLITE:
            for one_expected, one_truth in zip(expected, truth, strict=True):
                _compare(graph, computed, one_expected, one_truth, "NumPy reference", "interpreter")
        check_host(data, inputs, expected, numerics)


def check_host(
    data: bytes, inputs: Sequence[Sequence[Array]], expected: Sequence[dict[int, Array]], numerics: Numerics
) -> None:
    """The generated C against the NumPy reference: each layer as it ends, each output at the end."""
    model = Model("test", data, tflite.read(data, "test model"))
    compiled = compile_model(model, name="test", numerics=numerics)
    with tempfile.TemporaryDirectory() as folder:
        host = HostModel(compiled, Path(folder))
        for sample, values in zip(inputs, expected, strict=True):
            layers, outputs = host.run(sample)
            computed = [tensor for call in compiled.program.calls for tensor in call.outputs]
            _compare(compiled.graph, computed, layers, values, "generated C", "NumPy reference")
            for tensor, output in zip(compiled.graph.outputs, outputs, strict=True):
                np.testing.assert_array_equal(output, values[tensor], f"output {tensor} after the last layer")


def _compare(
    graph: Graph, tensors: Sequence[int], ours: dict[int, Array], theirs: dict[int, Array], who: str, whose: str
) -> None:
    """Each of `tensors` is on both sides, with the same type, shape and values; theirs has all channels of the file."""
    for tensor in tensors:
        producer = next(node.location for node in graph.nodes if tensor in node.outputs)
        message = f"{who} against {whose}: tensor {tensor} of {producer}"
        assert tensor in ours and tensor in theirs, f"{message} is missing"
        held = graph.tensors[tensor].part_of(theirs[tensor])
        assert ours[tensor].dtype == held.dtype == DTYPES[graph.tensors[tensor].dtype], message
        assert ours[tensor].shape == held.shape, message
        np.testing.assert_array_equal(ours[tensor], held, message)
