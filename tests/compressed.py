"""What the tests of kernels for weights that take few values, or are mostly zero, share."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.modelbuilder import ModelBuilder
from tinygen import target
from tinygen.driver import Compiled, Model, compile_model
from tinygen.frontend import tflite
from tinygen.ir import Array
from tinygen.quant import Numerics
from tinygen.variants import Optimize
from tinygen.verify.compare import verify
from tinygen.verify.samples import random_samples


def compiled(build: ModelBuilder, board: str, goal: Optimize, numerics: Numerics = Numerics.TFLITE) -> Compiled:
    """The model for a board."""
    data = build.finish()
    model = Model("net.tflite", data, tflite.read(data, "net.tflite"))
    return compile_model(model, target.load(board), "net", numerics, optimize=goal)


def check(
    build: ModelBuilder,
    board: str,
    goal: Optimize,
    samples: int = 2,
    numerics: Numerics = Numerics.TFLITE,
    interpreter: bool = True,
) -> Compiled:
    """The C here and in the emulated board, the NumPy reference and the interpreter, every layer: all the same."""
    result = compiled(build, board, goal, numerics)
    inputs = random_samples(result.model.graph, samples)
    verdict = verify(result, inputs, interpreter=interpreter, board=target.load(board))
    assert verdict.difference is None, str(verdict.difference)
    return result


def templates(result: Compiled) -> list[str]:
    """The kernel of each layer, by its template."""
    functions = {function.name: function.template for function in result.program.functions}
    names = [functions[call.function] for call in result.program.calls]
    return [name.removeprefix("kernels/").removesuffix(".c.j2") for name in names]


def constant_bytes(result: Compiled) -> int:
    """All constants of the model."""
    return int(result.manifest["constant_bytes"])


def few_values(build: ModelBuilder, shape: tuple[int, ...], values: int, own: bool = False) -> Array:
    """Weights of so many values, both ends among them; `own`: other values in each filter."""

    def table() -> Array:
        inner = build.rng.choice(np.arange(-126, 127), values - 2, replace=False)
        return np.concatenate([[-127, 127], inner])

    shared = table()
    rows = [build.rng.choice(table() if own else shared, shape[1:]) for _ in range(shape[0])]
    return np.stack(rows)


def pairs_of_zeros(build: ModelBuilder, shape: tuple[int, ...], kept: float, size: int = 4) -> Array:
    """Weights [filters, ..., inputs], of which blocks of `size` filters keep that share of the pairs of inputs."""
    filters, *window, depth = shape
    weights = build.rng.integers(-127, 128, shape)
    for first in range(0, filters, size):
        keep = build.rng.random((*window, -(-depth // 4), 1, 2)) < kept
        mask = np.broadcast_to(keep, (*window, keep.shape[-3], 2, 2)).reshape(*window, -1)[..., :depth]
        weights[first : first + size] *= mask
    return weights


def dense(build: ModelBuilder, weights: Array, rows: int = 1, per_channel: bool = False, **more: Any) -> None:
    """One matrix over an input of its own."""
    units, depth = weights.shape
    count = units if per_channel else 1
    scales = 0.01 * 4.0 ** build.rng.uniform(-1, 1, count)
    x = build.input((rows, depth), "int8", 0.05, more.get("x_zero", -7))
    w = build.constant(weights, more.get("dtype", "int8"), scales, [more.get("weights_zero", 0)] * count)
    bias = build.constant(build.rng.integers(-2000, 2000, units), "int32", np.float32(0.05) * scales, [0] * count)
    slope = more.get("slope", 0.3 / np.sqrt(depth) / max(1, np.abs(weights).max()))
    y = build.tensor((rows, units), "int8", 0.05 * 0.01 / slope, more.get("y_zero", -128))
    activation = more.get("activation", 0)
    build.op("FULLY_CONNECTED", [x, w, bias], [y], "FullyConnected", fusedActivationFunction=activation)
