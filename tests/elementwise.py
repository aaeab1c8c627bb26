"""Random second operands for the tests of elementwise operators, models of one operator, and every pair of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_host
from tinygen import passes, reference
from tinygen.errors import ModelError, ModelErrors
from tinygen.frontend import tflite
from tinygen.ir import Array
from tinygen.quant import RANGES, Numerics
from tinygen.verify.golden import Golden

MOST_ELEMENTS = 4000
VALUES = np.arange(-128, 128, dtype=np.int8)


def broadcast_partner(build: ModelBuilder, shape: Sequence[int], wider: bool = True) -> tuple[int, ...]:
    """A shape that broadcasts with `shape`: equal, fewer axes, some axes 1, or (if `wider`) larger where it is 1."""
    rank = len(shape)
    kind = build.pick(["same", "same", "ones", "ones", "fewer", "scalar", "wider"])
    if kind == "same" or rank == 0:
        return tuple(shape)
    if kind == "scalar":
        return (1,) * int(build.rng.integers(0, rank + 1))
    other = [1 if build.chance(0.5) else size for size in shape]
    if kind == "fewer":
        return tuple(other[int(build.rng.integers(1, rank + 1)) :])
    if kind == "wider" and wider:
        other = [
            int(build.rng.integers(1, 5)) if size == 1 else chosen for size, chosen in zip(shape, other, strict=True)
        ]
        extra = int(build.rng.integers(1, 4)) if rank < 4 and build.chance(0.3) else 0
        other = [extra, *other] if extra else other
    return tuple(other)


def operands(
    build: ModelBuilder, x: Value, wider: bool = True, like: Value | None = None
) -> tuple[list[Value], tuple[int, ...]] | None:
    """[x, other] in random order, the other computed, constant or x itself, and their shape; None when too large.

    Without `wider`, x comes first and has the shape of the result. With `like`, a constant is quantised like it.
    """
    shape = broadcast_partner(build, x.shape, wider)
    result = np.broadcast_shapes(x.shape, shape)
    if np.prod(result, dtype=np.int64) > MOST_ELEMENTS:
        return None
    if build.chance(0.1):
        other, result = x, x.shape
    elif build.chance(0.4) or shape == ():
        other = random_constant(build, shape, like)
    else:
        other = build.partner(shape)
    inputs = [other, x] if wider and build.chance(0.5) else [x, other]
    return inputs, tuple(result)


def random_constant(build: ModelBuilder, shape: Sequence[int], like: Value | None = None) -> Value:
    """A constant activation, sometimes one value throughout."""
    low, high = RANGES[build.activations]
    data = build.rng.integers(low, high + 1, () if build.chance(0.2) else shape)
    scale, zero_point = (like.scale, like.zero_point) if like else (build.random_scale(), build.random_zero_point())
    return build.constant(np.broadcast_to(data, shape), build.activations, scale, zero_point)


def activated(build: ModelBuilder) -> dict[str, int]:
    """Options with a random fused activation."""
    return {"fusedActivationFunction": build.pick([0, 0, 1, 2, 3])}


def two_inputs(
    op: str,
    shapes: Sequence[Sequence[int]],
    options: str | None = None,
    dtypes: Sequence[str] = ("int8", "int8", "int8"),
    scales: Sequence[Any] = (0.1, 0.2, 0.3),
    zero_points: Sequence[Any] = (3, -5, 7),
    **fields: Any,
) -> bytes:
    """A model of one operator; first input, second input, output. A scale of None leaves the quantisation out."""
    build = ModelBuilder()
    specs = list(zip(shapes, dtypes, scales, zero_points, strict=True))
    first, second = (build.input(*spec) for spec in specs[:2])
    build.op(op, [first, second], [build.tensor(*specs[2])], options, **fields)
    return build.finish()


def one_input(
    op: str,
    options: str | None = None,
    shapes: Sequence[Sequence[int]] = ((256,), (256,)),
    dtypes: Sequence[str] = ("int8", "int8"),
    scales: Sequence[Any] = (0.1, 0.3),
    zero_points: Sequence[Any] = (3, 7),
    **fields: Any,
) -> bytes:
    """A model of one operator; input, output. A scale of None leaves the quantisation out."""
    build = ModelBuilder()
    source, target = zip(shapes, dtypes, scales, zero_points, strict=True)
    build.op(op, [build.input(*source)], [build.tensor(*target)], options, **fields)
    return build.finish()


def check_all_pairs(
    golden: Golden, op: str, options: str | None, scales: Sequence[float], zero_points: Sequence[int] = (0, 0, 0)
) -> dict[Numerics, Array]:
    """Every pair of int8 values through all oracles; the outputs [256, 256] of each profile."""
    first = np.repeat(VALUES, 256).reshape(256, 256)
    data = two_inputs(op, [(256, 256), (1, 256), (256, 256)], options, scales=scales, zero_points=zero_points)
    return check_exactly(golden, data, [first, VALUES.reshape(1, 256)])


def check_all_values(
    golden: Golden,
    op: str,
    options: str | None,
    scales: Sequence[float],
    zero_points: Sequence[int] = (0, 0),
    **fields: Any,
) -> dict[Numerics, Array]:
    """Every int8 value through all oracles; the outputs [256] of each profile."""
    data = one_input(op, options, scales=scales, zero_points=zero_points, **fields)
    return check_exactly(golden, data, [VALUES])


def check_exactly(golden: Golden, data: bytes, inputs: Sequence[Array]) -> dict[Numerics, Array]:
    """One sample through all oracles; the model's output in each profile."""
    graph = tflite.read(data, "test model")
    found = {}
    for numerics in Numerics:
        expected = reference.run(graph, inputs, numerics)
        check_host(data, [inputs], [expected], numerics)
        found[numerics] = expected[graph.outputs[0]]
    truth = golden.run(data, [inputs])[0][graph.outputs[0]]
    np.testing.assert_array_equal(found[Numerics.TFLITE], truth, "NumPy reference against interpreter")
    return found


def refused(data: bytes, *texts: str) -> None:
    """The model is refused with one message that holds all `texts`."""
    with pytest.raises((ModelError, ModelErrors)) as caught:
        passes.run(tflite.read(data, "test model"))
    for text in texts:
        assert text in str(caught.value)


def emit_activated(build: ModelBuilder, x: Value, op: str, options: str) -> bool:
    """One random operator of two inputs that broadcast, with a fused activation."""
    found = operands(build, x)
    if found is None:
        return False
    inputs, shape = found
    build.op(op, inputs, [build.random_output(shape)], options, **activated(build))
    return True


def refuse_sums(op: str, kind: str) -> None:
    """What ADD and SUB refuse."""

    def model(*arguments: Any, **changes: Any) -> bytes:
        shapes = arguments[0] if arguments else [(2, 3), (3,), (2, 3)]
        return two_inputs(op, shapes, kind, *arguments[1:], **changes)

    shapes = [(2, 3), (3,), (2, 3)]
    refused(model([(2, 3), (2,), (2, 3)]), f"operator 0 {op}", "do not broadcast", "[2, 3] and [2]")
    refused(model([(2, 3), (3,), (3, 2)]), "wrong shape", "[3, 2]", "[2, 3]")
    refused(model([(1,) * 9, (3,), (1,) * 8 + (3,)]), "too many axes", "9")
    refused(model(shapes, ["int8", "int32", "int8"]), "element types differ", "int8, int32, int8")
    refused(model(shapes, ["int64"] * 3, [None] * 3), "element type", "int64", "int8 or int16 or int32")
    refused(model(scales=(0.1, None, 0.3)), "needs one scale", "no quantisation")
    refused(model(scales=(0.1, 0.0, 0.3)), "scale is out of range")
    refused(model(zero_points=(0, 0, 200)), "zero point is out of range", "200")
    refused(model(scales=(0.1, 0.2, 1e-7)), "too small for its inputs", "1e-07", "> 3.8147e-07")
    refused(model(fusedActivationFunction=4), "fused activation", "TANH")
