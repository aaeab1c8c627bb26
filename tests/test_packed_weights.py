"""Weights that take few values are stored in 2, 3 or 4 bits: exact on all oracles, and smaller by what is promised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import dsp
from tests.compressed import check, compiled, constant_bytes, dense, few_values, templates
from tests.modelbuilder import ModelBuilder
from tests.test_convolution_dsp import convolution
from tests.test_generated_c import check_sanitized
from tests.test_pointwise_dsp import pointwise
from tinygen import variants
from tinygen.ops import codes
from tinygen.quant import Numerics
from tinygen.variants import Optimize

AVR = "ATmega1284P"
PACKED = {
    Optimize.COMPACT: {"conv_2d.pointwise.packed.dsp", "conv_2d.packed.dsp", "matrix_vector.packed.dsp"},
    Optimize.FLASH: {"conv_2d.pointwise.packed", "conv_2d.packed"},
}

MATRIX = {"matrix_vector.packed.dsp"}


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small layers are packed too."""
    monkeypatch.setattr(variants, "LEAST_SAVED_BYTES", 1)


def layers(build: ModelBuilder, values: int, own: bool) -> None:
    """A layer of every kind, with sizes that leave something over everywhere."""
    y_zero = build.pick([-128, 3])
    activation = build.pick([dsp.NONE, dsp.RELU6])
    pointwise(build, (1, 5, 3, 70), 22, activation, weights=few_values(build, (22, 1, 1, 70), values, own), x_zero=5)
    pointwise(build, (1, 4, 4, 68), 24, weights=few_values(build, (24, 1, 1, 68), values, own), y_zero=y_zero)
    pointwise(build, (1, 1, 1, 121), 13, weights=few_values(build, (13, 1, 1, 121), values, own), y_zero=y_zero)
    convolution(
        build, (1, 5, 6, 6), 14, stride=(2, 1), weights=few_values(build, (14, 3, 3, 6), values, own), y_zero=y_zero
    )
    convolution(build, (2, 4, 3, 5), 9, (5, 3), weights=few_values(build, (9, 5, 3, 5), min(values, 15), own), x_zero=9)
    dense(build, few_values(build, (30, 67), values, own), activation=activation, y_zero=y_zero)
    dense(build, few_values(build, (14, 64), values, own), rows=3, per_channel=True)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("values", "own", "board"),
    [
        (16, False, dsp.BOARDS[0]),
        (8, False, dsp.BOARDS[1]),
        (4, False, dsp.BOARDS[2]),
        (16, True, dsp.BOARDS[0]),
        (8, True, dsp.BOARDS[0]),
        (4, True, dsp.BOARDS[1]),
    ],
)
def test_cores_with_the_dsp_extension(values: int, own: bool, board: str) -> None:
    build = ModelBuilder(np.random.default_rng(values + own))
    layers(build, values, own)
    result = check(build, board, Optimize.COMPACT)
    one_row = "packed" if own else "codebook"
    assert set(templates(result)) == {*PACKED[Optimize.COMPACT] - MATRIX, f"matrix_vector.{one_row}.dsp"}
    bits = {function.values.get("packed", function.values)["bits"] for function in result.program.functions}
    assert int(values).bit_length() - 1 in bits and bits <= {2, 3, 4}


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("values", "own", "board"),
    [(16, False, AVR), (8, True, AVR), (8, False, "nucleo_l4r5zi"), (4, False, AVR), (4, True, "nucleo_l4r5zi")],
)
def test_plain_c(values: int, own: bool, board: str) -> None:
    """Cores with memories of their own for constants too."""
    build = ModelBuilder(np.random.default_rng(values + own))
    layers(build, values, own)
    convolution(build, (1, 4, 5, 12), 12, weights=few_values(build, (12, 3, 3, 4), values), groups=3, x_zero=4)
    result = check(build, board, Optimize.FLASH)
    assert set(templates(result)) == PACKED[Optimize.FLASH]
    assert {function.values["bits"] for function in result.program.functions} == {int(values).bit_length() - 1}


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(("board", "goal"), [("nucleo_l4r5zi", Optimize.COMPACT), (AVR, Optimize.FLASH)])
def test_uniform_4_bits_need_no_table(board: str, goal: Optimize) -> None:
    """Both ends, as INT4 of the file and as int8."""
    build = ModelBuilder()
    for dtype in ("int4", "int8"):
        weights = build.rng.integers(-8, 8, (18, 63))
        dense(build, weights, dtype=dtype, y_zero=3)
        dense(build, weights, rows=2, dtype=dtype)
    pointwise(build, (1, 3, 3, 65), 17, weights=build.rng.integers(-8, 8, (17, 1, 1, 65)), slope=0.01)
    convolution(build, filters=13, weights=build.rng.integers(-8, 8, (13, 3, 3, 3)), y_zero=0, slope=0.01)
    result = check(build, board, goal)
    found = {name.replace("nibbles", "packed") for name in templates(result)}
    assert found == PACKED[goal]
    assert not any("table" in data.symbol for data in result.program.data)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("board", dsp.BOARDS)
def test_matrices_of_4_bits_are_multiplied_as_they_lie(board: str) -> None:
    """Units and rounds of them, inputs behind the last word, both sizes of block, a last block that starts earlier."""
    build = ModelBuilder(np.random.default_rng(3))
    for units, depth in ((8, 4), (18, 63), (30, 130), (6, 40), (9, 1), (64, 257)):
        weights = build.rng.integers(-8, 8, (units, depth))
        y_zero, activation = build.pick([-128, 0, 3]), build.pick([dsp.NONE, dsp.RELU6])
        dense(build, weights, x_zero=build.random_zero_point(), y_zero=y_zero, activation=activation)
        dense(build, np.where(weights < 0, -8, 7), per_channel=True, x_zero=127)
    pointwise(build, (1, 1, 1, 70), 20, weights=build.rng.integers(-8, 8, (20, 1, 1, 70)), slope=0.01, y_zero=3)
    for numerics in Numerics:
        result = check(build, board, Optimize.COMPACT, numerics=numerics)
        assert set(templates(result)) == {"matrix_vector.nibbles.dsp"}


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(("values", "board"), [(16, dsp.BOARDS[0]), (8, dsp.BOARDS[1]), (4, dsp.BOARDS[2])])
def test_matrices_of_one_table_are_multiplied_by_pairs_of_its_values(values: int, board: str) -> None:
    """Units and rounds of them, inputs behind the last word, a last block that starts earlier."""
    build = ModelBuilder(np.random.default_rng(values))
    for units, depth in ((18, 63), (30, 130), (6, 40), (9, 41), (64, 257)):
        weights = few_values(build, (units, depth), values)
        y_zero, activation = build.pick([-128, 0, 3]), build.pick([dsp.NONE, dsp.RELU6])
        dense(build, weights, x_zero=build.random_zero_point(), y_zero=y_zero, activation=activation)
        dense(build, weights, per_channel=True, x_zero=127)
    pointwise(build, (1, 1, 1, 70), 20, weights=few_values(build, (20, 1, 1, 70), values), slope=0.01, y_zero=3)
    for numerics in Numerics:
        result = check(build, board, Optimize.COMPACT, numerics=numerics)
        assert set(templates(result)) == {"matrix_vector.codebook.dsp"}


def test_the_other_profile_of_numerics() -> None:
    build = ModelBuilder(np.random.default_rng(2))
    layers(build, 16, False)
    check(build, "nucleo_l4r5zi", Optimize.COMPACT, numerics=Numerics.TFLM)


def test_blocks_that_do_not_all_fit_in_scratch() -> None:
    """A group at a time, the last of which begins in the one before."""
    build = ModelBuilder()
    pointwise(build, (1, 2, 3, 120), 44, dsp.RELU6, weights=few_values(build, (44, 1, 1, 120), 4))
    convolution(build, (1, 4, 3, 32), 20, weights=few_values(build, (20, 3, 3, 32), 8), slope=1e-3)
    dense(build, few_values(build, (29, 300), 16, own=True), activation=dsp.RELU6)
    result = check(build, "nucleo_l4r5zi", Optimize.COMPACT)
    packed = [function.values["packed"] for function in result.program.functions]
    assert [numbers["at_once"] < numbers["blocks"] for numbers in packed] == [True] * 3
    assert any(numbers["blocks"] % numbers["at_once"] for numbers in packed)


@pytest.mark.parametrize(("values", "least"), [(16, 0.50), (8, 0.62), (4, 0.74)])
def test_what_is_saved(values: int, least: float) -> None:
    """Of the weights' bytes, tables counted."""
    build = ModelBuilder()
    pointwise(build, (1, 4, 4, 128), 128, weights=few_values(build, (128, 1, 1, 128), values))
    for small, fast in ((Optimize.COMPACT, Optimize.SPEED), (Optimize.FLASH, Optimize.SPEED)):
        sizes = [constant_bytes(compiled(build, "nucleo_l4r5zi", goal)) for goal in (small, fast)]
        assert sizes[1] - sizes[0] >= least * 128 * 128 - 16


def test_nothing_that_is_not_worth_its_code() -> None:
    """Seventeen values, few weights, a zero point of the weights."""
    build = ModelBuilder()
    pointwise(build, (1, 4, 4, 64), 64, weights=few_values(build, (64, 1, 1, 64), 17))
    pointwise(build, (1, 4, 4, 8), 8, weights=few_values(build, (8, 1, 1, 8), 4))
    dense(build, few_values(build, (64, 64), 4), weights_zero=3)
    for goal in (Optimize.COMPACT, Optimize.FLASH):
        result = check(build, "nucleo_l4r5zi", goal)
        assert not any("packed" in name for name in templates(result))


def test_speed_keeps_bytes() -> None:
    build = ModelBuilder()
    layers(build, 4, False)
    assert not any("packed" in name for name in templates(compiled(build, "nucleo_l4r5zi", Optimize.SPEED)))


def test_all_weights_the_same() -> None:
    build = ModelBuilder()
    for weight in (-127, 0, 127):
        weights = np.full((16, 1, 1, 40), weight)
        weights[0, 0, 0, 0] = 1
        pointwise(build, (1, 3, 3, 40), 16, weights=weights, slope=1e-4, y_zero=0)
    for goal in (Optimize.COMPACT, Optimize.FLASH):
        assert set(templates(check(build, "nucleo_l4r5zi", goal))) <= PACKED[goal]


def test_the_smaller_of_two_tables() -> None:
    """One for all, as long as it is not much longer; else one for each channel."""
    few, many = np.array([[1, 20, 30, 40] * 40]), np.array([[1, 20, 30, 40] * 2])
    shared, own = codes.find(np.concatenate([few, few])), codes.find(np.concatenate([few, few + 50]))
    assert shared is not None and not shared.per_channel and shared.bits == 2
    assert own is not None and own.per_channel and own.bits == 2
    short = codes.find(np.concatenate([many, many + 50] * 2))
    assert short is not None and short.bits == 3 and not short.per_channel
    assert codes.find(np.arange(-60, 60).reshape(4, 30)) is None


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("goal", PACKED)
def test_compilers(goal: Optimize, tmp_path: Path) -> None:
    """No warning with any, for a DSP core and in plain C."""
    build = ModelBuilder()
    for values, own in ((16, False), (8, True)):
        layers(build, values, own)
    dense(build, build.rng.integers(-8, 8, (18, 63)))
    dense(build, build.rng.integers(-8, 8, (6, 60)), per_channel=True, y_zero=5)
    dsp.check_files(compiled(build, "nucleo_l4r5zi", goal), tmp_path, ("-O2",))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("goal", PACKED)
def test_nothing_outside_its_buffers(goal: Optimize, tmp_path: Path) -> None:
    build = ModelBuilder()
    layers(build, 8, goal is Optimize.FLASH)
    dense(build, build.rng.integers(-8, 8, (18, 63)))
    check_sanitized(build.finish(), tmp_path, "cortex-m4f", goal)
