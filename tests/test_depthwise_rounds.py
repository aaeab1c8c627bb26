"""The leanest depthwise convolutions for the DSP extension: rounds of outputs, one function for many sizes."""

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

LINE, STRIDED = "line_rounds_dsp", "strided_rounds_dsp"
STRIDES = {LINE: 1, STRIDED: 2}
KERNELS = {f"kernels/depthwise_conv_2d.{name.replace('_', '.')}.c.j2" for name in STRIDES}
ANYTHING = Room(lacking_bytes=10**6)


def net(build: ModelBuilder, variant: str, board: str = BOARDS[0]) -> Layers:
    """The layers, all with this kernel."""
    return layers(build.finish(), board).of_variant({"depthwise_conv_2d": variant})


def in_place(choice: Choice, rule: Overlap) -> int | None:
    (distance,) = rule.exact
    return distance


def lean(build: ModelBuilder) -> Compiled:
    """The model with the leanest functions that there are."""
    data = build.finish()
    model = Model("net.tflite", data, tflite.read(data, "net.tflite"))
    return compile_model(model, target.load(BOARDS[0]), "net", room=ANYTHING)


def random_maps(seed: int, shapes: Sequence[tuple[int, int]], stride: int) -> ModelBuilder:
    """Layers of so many rows and columns of outputs."""
    build = ModelBuilder(np.random.default_rng(seed))
    for rows, columns in shapes:
        zero, slope = build.random_zero_point(), 10 ** build.rng.uniform(-3, -2)
        depth = int(build.rng.integers(1, 9))
        shape = (1, stride * rows, stride * columns, depth)
        depthwise(build, shape, stride, x_zero=zero, slope=slope, scale_spread=1.5, bias=0)
    return build


@pytest.mark.parametrize("variant", STRIDES)
@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str, variant: str) -> None:
    """One round and several, from two rows on, odd and even, over the input and apart."""
    sizes = [(2, 4), (3, 6), (5, 8), (7, 12), (2, 16), (4, 18), (9, 24)]
    sizes += [(3, 3), (2, 5), (4, 7)] if variant == STRIDED else []
    chosen = net(random_maps(BOARDS.index(board), sizes, STRIDES[variant]), variant, board)
    assert differing(chosen, placed(chosen, in_place), emulated=True) == set()
    assert differing(chosen, placed(chosen, lambda choice, rule: None), samples=2) == set()


@pytest.mark.parametrize("variant", STRIDES)
@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_ends(weight: int, zero_point: int, variant: str) -> None:
    build, stride = ModelBuilder(), STRIDES[variant]
    for columns in (4, 6, 12):
        shape = (1, 3 * stride, columns * stride, 3)
        depthwise(build, shape, stride, x_zero=zero_point, weights=weight, slope=1e-3)
    chosen = net(build, variant)
    assert differing(chosen, placed(chosen, in_place), samples=3, emulated=True) == set()


@pytest.mark.parametrize("variant", STRIDES)
def test_a_byte_to_either_side(variant: str) -> None:
    """Meets a channel that is still to be read."""
    chosen = net(random_maps(9, [(4, 6), (5, 8), (3, 12)], STRIDES[variant]), variant)
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
    assert not applies(LINE, shape, **options)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 12, 4, 3), {}),
        ((1, 2, 12, 3), {}),
        ((1, 12, 11, 3), {}),
        ((1, 11, 12, 3), {}),
        ((2, 12, 12, 3), {}),
        ((1, 12, 12, 3), {"padding": VALID}),
        ((1, 12, 12, 3), {"stride": 1}),
        ((1, 12, 12, 3), {"activation": RELU6, "slope": 0.002}),
        ((1, 12, 12, 3), {"y_zero": 3}),
    ],
    ids=["no rounds", "one row", "columns", "rows", "batches", "no border", "stride", "limits", "both signs"],
)
def test_what_the_strided_one_is_not_for(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    assert not applies(STRIDED, shape, **{"stride": 2} | options)


def applies(name: str, shape: tuple[int, ...], **options: Any) -> bool:
    """Whether the kernel of that name is for this layer."""
    build = ModelBuilder()
    depthwise(build, shape, **options)
    (choice,) = layers(build.finish(), BOARDS[0]).choices
    (variant,) = (variant for variant in SPECS["depthwise_conv_2d"].variants if variant.name == name)
    return variant.when(choice.context)


def several(*strides: int) -> ModelBuilder:
    """Maps of several sizes, each with a function of its own."""
    build = ModelBuilder()
    for rows, columns, depth in ((24, 24, 8), (12, 12, 16), (48, 48, 2), (6, 6, 5), (4, 6, 3)):
        for stride in strides:
            shape = (1, stride * rows, stride * columns, depth)
            depthwise(build, shape, stride, padding=SAME, scale_spread=1.5, slope=0.004)
    return build


def test_it_takes_the_place_of_several(tmp_path: Path) -> None:
    """Only where flash is lacking; compiled without a warning, and exact."""
    result = lean(several(1, 2))
    assert sorted(function.template for function in result.program.functions) == sorted(KERNELS)
    verdict = verify(result, random_samples(result.model.graph, 2), interpreter=False, board=target.load(BOARDS[0]))
    assert verdict.difference is None, str(verdict.difference)
    check_files(result, tmp_path, ("-O0", "-O2", "-Os"))


@pytest.mark.parametrize("variant", STRIDES)
def test_nothing_outside_its_buffers(tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scratch included: the C beside the instructions, with poisoned bytes between all buffers."""
    build = several(STRIDES[variant])
    monkeypatch.setattr(test_generated_c, "choose", lambda graph, *others: net(build, variant).choices)
    check_sanitized(build.finish(), tmp_path, "cortex-m4f")
