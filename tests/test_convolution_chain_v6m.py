"""The kernel for Armv6-M cores that chains outputs of a row: its C on this computer, its instructions in boards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import NONE, RELU, RELU6, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import Layers, check_tight, layers
from tests.rows_harness import check_rows, rows_of
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import slope
from tests.test_v6m import BOARDS, CROSS, WIDENED, check_kernel, compiles, scaled
from tinygen.ops import convolution_chain_v6m
from tinygen.ops.chains_v6m import SHIFT
from tinygen.ops.convolution_chain_v6m import TEMPLATE
from tinygen.ops.window import convolution_geometry
from tinygen.verify.golden import Golden

NAME = "chain_v6m"
LAYERS = {"bbcmicrobit": 3, "pico": 12}
"""Of random layers side by side, that fit into the RAM of the board."""


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is possible, not only where it is faster."""
    monkeypatch.setattr(convolution_chain_v6m, "pays", lambda context: True)


def random_layer(build: ModelBuilder, batches: tuple[int, ...] = (1, 1, 2), **choice: Any) -> None:
    """Any window whose outputs fill groups: gaps between rows, windows that reach outside on all sides."""
    rng = build.rng
    height, depth, outputs = (int(size) for size in rng.integers([3, 1, 1], [9, 12, 3]))
    kernel, stride = (
        tuple(int(size) for size in rng.integers(1, 5, 2)),
        (int(rng.integers(1, 3)), build.pick([1, 1, 2, 3])),
    )
    same = kernel[0] > height // 2 or build.chance(0.5)
    width = (8 * outputs - 1) * stride[1] + (1 + int(rng.integers(0, stride[1])) if same else kernel[1])
    choice = {
        "padding": SAME if same else VALID,
        "stride": stride,
        "dilation": (build.pick([1, 1, 2]), 1),
        "activation": build.pick([NONE, RELU, RELU6]),
        "slope": 10 ** rng.uniform(-4, -2),
        "x_zero": build.random_zero_point(),
        "y_zero": build.pick([-128, -128, build.random_zero_point()]),
        **choice,
    }
    convolution(
        build, (build.pick(batches), height, width, depth), int(rng.integers(4, 14)), (kernel[0], kernel[1]), **choice
    )


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("board", BOARDS)
def test_random_windows(board: str) -> None:
    """Any inputs, channels, strides and zero points; outputs of one sign and of both."""
    build = ModelBuilder(np.random.default_rng(40 + BOARDS.index(board)))
    for _ in range(LAYERS[board]):
        random_layer(build)
    templates = {function.template for function in check_kernel(build, NAME, board).program.functions}
    assert TEMPLATE in templates


@pytest.mark.usefixtures("always")
def test_chunks(golden: Golden) -> None:
    """One chunk and several, of all the inputs of a unit or of half of them; inputs that fill rounds and do not."""
    build = ModelBuilder()
    for depth, kernel in (
        (1, (1, 1)),
        (2, (4, 4)),
        (16, (3, 3)),
        (7, (3, 3)),
        (33, (2, 2)),
        (40, (3, 2)),
        (64, (1, 3)),
    ):
        convolution(build, (1, 4, 8, depth), 5, kernel, slope=0.02 / np.sqrt(depth * kernel[0] * kernel[1]))
    result = check_kernel(build, NAME)
    scaled(result, TEMPLATE)
    assert {function.values["chunked"] for function in result.program.functions} == {False, True}
    check_model(build.finish(), golden)


def test_chunks_are_as_few_as_fit() -> None:
    """Sums of 20 bits: 4096 times the least input, whatever the signs."""
    found = []
    for weight in (28, 29, 127, -128):
        build = ModelBuilder()
        convolution(build, (1, 3, 8, 16), 4, weights=weight)
        context = layers(build.finish(), "pico").choices[0].context
        window = convolution_geometry(context)
        found.append(convolution_chain_v6m.chunking(np.full((4, 144), weight), window))
    assert found == [(16, 9), (8, 9), (8, 3), (8, 3)]


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("x_zero", [-128, 0, 127])
def test_weights_and_inputs_at_their_ends(x_zero: int) -> None:
    """Sums of all bits that a chain has: the samples hold the extremes of int8."""
    build = ModelBuilder()
    bias = [2**18, -(2**18), 0, 1000, -1000, 40000]
    signs = np.sign(build.rng.integers(0, 2, (6, 2, 3, 5)) - 0.5).astype(int)
    for data in (127, -127, 127 * signs, np.where(signs > 0, 127, -128)):
        for y_zero in (-128, 5):
            numbers: dict[str, Any] = {"y_zero": y_zero, "weights": data, "bias": bias, "slope": 1e-3, "x_zero": x_zero}
            convolution(build, (1, 3, 8, 5), 6, (2, 3), **numbers)
    functions = check_kernel(build, NAME, samples=6).program.functions
    assert TEMPLATE in {function.template for function in functions}


@pytest.mark.usefixtures("always")
def test_sums_of_many_bits() -> None:
    """Beyond what two multiplications of 32 bits take, sums are clamped to those between which outputs differ."""
    build = ModelBuilder(np.random.default_rng(5))
    for y_zero in (-128, 3):
        for depth, activation, steps in ((2, NONE, 0.003), (60, NONE, 0.001), (60, RELU6, 0.001)):
            convolution(build, (1, 3, 8, depth), 8, (2, 5), activation=activation, y_zero=y_zero, slope=steps)
    forms = scaled(check_kernel(build, NAME, samples=8), TEMPLATE)
    assert set(forms) == {"line", "kink", "bounded line", "bounded kink"}


def test_what_it_takes() -> None:
    """Whole groups of outputs, enough filters for the words of an input."""
    for width, filters, template in ((16, 16, TEMPLATE), (15, 16, WIDENED), (16, 4, WIDENED)):
        build = ModelBuilder()
        convolution(build, (1, 6, width, 16), filters)
        assert {function.template for function in compiled(build, "pico").program.functions} == {template}


@pytest.mark.usefixtures("always")
def test_layers_of_all_shapes_share_a_kernel() -> None:
    """But for the shift, where it is not the one that most layers have."""
    build = ModelBuilder()
    for depth in (1, 3, 4):
        convolution(build, (1, 6, 8, depth), 16, (3, 2), activation=RELU, slope=0.0005, y_zero=-128)
    functions = compiled(build, "pico").program.functions
    assert {function.template for function in functions} == {TEMPLATE}
    assert sorted(function.values["shift"] for function in functions) == [0, SHIFT]


@pytest.mark.usefixtures("always")
def test_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 3):
        for depth in (2, 64):
            convolution(build, (2, 4, 8, depth), 8, activation=RELU6, y_zero=y_zero, slope=0.001)
    compiles(build, tmp_path, CROSS[:2])


@pytest.mark.usefixtures("always")
def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    """Scratch included: the C beside the instructions, with poisoned bytes between all buffers."""
    build = ModelBuilder()
    for depth in (3, 24):
        convolution(build, (2, 5, 8, depth), 6)
        convolution(build, (1, 6, 18, depth), 6, (2, 3), (2, 2), padding=VALID)
        convolution(build, (1, 6, 24, depth), 6, (1, 1), (2, 3))
    check_sanitized(build.finish(), tmp_path, "cortex-m0plus")


def spread(seed: int, batches: tuple[int, ...]) -> Layers:
    """Random layers whose outputs spread over their range."""
    build = ModelBuilder(np.random.default_rng(seed))
    for _ in range(8):
        random_layer(build, batches, x_zero=0, y_zero=0, bias=0, activation=NONE, slope=slope(20))
    net = layers(build.finish(), "nucleo_g0b1re")
    assert NAME in {choice.variant.name for choice in net.choices}
    return net


@pytest.mark.usefixtures("always")
def test_overlap() -> None:
    """At the rule outputs are equal, one byte beyond they are not."""
    assert check_tight(spread(5, (1, 1, 2)), samples=12) >= 4


@pytest.mark.usefixtures("always")
def test_rows() -> None:
    """One row at a time, from rows at any address."""
    net = spread(7, (1,))
    assert TEMPLATE in {rows.template for rows in rows_of(net)}
    check_rows(net)


def test_rows_with_less_scratch() -> None:
    """Those that are widened, where their words take fewer bytes."""
    build = ModelBuilder()
    convolution(build, (1, 8, 8, 64), 64, weights=build.rng.integers(-40, 41, (64, 3, 3, 64)))
    rows = layers(build.finish(), "pico").choices[0].rows
    assert rows and rows.template == TEMPLATE and rows.small and rows.small.template == WIDENED
    assert rows.small.kernel.scratch_bytes < rows.kernel.scratch_bytes
    assert rows.small.extra_cycles > rows.extra_cycles
