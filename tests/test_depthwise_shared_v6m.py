"""Depthwise convolutions for Armv6-M whose layers of all sizes share a function."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import test_generated_c
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import Layers, check_tight, differing, layers, placed
from tests.test_depthwise_dsp import NONE, RELU, RELU6, SAME, VALID, depthwise
from tests.test_generated_c import check_sanitized
from tests.test_v6m import compiles
from tinygen import target
from tinygen.driver import Compiled, Model, compile_model
from tinygen.frontend import tflite
from tinygen.ops import SPECS, depthwise_shared_v6m, depthwise_v6m
from tinygen.variants import Choice, Room
from tinygen.verify.compare import verify
from tinygen.verify.samples import random_samples

KERNEL = "kernels/depthwise_conv_2d.shared.v6m.c.j2"
VARIANT = "shared_v6m"
BOARDS = ("pico", "nucleo_f072rb")
ANYTHING = Room(lacking_bytes=10**6)


def net(build: ModelBuilder, board: str = BOARDS[0]) -> Layers:
    """The layers, all with this kernel."""
    return layers(build.finish(), board).of_variant({"depthwise_conv_2d": VARIANT})


def check(chosen: Layers, samples: int = 3) -> None:
    """The C here and in the emulated board, against the NumPy reference, every layer apart from its input."""
    result = placed(chosen, lambda choice, rule: None)
    for emulated in (False, True):
        assert differing(chosen, result, samples, emulated) == set()


def lean(build: ModelBuilder) -> Compiled:
    """The model with the leanest functions that there are."""
    data = build.finish()
    model = Model("net.tflite", data, tflite.read(data, "net.tflite"))
    return compile_model(model, target.load(BOARDS[0]), "net", room=ANYTHING)


def fitting(choice: Choice) -> bool:
    (variant,) = (variant for variant in SPECS["depthwise_conv_2d"].variants if variant.name == VARIANT)
    return variant.fits(choice.context, target.load(BOARDS[0]).core.features)


@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str) -> None:
    """Any sizes and zero points, both strides and paddings, either axis along the rows, a few batches."""
    build = ModelBuilder(np.random.default_rng(BOARDS.index(board)))
    rng = build.rng
    for _ in range(14):
        padding = build.pick([SAME, SAME, VALID])
        height, width, depth = (int(size) for size in rng.integers(3 if padding == VALID else 2, [16, 16, 9]))
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, -128, build.random_zero_point()])}
        choice = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-3, -1.5)}
        shape, stride = (build.pick([1, 1, 2]), height, width, depth), build.pick([1, 1, 2])
        depthwise(build, shape, stride, padding, scale_spread=1.5, bias=0, **choice, **zeros)
    check(net(build, board))


def test_every_number_of_columns() -> None:
    """Pairs of words in rounds of three and beside them, odd ones, lone windows; the rows along either axis."""
    build = ModelBuilder(np.random.default_rng(7))
    for columns in range(2, 10):
        for shape, stride in (((1, 9, columns, 2), 1), ((1, columns, 12, 2), 1), ((1, 8, columns, 2), 2)):
            depthwise(build, shape, stride, x_zero=7, bias=0, slope=0.004)
    check(net(build), samples=2)


def test_ends() -> None:
    """Lanes as full as they can be, one product at a time."""
    build = ModelBuilder()
    for weight, zero_point, stride in product((-128, -127, 127), (-128, 127), (1, 2)):
        depthwise(
            build, (1, 6, 5, 3), stride, x_zero=zero_point, weights=weight, bias=[2**17, -(2**17), 2**15], slope=2e-3
        )
    check(net(build), samples=6)


def test_where_its_output_may_lie() -> None:
    """At the bounds of the rule, and a byte beyond them."""
    build = ModelBuilder(np.random.default_rng(3))
    for shape, stride in (((1, 7, 6, 3), 1), ((2, 5, 6, 3), 1), ((1, 9, 8, 4), 2), ((1, 6, 10, 5), 1)):
        depthwise(build, shape, stride, x_zero=0, bias=0, slope=0.004)
    assert check_tight(net(build), samples=12) >= 3


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 40, 40, 3), {}),
        ((1, 1, 1, 3), {}),
        ((1, 6, 6, 3), {"stride": 3}),
        ((1, 6, 6, 3), {"kernel": (3, 5)}),
        ((1, 6, 6, 3), {"y_zero": 3, "bias": 0}),
    ],
    ids=["too large", "one pixel", "stride", "window", "both signs"],
)
def test_what_it_is_not_for(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    build = ModelBuilder()
    depthwise(build, shape, **options)
    (choice,) = layers(build.finish(), BOARDS[0]).choices
    assert not fitting(choice)


def several(stride: int = 1) -> ModelBuilder:
    """Maps of several sizes, each with a function of its own."""
    build = ModelBuilder()
    for rows, columns, depth in ((12, 12, 9), (6, 6, 6), (13, 9, 4), (5, 7, 3), (20, 4, 3)):
        depthwise(build, (1, stride * rows, stride * columns, depth), stride, scale_spread=1.5, slope=0.004, bias=0)
    return build


@pytest.mark.parametrize("stride", [1, 2])
def test_it_takes_the_place_of_several(stride: int, tmp_path: Path) -> None:
    """One function in place of each; compiled without a warning, and exact."""
    result = lean(several(stride))
    assert [function.template for function in result.program.functions] == [KERNEL]
    verdict = verify(result, random_samples(result.model.graph, 2), interpreter=False, board=target.load(BOARDS[0]))
    assert verdict.difference is None, str(verdict.difference)


def test_one_map_keeps_its_own() -> None:
    build = ModelBuilder()
    depthwise(build, (1, 12, 12, 9), scale_spread=1.5, slope=0.004, bias=0)
    assert KERNEL not in [function.template for function in lean(build).program.functions]


def test_its_price() -> None:
    """What it takes more is little, and grows with the outputs; bytes are counted for each way that is printed."""
    contexts = [choice.context for choice in net(several()).choices]
    for context in contexts:
        own = depthwise_v6m.cycles(context) * context.input(0).shape[3]
        assert abs(depthwise_shared_v6m.extra_cycles(context)) < 0.2 * own
    even, lone = (depthwise_v6m.code_bytes(contexts[place]) for place in (0, 1))
    assert even < lone < depthwise_shared_v6m.OWN_BYTES


def test_compilers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No warning at any level of optimisation, with the instructions and without."""
    monkeypatch.setattr("tests.test_v6m.compiled", lambda build, board: lean(build))
    compiles(several(), tmp_path)


def test_nothing_outside_its_buffers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scratch included: the C beside the instructions, with poisoned bytes between all buffers."""
    build = several(2)
    monkeypatch.setattr(test_generated_c, "choose", lambda graph, *others: net(build).choices)
    check_sanitized(build.finish(), tmp_path, "cortex-m0plus")
