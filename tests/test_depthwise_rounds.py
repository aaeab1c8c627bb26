"""The leanest depthwise convolution for the DSP extension: rounds of columns, one function for many sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import test_generated_c
from tests.dsp import BOARDS, RELU6, check_files
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import Layers, differing, layers, placed
from tests.test_depthwise_dsp import SAME, VALID, depthwise
from tests.test_generated_c import check_sanitized
from tinygen import target
from tinygen.driver import Compiled, Model, compile_model
from tinygen.frontend import tflite
from tinygen.ops import SPECS
from tinygen.ops.spec import Overlap
from tinygen.variants import Choice, Room
from tinygen.verify.compare import verify
from tinygen.verify.samples import random_samples

KERNEL = "kernels/depthwise_conv_2d.line.rounds.dsp.c.j2"
VARIANT = "line_rounds_dsp"
ANYTHING = Room(lacking_bytes=10**6)


def net(build: ModelBuilder, board: str = BOARDS[0]) -> Layers:
    """The layers, all with this kernel."""
    return layers(build.finish(), board).of_variant({"depthwise_conv_2d": VARIANT})


def in_place(choice: Choice, rule: Overlap) -> int | None:
    (distance,) = rule.exact
    return distance


def lean(build: ModelBuilder) -> Compiled:
    """The model with the leanest functions that there are."""
    data = build.finish()
    model = Model("net.tflite", data, tflite.read(data, "net.tflite"))
    return compile_model(model, target.load(BOARDS[0]), "net", room=ANYTHING)


def random_maps(seed: int, shapes: Sequence[tuple[int, int]]) -> ModelBuilder:
    build = ModelBuilder(np.random.default_rng(seed))
    for rows, columns in shapes:
        zero, slope = build.random_zero_point(), 10 ** build.rng.uniform(-3, -2)
        depth = int(build.rng.integers(1, 9))
        depthwise(build, (1, rows, columns, depth), x_zero=zero, slope=slope, scale_spread=1.5, bias=0)
    return build


@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str) -> None:
    """One round and several, from two rows on, odd and even, over the input and apart."""
    chosen = net(random_maps(BOARDS.index(board), [(2, 4), (3, 6), (5, 8), (7, 12), (2, 16), (4, 18), (9, 24)]), board)
    assert differing(chosen, placed(chosen, in_place), emulated=True) == set()
    assert differing(chosen, placed(chosen, lambda choice, rule: None), samples=2) == set()


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_ends(weight: int, zero_point: int) -> None:
    build = ModelBuilder()
    for columns in (4, 6, 12):
        depthwise(build, (1, 3, columns, 3), x_zero=zero_point, weights=weight, slope=1e-3)
    chosen = net(build)
    assert differing(chosen, placed(chosen, in_place), samples=3, emulated=True) == set()


def test_a_byte_to_either_side() -> None:
    """Meets a channel that is still to be read."""
    chosen = net(random_maps(9, [(4, 6), (5, 8), (3, 12)]))
    for distance in (-1, 1):
        found = differing(chosen, placed(chosen, lambda choice, rule, distance=distance: distance))
        assert found == {index for index, choice in enumerate(chosen.choices) if choice.context.input(0).shape[3] > 1}
        assert len(found) >= 2


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 6, 10, 3), {}),
        ((1, 1, 6, 3), {}),
        ((2, 6, 6, 3), {}),
        ((1, 6, 6, 3), {"padding": VALID}),
        ((1, 6, 6, 3), {"stride": 2}),
        ((1, 6, 6, 3), {"activation": RELU6, "slope": 0.002}),
        ((1, 6, 6, 3), {"y_zero": 3}),
    ],
    ids=["no rounds", "one row", "batches", "no border", "stride", "limits", "both signs"],
)
def test_what_it_is_not_for(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    build = ModelBuilder()
    depthwise(build, shape, **options)
    (choice,) = layers(build.finish(), BOARDS[0]).choices
    (variant,) = (variant for variant in SPECS["depthwise_conv_2d"].variants if variant.name == VARIANT)
    assert not variant.when(choice.context)


def several() -> ModelBuilder:
    """Maps of several sizes, each with a function of its own."""
    build = ModelBuilder()
    for rows, columns, depth in ((24, 24, 8), (12, 12, 16), (48, 48, 2), (6, 6, 5), (4, 6, 3)):
        depthwise(build, (1, rows, columns, depth), padding=SAME, scale_spread=1.5, slope=0.004)
    return build


def test_it_takes_the_place_of_several(tmp_path: Path) -> None:
    """Only where flash is lacking; compiled without a warning, and exact."""
    result = lean(several())
    assert [function.template for function in result.program.functions] == [KERNEL]
    verdict = verify(result, random_samples(result.model.graph, 2), interpreter=False, board=target.load(BOARDS[0]))
    assert verdict.difference is None, str(verdict.difference)
    check_files(result, tmp_path, ("-O0", "-O2", "-Os"))


def test_nothing_outside_its_buffers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scratch included: the C beside the instructions, with poisoned bytes between all buffers."""
    build = several()
    monkeypatch.setattr(test_generated_c, "choose", lambda graph, *others: net(build).choices)
    check_sanitized(build.finish(), tmp_path, "cortex-m4f")
