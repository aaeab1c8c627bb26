"""Convolution of few channels in chained outputs along runs of bytes: its C here, its instructions in the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_compilers, forms
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_tight, layers
from tests.rows_harness import check_rows, rows_of
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_generated_c import check_sanitized
from tinygen.ops import convolution_chain_runs_dsp, convolution_rows_dsp
from tinygen.verify.golden import Golden

KERNEL = "tg_conv_2d_chain_runs_dsp_s8"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is possible, whether or not it is faster than byte pairs, which would compute rows then."""
    monkeypatch.setattr(convolution_chain_runs_dsp, "FEWER_CYCLES", 1e9)
    monkeypatch.setattr(convolution_rows_dsp, "own_rows", lambda context: None)


def random_layers(seed: int, count: int = 5, batches: tuple[int, ...] = (1,)) -> ModelBuilder:
    """Windows of few inputs without a border to the left, one row to five, outputs of one sign and of both."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    while count:
        depth, kernel = build.pick([1, 2, 3, 3, 5, 6, 7]), tuple(int(size) for size in rng.integers(1, 6, 2))
        stride = tuple(int(step) for step in rng.integers(1, 4, 2))
        if depth * stride[1] % 2 or kernel[0] * -(-kernel[1] * depth // 2) > 20 or kernel == (1, 1):
            continue
        padding, outputs = build.pick([SAME, VALID]), int(rng.integers(4, 14))
        width = outputs * stride[1] if padding == SAME else (outputs - 1) * stride[1] + kernel[1] + int(rng.integers(3))
        if padding == SAME and kernel[1] - stride[1] not in (0, 1):
            continue  # a border to the left, or none at all
        height = int(rng.integers(1, 8)) + kernel[0]
        y_zero = build.pick([-128, -128, build.random_zero_point()])
        zeros = {"x_zero": build.random_zero_point(), "y_zero": y_zero, "activation": RELU if y_zero == -128 else NONE}
        shape, filters = (build.pick(batches), height, width, depth), 2 * int(rng.integers(1, 6))
        slope, channel = 10 ** rng.uniform(-4, -2), build.chance(0.7)
        convolution(build, shape, filters, kernel, stride, (1, 1), padding, per_channel=channel, slope=slope, **zeros)
        count -= 1
    convolution(build, (1, 6, 16, 3), 4, (3, 3), (2, 2), y_zero=3)
    return build


@pytest.mark.parametrize("board", BOARDS)
def test_random_shapes(board: str, always: None) -> None:
    build = random_layers(40 + BOARDS.index(board), batches=(1, 1, 2))
    assert set(forms(check(build, [board], samples=2), KERNEL)) == {"line", "roundings"}


@pytest.mark.parametrize("weight", [None, -128])
def test_weights_as_they_are_multiplied(weight: int | None, always: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halfwords, which many outputs are worth; one less has bytes."""
    build = random_layers(50, 3) if weight is None else ModelBuilder()
    for height in (48, 46):
        convolution(build, (1, height, 40, 3), 2, (3, 3), (2, 2), y_zero=3, weights=weight, slope=1e-4)
    functions = [function.values for function in check(build, samples=1).program.functions]
    assert [values["out_height"] for values in functions if values["halfwords"]] == [24]
    assert 23 in [values["out_height"] for values in functions]
    monkeypatch.setattr(convolution_chain_runs_dsp, "HALFWORDS_FROM", 0)
    assert all(function.values["halfwords"] for function in check(build, samples=1).program.functions)


def test_against_the_interpreter(golden: Golden, always: None) -> None:
    build = random_layers(44, 4)
    forms(check(build, samples=1), KERNEL)
    check_model(build.finish(), golden)


def test_first_layers_of_real_networks() -> None:
    """The kernel of choice; its rows are those of byte pairs, and take more."""
    build = ModelBuilder()
    for y_zero in (-128, 3):
        activation = RELU if y_zero == -128 else NONE
        convolution(build, (1, 16, 32, 3), 8, (3, 3), (2, 2), (1, 1), SAME, activation, -1, y_zero, slope=0.002)
    net = layers(build.finish(), BOARDS[0])
    assert [choice.variant.name for choice in net.choices] == ["chain_runs_dsp"] * 2
    assert all(form.extra_cycles > 0 for form in rows_of(net))
    check_rows(net, samples=1)


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_weights_and_inputs_at_their_ends(weight: int, zero_point: int, always: None) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 0, 127):
        convolution(
            build, (1, 4, 8, 3), 4, (3, 3), (2, 2), x_zero=zero_point, y_zero=y_zero, weights=weight, slope=1e-4
        )
    forms(check(build), KERNEL)


def test_every_end_of_a_row(always: None) -> None:
    """Outputs that are computed twice, pairs that lie in the row and behind it, rows too short for any."""
    build = ModelBuilder()
    for outputs in (4, 5, 6, 7, 8, 11, 16, 29):
        convolution(build, (1, 5, 2 * outputs, 3), 2, (3, 3), (2, 2))
        convolution(build, (1, 3, outputs + 2, 2), 4, (2, 3), (1, 1), (1, 1), VALID)
    forms(check(build, samples=2), KERNEL)


def test_over_the_input(always: None) -> None:
    """Rows are kept as pairs: an output may lie over them, and not a byte further."""
    assert check_tight(layers(random_layers(0, 6).finish(), BOARDS[0])) > 0


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (1, 6, 16, 4)},
        {"filters": 3},
        {"shape": (1, 7, 15, 3)},
        {"stride": (1, 1)},
        {"shape": (1, 6, 6, 3)},
        {"dilation": (2, 2), "stride": (1, 1)},
        {"kernel": (6, 3)},
        {"shape": (1, 12, 16, 7)},
        {"activation": RELU6, "slope": 0.002},
    ],
    ids=["whole words", "odd filters", "left", "odd way", "few outputs", "gaps", "many rows", "many words", "limits"],
)
def test_what_it_is_not_for(options: dict[str, Any], always: None) -> None:
    build = ModelBuilder()
    choice: dict[str, Any] = {"shape": (1, 6, 16, 3), "filters": 4, "kernel": (3, 3), "stride": (2, 2)} | options
    convolution(build, choice.pop("shape"), choice.pop("filters"), choice.pop("kernel"), choice.pop("stride"), **choice)
    assert not forms_of(build)


def forms_of(build: ModelBuilder) -> list[str]:
    """The functions of this kernel."""
    return [f.name for f in check(build, samples=1).program.functions if f.name.startswith(KERNEL)]


def test_nothing_outside_its_buffers(tmp_path: Path, always: None) -> None:
    check_sanitized(random_layers(7, 6).finish(), tmp_path, "cortex-m4f")


@pytest.mark.parametrize("least", [0, 10**6], ids=["halfwords", "bytes"])
def test_every_compiler(tmp_path: Path, always: None, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution_chain_runs_dsp, "HALFWORDS_FROM", least)
    build = ModelBuilder()
    convolution(build, (2, 6, 16, 3), 4, (3, 3), (2, 2))
    convolution(build, (1, 5, 9, 2), 2, (2, 3), (1, 1), (1, 1), VALID, y_zero=3)
    convolution(build, (1, 9, 18, 3), 2, (2, 2), (3, 2), (1, 1), VALID)
    check_compilers(build, tmp_path)
