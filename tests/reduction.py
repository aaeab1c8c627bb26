"""Random poolings, axes and sizes for the tests of operators that reduce or resize."""

from __future__ import annotations

import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.weighted import output_size, random_window
from tinygen import passes
from tinygen.errors import ModelError
from tinygen.frontend import tflite


def emit_pool(build: ModelBuilder, x: Value, name: str) -> bool:
    """A pooling of x with any window, stride, padding and activation."""
    if len(x.shape) != 4:
        return False
    batch, height, width, depth = x.shape
    window = random_window(build, height, width, dilated=False)
    y = build.random_output((batch, *output_size(window, height, width), depth), like=x)
    options = {key: value for key, value in window.options().items() if not key.startswith("dilation")}
    build.op(name, [x], [y], "Pool2D", filterHeight=window.kernel[0], filterWidth=window.kernel[1], **options)
    return True


def random_axes(build: ModelBuilder, rank: int) -> list[int]:
    """Some axes of `rank`: in any order, now and then twice, counted from either end."""
    axes = [int(axis) for axis in build.rng.permutation(rank)[: int(build.rng.integers(1, rank + 1))]]
    if build.chance(0.2):
        axes.append(build.pick(axes))
    return [axis - rank if build.chance(0.3) else axis for axis in axes]


def emit_position(build: ModelBuilder, x: Value, name: str) -> bool:
    """ARG_MAX or ARG_MIN along any axis, to int32 or int64."""
    rank = len(x.shape)
    if rank == 0:
        return False
    axis = int(build.rng.integers(rank))
    dtype = build.pick(["int32", "int64"])
    y = build.tensor(x.shape[:axis] + x.shape[axis + 1 :], dtype)
    written = axis - rank if build.chance(0.5) else axis
    named = build.constant(build.pick([written, [written]]), build.pick(["int32", "int64"]))
    kind = name.title().replace("_", "")
    build.op(name, [x, named], [y], kind, outputType={"int32": 2, "int64": 4}[dtype])
    return True


def emit_resize(build: ModelBuilder, x: Value, name: str, modes: list[dict[str, bool]]) -> bool:
    """A resize to a random size in one of `modes`."""
    if len(x.shape) != 4:
        return False
    batch, height, width, depth = x.shape
    exact = int(build.rng.integers(1, 4))
    size = build.pick([(height * exact, width * exact), tuple(int(s) for s in build.rng.integers(1, 21, 2))])
    if batch * size[0] * size[1] * depth > 4000:
        return False
    y = build.random_output((batch, *size, depth), like=x)
    kind = name.title().replace("_", "")
    build.op(name, [x, build.constant(size, "int32")], [y], kind, **build.pick(modes))
    return True


def refused(build: ModelBuilder, text: str) -> None:
    """The model is refused in one line that contains `text`."""
    with pytest.raises(ModelError, match=text) as caught:
        passes.run(tflite.read(build.finish(), "test model"))
    assert len(caught.value.lines) == 1
