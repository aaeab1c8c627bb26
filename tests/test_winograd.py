"""Winograd's convolution for cores with the DSP extension: exact, offered where it can be, chosen where it fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from tests import branchy_models, dsp
from tests.dsp import BOARDS, NONE, RELU, RELU6, compiled
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import check_tight, layers
from tests.test_cli import as_json, tinygen
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_generated_c import check_sanitized
from tinygen import ops, target
from tinygen.driver import Compiled, Model, compile_model
from tinygen.frontend import tflite
from tinygen.limits import Limits, compile_within
from tinygen.ops import bent_line, winograd_dsp
from tinygen.ops.spec import Context, OpSpec, Variant, context_of
from tinygen.quant import Numerics
from tinygen.variants import Choice, Optimize, goals
from tinygen.verify.compare import verify
from tinygen.verify.samples import random_samples

RUN_TIME, FLASH = VARIANTS = ("winograd_dsp", "winograd_flash_dsp")
KERNEL = "tg_conv_2d_winograd_dsp_s8"


@contextmanager
def preferring(name: str) -> Iterator[None]:
    """That variant wherever it applies, of layers as wholes."""
    best = OpSpec.variant_for

    def variant_for(spec: OpSpec, context: Context, features: frozenset[str]) -> Variant:
        fast = (v for v in spec.fast if v.name == name and v.features <= features and v.when(context))
        return next(fast, None) or best(spec, context, features)

    with mock.patch.object(OpSpec, "variant_for", variant_for), mock.patch.object(Choice, "rows", None):
        yield


def functions(result: Compiled) -> set[str]:
    """What is called, without numbers."""
    return {call.function.rpartition("_")[0] for call in result.program.calls}


def model(build: ModelBuilder) -> Model:
    data = build.finish()
    return Model("net.tflite", data, tflite.read(data, "net.tflite"))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("board", BOARDS)
def test_random_shapes(board: str, variant: str) -> None:
    """Maps of 4 pixels on, odd sizes and channels, both paddings, all zero points and ways to round."""
    build = ModelBuilder(np.random.default_rng(BOARDS.index(board) + 10 * VARIANTS.index(variant)))
    rng = build.rng
    for _ in range(7):
        padding = build.pick([SAME, VALID])
        height, width = (int(size) for size in rng.integers(4 if padding == SAME else 6, 14, 2))
        depth, filters = int(rng.integers(4, 40)), int(rng.integers(4, 14))
        numbers = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -2.5)}
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3, build.random_zero_point()])}
        weights = rng.normal(0, 20, (filters, 3, 3, depth)).clip(-128, 127).astype(np.int8)
        shape = (build.pick([1, 1, 2]), height, width, depth)
        convolution(
            build, shape, filters, padding=padding, weights=weights, per_channel=build.chance(0.7), **numbers, **zeros
        )
    with preferring(variant):
        assert functions(dsp.check(build, [board], samples=2)) == {KERNEL}


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("x_zero", [-128, 127])
def test_weights_and_zero_points_at_their_ends(weight: int, x_zero: int) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 0, 127):
        convolution(build, (1, 5, 6, 8), x_zero=x_zero, y_zero=y_zero, weights=weight, slope=1e-4)
    for variant in VARIANTS:
        with preferring(variant):
            assert functions(dsp.check(build)) == {KERNEL}


def test_two_roundings_where_no_line_is_found() -> None:
    build = ModelBuilder()
    for y_zero in (-128, 4):
        convolution(build, (1, 6, 9, 12), 6, y_zero=y_zero, slope=2e-3)
    forms = []
    for change in ({}, {"return_value": None}):
        with preferring(RUN_TIME), mock.patch.object(bent_line, "search", **change or {"wraps": bent_line.search}):
            forms.append({function.values["form"] for function in dsp.check(build).program.functions})
    assert forms == [{"bent"}, {"roundings"}]


def test_sums_as_great_as_can_be() -> None:
    """576 times the greatest is below 2**31; one channel more, and another kernel takes the layer."""
    depth = (2**31 // winograd_dsp.ENLARGED) // (9 * 127 * 255)
    for channels, kernel in ((depth, KERNEL), (depth + 1, "tg_conv_2d_dsp_s8")):
        build = ModelBuilder()
        for y_zero in (-128, 5):
            convolution(build, (1, 4, 4, channels), 4, weights=127, slope=3e-5, y_zero=y_zero)
        with preferring(RUN_TIME):
            assert functions(dsp.check(build)) == {kernel}


INPUT_ROWS = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
OUTPUT_ROWS = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
"""The other two transforms of F(4x4, 3x3), as they are published: with fractions in the third."""
ENLARGED_ROWS = np.array([4, -6, -6, 24, 24, 1])


def test_transforms() -> None:
    """A tile by a filter is 576 times their convolution, in whole numbers."""
    rng = np.random.default_rng(0)
    blocks, tile = rng.integers(-128, 128, (2, 3, 4, 3, 3, 2)), rng.integers(0, 256, (6, 6))
    words, one = winograd_dsp.transformed(blocks), blocks[1, 2, 3, :, :, 1]
    assert words.shape == (2, 3, 6, 6, 4) and words.dtype == np.uint32
    filtered = words[1, 2, :, :, 3].view(np.int32) >> 16
    back = OUTPUT_ROWS * 24 // ENLARGED_ROWS
    np.testing.assert_array_equal(back * ENLARGED_ROWS, OUTPUT_ROWS * 24)
    found = back @ (filtered * (INPUT_ROWS @ tile @ INPUT_ROWS.T)) @ back.T
    windows = np.lib.stride_tricks.sliding_window_view(tile, (3, 3))
    np.testing.assert_array_equal(found, winograd_dsp.ENLARGED * np.einsum("xyij,ij->xy", windows, one))


def test_filters_of_a_word() -> None:
    """The last byte of two filters is the second one's, its second channel at the ninth place."""
    blocks = np.random.default_rng(0).integers(-128, 128, (2, 3, 4, 3, 3, 2))
    found = winograd_dsp.packed(blocks).view(np.int8).reshape(2, 3, 2, 36)
    np.testing.assert_array_equal(found[..., -1], blocks[:, :, 1::2, 2, 2, 1])


@pytest.mark.parametrize(
    "options",
    [
        {"stride": (2, 1)},
        {"dilation": (1, 2)},
        {"kernel": (3, 2)},
        {"shape": (1, 3, 8, 8)},
        {"shape": (1, 8, 5, 8), "padding": VALID},
        {"shape": (1, 8, 8, 3)},
        {"filters": 3},
        {"shape": (1, 8, 8, 16), "filters": 4, "groups": 2},
        {"slope": 0.9, "scale_spread": 1.0},
    ],
    ids=["stride", "gaps", "2 columns", "3 rows", "3 columns", "3 channels", "3 filters", "groups", "nothing to shift"],
)
def test_what_it_does_not_cover(options: dict[str, Any]) -> None:
    """Another kernel does."""
    build = ModelBuilder()
    convolution(build, **{"shape": (1, 8, 8, 8), **options})
    graph = model(build).graph
    assert not winograd_dsp.applies(context_of(graph, graph.nodes[0], Numerics.TFLITE))
    with preferring(RUN_TIME):
        assert KERNEL not in functions(compiled(build))


@pytest.mark.parametrize("variant", VARIANTS)
def test_overlaps_are_safe_and_tight(variant: str) -> None:
    """The output over the input: as far as is said, and no byte further."""
    build = ModelBuilder(np.random.default_rng(1))
    for shape, filters in (((1, 13, 5, 8), 8), ((2, 9, 6, 12), 5), ((1, 6, 4, 8), 9), ((1, 5, 12, 9), 12)):
        convolution(build, shape, filters, slope=5e-4, x_zero=0, y_zero=0, bias=0)
    net = layers(build.finish(), BOARDS[0]).of_variant({"conv_2d": variant})
    assert check_tight(net, samples=3) > 0


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    """Scratch included: the C beside the instructions, with poisoned bytes between all buffers.

    Columns of the widest map take more room than the sums.
    """
    build = ModelBuilder()
    for height, width, depth in ((5, 6, 9), (4, 4, 4), (6, 9, 6), (4, 9, 20), (4, 51, 8)):
        convolution(build, (2, height, width, depth), 6, slope=5e-4)
    for variant in VARIANTS:
        (tmp_path / variant).mkdir()
        with preferring(variant):
            check_sanitized(build.finish(), tmp_path / variant, "cortex-m4f")


def test_every_compiler(tmp_path: Path) -> None:
    build = ModelBuilder()
    for activation in (RELU, RELU6):
        convolution(build, (1, 5, 9, 16), activation=activation, slope=5e-4)
    with preferring(RUN_TIME):
        dsp.check_compilers(build, tmp_path)


def two_sizes() -> Model:
    """A layer with more to save than the other, and one that has nothing to gain."""
    build = ModelBuilder(np.random.default_rng(2))
    for shape, filters in (((1, 16, 16, 16), 16), ((1, 24, 24, 16), 16), ((1, 4, 5, 8), 4)):
        weights = build.rng.normal(0, 20, (filters, 3, 3, shape[3])).clip(-127, 127).astype(np.int8)
        convolution(build, shape, filters, weights=weights, slope=5e-4)
    return model(build)


def chain() -> Model:
    """Layers that take less RAM row by row."""
    build = ModelBuilder(np.random.default_rng(3))
    x = build.input((1, 32, 32, 3), "int8", 0.05, -128)
    for filters in (16, 16, 4):
        x = branchy_models.convolution(build, x, filters, kernel=3)
    return model(build)


def attempt(limits: Limits, net: Callable[[], Model] = two_sizes) -> tuple[Optimize, list[str]]:
    """The goal that was kept, and the kernels."""
    board = target.load(BOARDS[0])
    wanted = goals(Optimize.FASTEST)
    *_, last = compile_within(net(), board, None, Numerics.TFLITE, "c", wanted, limits)
    assert last.fits
    return last.goal, [choice.variant.name for choice in last.compiled.choices if choice]


def test_the_fastest_takes_what_there_is() -> None:
    board, net = target.load(BOARDS[0]), two_sizes()
    least, most = (compile_model(net, board, optimize=goal) for goal in (Optimize.SPEED, Optimize.FASTEST))
    assert functions(least) == {"tg_conv_2d_chain_dsp_s8"}
    assert attempt(Limits()) == (Optimize.FASTEST, [FLASH, FLASH, "chain_dsp"])
    assert attempt(Limits(flash_bytes=40000)) == (Optimize.FASTEST, [RUN_TIME, FLASH, "chain_dsp"])
    assert attempt(Limits(flash_bytes=18000)) == (Optimize.FASTEST, [RUN_TIME, RUN_TIME, "chain_dsp"])
    assert attempt(Limits(ram_bytes=least.plan.arena_bytes)) == (Optimize.FASTEST, ["chain_dsp"] * 3)
    assert most.manifest["optimize"] == "fastest" and most.plan.arena_bytes > least.plan.arena_bytes
    verdict = verify(most, random_samples(net.graph, 2), interpreter=False, board=board)
    assert verdict.difference is None, str(verdict.difference)


def test_speed_is_what_is_left() -> None:
    """Where the fastest kernels keep no limit, rows do."""
    limits = Limits(ram_bytes=compile_model(chain(), target.load(BOARDS[0])).plan.arena_bytes)
    assert attempt(limits, chain)[0] is Optimize.SPEED
    assert attempt(Limits(), chain)[0] is Optimize.FASTEST


def test_the_command(tmp_path: Path) -> None:
    """It says for what the kernels were chosen, and keeps a limit of the flash, code included."""
    path, out = tmp_path / "net.tflite", tmp_path / "out"
    path.write_bytes(two_sizes().data)
    options = ("--board", BOARDS[0], "--format", "c", "--optimize", "fastest", "--output", out)
    assert "--optimize fastest" in tinygen("compile", path, *options).stdout
    facts = as_json("compile", path, *options, "--max-flash", "18000")
    code_bytes = sum(layer["code_bytes"] for layer in facts["budget"]["layers"][:-1])
    assert facts["optimize"] == "fastest" and facts["constant_bytes"] + code_bytes <= 18000


def test_the_estimate_of_cycles() -> None:
    """A layer saves more the larger it is, and transformed filters save more than others."""
    graph = two_sizes().graph
    contexts = [context_of(graph, node, Numerics.TFLITE) for node in graph.nodes]

    def saved(by: Callable[[Context], float]) -> list[float]:
        return [by(context) for context in contexts]

    at_run_time, in_flash = saved(winograd_dsp.saved_cycles), saved(winograd_dsp.saved_cycles_in_flash)
    assert at_run_time[1] > at_run_time[0] > 0 > at_run_time[2]
    assert all(more > less for more, less in zip(in_flash, at_run_time, strict=True))


def test_it_is_for_the_asking() -> None:
    """Without a wish nothing is tried that fills the board."""
    assert Optimize.FASTEST not in goals(None) and goals(None)[0] is Optimize.SPEED
    assert goals(Optimize.FASTEST) == (Optimize.FASTEST, Optimize.SPEED)
    assert goals(Optimize.RAM) == (Optimize.RAM,)
    assert all(variant.saves for spec in ops.SPECS.values() for variant in spec.fast)
