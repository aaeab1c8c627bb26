"""Matrices for cores with the DSP extension: their C on this computer, their instructions in the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_compilers, compiled, forms
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tinygen.ops import matrix_chain_dsp
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden

pytestmark = pytest.mark.usefixtures("every_function", "pairs_only")

KERNEL = "tg_matrix_vector_dsp_s8"
ROWS_KERNEL = "tg_fully_connected_pointwise_dsp_s8"


@pytest.fixture
def pairs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte pairs also where chains of four channels are faster."""
    monkeypatch.setattr(matrix_chain_dsp, "pairs_fit", lambda found: False)


def dense(
    build: ModelBuilder,
    depth: int = 12,
    units: int = 8,
    rows: int = 1,
    activation: int = NONE,
    x_zero: int = -128,
    y_zero: int = -128,
    slope: float = 0.005,
    weights: Any = None,
    bias: Any = None,
    per_channel: bool = False,
    weights_zero: int = 0,
) -> None:
    """One matrix over an input of its own; `slope` is about the output's steps for each unit of a sum."""
    count = units if per_channel else 1
    scales = 0.01 * 4.0 ** build.rng.uniform(-1, 1, count)
    x = build.input((rows, depth), "int8", 0.05, x_zero)
    data = build.rng.integers(-127, 128, (units, depth)) if weights is None else weights
    w = build.constant(np.broadcast_to(data, (units, depth)), "int8", scales, [weights_zero] * count)
    values = build.rng.integers(-20000, 20000, units) if bias is None else np.broadcast_to(bias, units)
    b = build.constant(values, "int32", np.float32(0.05) * scales.astype(np.float32), [0] * count)
    y = build.tensor((rows, units), "int8", 0.05 * 0.01 / slope, y_zero)
    build.op("FULLY_CONNECTED", [x, w, b], [y], "FullyConnected", fusedActivationFunction=activation)


def random_dense(build: ModelBuilder, least_units: int, most_units: int, inputs: int = 1, share: float = 0.3) -> None:
    """Any inputs, a multiple of `inputs`; all zero points, limits; scales by channel in a share of all."""
    zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3, build.random_zero_point()])}
    choice = {"activation": build.pick([NONE, NONE, RELU, RELU6]), "slope": 10 ** build.rng.uniform(-4, -1.7)}
    depth, units = (int(size) for size in build.rng.integers([1, least_units], [90, most_units]))
    dense(build, depth * inputs, units, per_channel=build.chance(share), **choice, **zeros)


def of_every_depth(units: int) -> ModelBuilder:
    """No whole unit of inputs, a round of units and some behind it, inputs behind the last word."""
    build = ModelBuilder()
    for depth in (1, 2, 3, 4, 5, 8, 15, 63, 64, 66, 130, 257):
        dense(build, depth, units, slope=0.01 / np.sqrt(depth), y_zero=-20)
    return build


def of_large_shapes() -> ModelBuilder:
    """Three matrices, each of many units."""
    build = ModelBuilder()
    for depth, units in ((640, 128), (128, 128), (130, 67)):
        dense(build, depth, units, slope=0.001, y_zero=int(build.rng.integers(-128, 128)))
    return build


def functions(build: ModelBuilder) -> list[str]:
    """The kernels of all layers."""
    return [call.function for call in compiled(build).program.calls]


@pytest.mark.parametrize("numerics", Numerics)
@pytest.mark.parametrize("board", BOARDS)
def test_random_shapes(board: str, numerics: Numerics) -> None:
    """Any inputs and outputs, all zero points, outputs of one sign and of both, limits inside the range."""
    build = ModelBuilder(np.random.default_rng(BOARDS.index(board) + 10))
    for _ in range(12):
        random_dense(build, least_units=4, most_units=30)
    dense(build, y_zero=3)
    found = set(forms(check(build, [board], numerics=numerics), KERNEL))
    assert found == ({"line"} if numerics is Numerics.TFLITE else {"line", "roundings"})


@pytest.mark.parametrize("units", [4, 7, 8, 9, 30])
def test_every_number_of_inputs(units: int) -> None:
    """No unit, a round and units behind it; inputs behind the last whole word; a last block that starts earlier."""
    forms(check(of_every_depth(units), samples=2), KERNEL)


def test_layers_of_all_shapes_share_a_kernel() -> None:
    result = check(of_large_shapes(), samples=2)
    assert len(result.program.functions) == 1
    assert result.program.functions[0].values["units"] == 16


def test_small_layers_take_little_code() -> None:
    build = ModelBuilder()
    dense(build, 64, 10)
    assert check(build).program.functions[0].values["units"] == 1


@pytest.mark.parametrize("weight", [-127, 127])
def test_weights_and_biases_at_their_ends(golden: Golden, weight: int) -> None:
    build = ModelBuilder()
    reach = 64 * 128 * 255
    bias = [2**29 - reach, reach - 2**29, 0, 1000, -1000, 40000, 9, 10]
    dense(build, 64, 8, weights=weight, bias=bias, slope=1e-3, x_zero=127)
    dense(build, 64, 8, y_zero=5, weights=weight, bias=bias, slope=1e-3)
    check(build, samples=4)
    check_model(build.finish(), golden)


def test_one_multiplier_is_enough_for_all_channels() -> None:
    build = ModelBuilder()
    dense(build, 40, 200, y_zero=4)
    result = check(build)
    finish = result.program.functions[0].values["finish"]
    assert finish["form"] == "line" and finish["words"] == (1, 0) and finish["multiplier"] == "layer[4]"


def test_several_rows_are_pixels() -> None:
    build = ModelBuilder()
    dense(build, 33, 9, 3, RELU6)
    dense(build, 16, 4, 2, y_zero=7, per_channel=True)
    for numerics in Numerics:
        forms(check(build, BOARDS[:2], numerics=numerics), ROWS_KERNEL)


def test_one_pixel_is_a_row() -> None:
    """A 1x1 convolution of a 1x1 map, which is scaled in two roundings under both profiles."""
    build = ModelBuilder()
    for y_zero in (-128, 5):
        x = build.input((1, 1, 1, 21), "int8", 0.05, 3)
        scales = build.rng.uniform(0.001, 0.02, 11).astype(np.float32)
        w = build.constant(build.rng.integers(-127, 128, (11, 1, 1, 21)), "int8", scales, [0] * 11)
        y = build.tensor((1, 1, 1, 11), "int8", 0.1, y_zero)
        b = build.constant(np.arange(11), "int32", np.float32(0.05) * scales, [0] * 11)
        build.op("CONV_2D", [x, w, b], [y], "Conv2D", strideH=1, strideW=1)
    assert forms(check(build, BOARDS), KERNEL) == ["line", "roundings"]


@pytest.mark.parametrize(
    "options",
    [
        {"units": 3},
        {"weights_zero": 4},
        {"rows": 3, "weights_zero": -4},
        {"weights": -128},
        {"rows": 2, "weights": -128},
        {"units": 3, "rows": 3},
    ],
    ids=str,
)
def test_other_layers_have_other_kernels(options: dict[str, Any]) -> None:
    """Too few channels, weights that have a zero point, weights that cannot be paired."""
    build = ModelBuilder()
    dense(build, **options)
    assert not functions(build)[0].startswith((KERNEL, ROWS_KERNEL))
    check(build)


def shapes(build: ModelBuilder, sizes: Sequence[tuple[int, int]]) -> None:
    """Layers of all forms and sizes of block."""
    for depth, units in sizes:
        dense(build, depth, units, activation=RELU6)
        dense(build, depth, units, y_zero=3, per_channel=True)


def test_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    shapes(build, ((64, 64), (9, 5)))
    check_compilers(build, tmp_path)
