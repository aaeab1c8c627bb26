"""Convolutions whose windows lie in one piece (DSP): what is copied, their C here, their instructions in emulators."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_files, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_tight, layers
from tests.rows_harness import check_rows
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_generated_c import check_sanitized
from tinygen.driver import Compiled
from tinygen.ops import convolution_contiguous_dsp
from tinygen.ops.convolution_contiguous_dsp import Windows
from tinygen.verify.golden import Golden

pytestmark = pytest.mark.usefixtures("every_function")

KERNEL = "kernels/conv_2d.contiguous.chain.dsp.c.j2"
NAME = "contiguous_dsp"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is possible, whether or not it is faster."""
    monkeypatch.setattr(convolution_contiguous_dsp, "FEWER_CYCLES", 1e9)


def templates(result: Compiled) -> list[str]:
    """Of all layers."""
    functions = {function.name: function for function in result.program.functions}
    return [functions[call.function].template for call in result.program.calls]


def test_all_windows_read_what_they_should() -> None:
    """Any length, window, stride and border: each output once, from bytes of the padded input."""
    copies = set()
    sizes = (4, 9, 31), (1, 2, 5, 8), (1, 2, 7), (0, 1, 4), (0, 1), (1, 3)
    for length, taps, stride, pad, more, element in product(*sizes):
        if pad + more >= taps or length + 2 * pad + more < taps:
            continue
        count = (length + 2 * pad + more - taps) // stride + 1
        x = np.arange(1, length * element + 1)
        padded = np.pad(x, (pad * element, (pad + more) * element))
        net = Windows(count, taps * element, stride * element, pad * element, len(x))
        outputs = []
        for part in net.parts:
            data = np.concatenate([np.zeros(part.before), x[part.read : part.read + part.size], np.zeros(part.after)])
            assert part.copied or part.before + part.after == 0
            assert not part.copied or len(data) <= net.edge_bytes
            for index in range(part.count):
                window = data[index * net.step :][: net.inputs]
                first = (part.first + index) * net.step
                np.testing.assert_array_equal(window, padded[first : first + net.inputs])
                outputs.append(part.first + index)
        assert outputs == list(range(count))
        copies.add(tuple(part.copied for part in net.parts))
    assert copies >= {(True,), (False,), (True, False, True), (True, False), (False, True)}


def random_layers(seed: int, count: int = 14) -> ModelBuilder:
    """Windows over either axis, or as wide as the input; any stride, border and number of filters."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for _ in range(count):
        taps, stride, depth = int(rng.integers(2, 10)), int(rng.integers(1, 4)), build.pick([1, 2, 3, 5, 6])
        length = int(rng.integers(4, 12)) * stride + taps
        padding, width = build.pick([SAME, SAME, VALID]), build.pick([1, 1, 3])
        shape, kernel, steps = (1, length, width, depth), (taps, width), (stride, 1)
        if width > 1:
            padding = VALID
        elif build.chance(0.5):
            shape, kernel, steps = (1, 1, length, depth), (1, taps), (1, stride)
        y_zero = build.pick([-128, 3, build.random_zero_point()])
        choice = {"x_zero": build.random_zero_point(), "y_zero": y_zero, "activation": RELU if y_zero == -128 else NONE}
        choice |= {"slope": 10 ** rng.uniform(-4, -2), "per_channel": build.chance(0.7)}
        convolution(build, shape, int(rng.integers(2, 12)), kernel, steps, (1, 1), padding, **choice)
    return build


@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str, always: None) -> None:
    count = 14 if board == BOARDS[0] else 6
    assert templates(check(random_layers(70 + BOARDS.index(board), count), [board])).count(KERNEL) >= count // 3


def test_random_against_the_interpreter(golden: Golden, always: None) -> None:
    build = random_layers(75, 5)
    assert templates(compiled(build)).count(KERNEL) >= 2
    check_model(build.finish(), golden)


def test_first_layers_of_real_networks() -> None:
    """The kernel of choice for few channels over time."""
    build = ModelBuilder()
    convolution(build, (1, 1, 250, 1), 12, (1, 16), slope=0.003)
    convolution(build, (1, 512, 1, 1), 8, (64, 1), (16, 1), slope=0.001)
    convolution(build, (1, 128, 1, 3), 16, (9, 1), slope=0.003, y_zero=3)
    assert set(templates(check(build, samples=2))) == {KERNEL}


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_weights_and_inputs_at_their_ends(weight: int, zero_point: int, always: None) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 0):
        convolution(build, (1, 1, 20, 3), 5, (1, 7), x_zero=zero_point, y_zero=y_zero, weights=weight, slope=1e-4)
    assert set(templates(check(build))) == {KERNEL}


@pytest.mark.parametrize(
    ("shape", "kernel", "options"),
    [
        ((1, 1, 40, 1), (1, 3), {}),
        ((1, 2, 40, 1), (1, 9), {}),
        ((2, 1, 40, 1), (1, 9), {}),
        ((1, 1, 40, 1), (1, 9), {"dilation": (1, 2)}),
        ((1, 1, 40, 1), (3, 9), {}),
        ((1, 40, 3, 1), (9, 3), {}),
        ((1, 1, 40, 1), (1, 9), {"activation": RELU6, "y_zero": 0}),
        ((1, 1, 40, 1), (1, 9), {"filters": 1}),
        ((1, 1, 3, 1), (1, 9), {}),
    ],
    ids=["inputs", "rows", "batches", "gaps", "above", "beside", "limits", "one filter", "three outputs"],
)
def test_what_other_kernels_compute(
    shape: tuple[int, ...], kernel: tuple[int, int], options: dict[str, Any], always: None
) -> None:
    build = ModelBuilder()
    convolution(build, shape, kernel=kernel, **options)
    assert KERNEL not in templates(compiled(build))


def test_where_the_output_may_lie(always: None) -> None:
    """Before the input by as many bytes as the rule says, and no byte less."""
    build = ModelBuilder(np.random.default_rng(77))
    for shape, kernel, stride in (((1, 1, 30, 1), (1, 7), (1, 1)), ((1, 33, 1, 4), (6, 1), (3, 1))):
        convolution(build, shape, 3, kernel, stride, x_zero=0, bias=0, slope=0.004)
    convolution(build, (1, 1, 40, 5), 2, (1, 3), (1, 3), padding=VALID, x_zero=0, bias=0, slope=0.004)
    net = layers(build.finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {NAME}
    assert check_tight(net) >= 3


def test_row_by_row(always: None) -> None:
    """By pairs of outputs."""
    build = ModelBuilder()
    convolution(build, (1, 20, 1, 3), 8, (5, 1))
    convolution(build, (1, 20, 3, 1), 8, (5, 3), (2, 1), padding=VALID)
    net = layers(build.finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {NAME}
    check_rows(net)


def test_nothing_outside_its_buffers(tmp_path: Path, always: None) -> None:
    build = random_layers(79, 5)
    assert templates(compiled(build)).count(KERNEL) >= 2
    check_sanitized(build.finish(), tmp_path, "cortex-m4f")


def test_every_compiler(tmp_path: Path, always: None) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 3):
        convolution(build, (1, 1, 40, 3), 5, (1, 7), y_zero=y_zero)
        convolution(build, (1, 1, 40, 3), 6, (1, 7), padding=VALID, y_zero=y_zero)
    result = compiled(build)
    assert set(templates(result)) == {KERNEL}
    check_files(result, tmp_path, ("-O0", "-O2"))
