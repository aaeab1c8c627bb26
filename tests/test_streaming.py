"""Nodes that are computed row by row: every row of every layer is right, whoever gives the input."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.branchy_models import both, branchy_model, convolution, depthwise, mean, rows_network
from tests.modelbuilder import ModelBuilder
from tests.tagged_arena import TaggedModel
from tests.test_cli import as_json
from tinygen import reference, target
from tinygen.budget import weigh
from tinygen.driver import Compiled, Model, compile_model
from tinygen.errors import ModelError
from tinygen.footprint.measure import measure
from tinygen.frontend import tflite
from tinygen.ir import Array
from tinygen.memory.schedule import Access, schedule
from tinygen.profile.profile import profile
from tinygen.quant import Numerics
from tinygen.variants import Optimize, kernels
from tinygen.verify.board import Board, emulate
from tinygen.verify.host import HostModel
from tinygen.verify.samples import random_samples

CORES = ("nucleo_l4r5zi", "pico", "bluepill_f103c8", "mps3-an547")


def compiled(data: bytes, board: str | None, optimize: Optimize = Optimize.LEAST_RAM, feed: int = 0) -> Compiled:
    place = target.load(board) if board else None
    return compile_model(Model("net", data, tflite.read(data, "net")), place, "net", optimize=optimize, feed=feed)


def check(result: Compiled, program: Board, samples: int = 2) -> None:
    """Every layer and the outputs, twice in a row: nothing is left of the inference before."""
    inputs = random_samples(result.graph, samples, 7)
    for sample in [*inputs, inputs[0]]:
        expected = reference.run(result.graph, sample, Numerics.TFLITE)
        layers, outputs = program.run(sample)
        same(result, layers, expected)
        for tensor, value in zip(result.graph.outputs, outputs, strict=True):
            np.testing.assert_array_equal(value, expected[tensor])


def same(result: Compiled, layers: dict[int, Array], expected: dict[int, Array]) -> None:
    made = [tensor for call in result.program.calls for tensor in call.outputs]
    assert set(made) == set(layers)
    for tensor in made:
        np.testing.assert_array_equal(layers[tensor], expected[tensor], f"tensor {tensor}")


@pytest.mark.parametrize("feed", [False, True])
@pytest.mark.parametrize("board", [None, *CORES])
@pytest.mark.parametrize("seed", range(2))
def test_rows_on_the_host(seed: int, board: str | None, feed: bool, tmp_path: Path) -> None:
    result = compiled(rows_network(seed), board, feed=feed)
    assert result.program.streams
    check(result, HostModel(result, tmp_path))
    sample = random_samples(result.graph, 1, 0)[0]
    assert not TaggedModel(result, tmp_path / "tagged").run(sample)[0]


@pytest.mark.parametrize("feed", [False, True])
@pytest.mark.parametrize("board", CORES)
def test_rows_on_a_board(board: str, feed: bool, tmp_path: Path) -> None:
    result = compiled(rows_network(9), board, feed=feed)
    assert result.program.streams
    check(result, emulate(result, target.load(board), tmp_path), 1)


def test_rows_on_an_avr(tmp_path: Path) -> None:
    """Tables of rows lie in program memory."""
    build = ModelBuilder(np.random.default_rng(5))
    x = build.input((1, 8, 8, 1), "int8", 0.05, -3)
    x = convolution(build, depthwise(build, convolution(build, x, 4)), 4, 1)
    mean(build, "AVERAGE_POOL_2D")
    result = compiled(build.finish(), "uno")
    assert result.program.streams
    check(result, emulate(result, target.load("uno"), tmp_path), 1)


@pytest.mark.parametrize("seed", range(16))
def test_networks_with_branches(seed: int, tmp_path: Path) -> None:
    result = compiled(branchy_model(seed + 5000), CORES[seed % 2])
    check(result, HostModel(result, tmp_path), 1)


def test_many_of_these_have_rows() -> None:
    found = [compiled(branchy_model(seed + 5000), CORES[seed % 2]).program.streams for seed in range(0, 16, 2)]
    assert sum(map(bool, found)) >= 4


@pytest.mark.parametrize("board", [None, "nucleo_l4r5zi"])
def test_rows_need_less(board: str | None) -> None:
    """A chain of wide layers needs a few rows of each; one that is fed not even its input."""
    data = rows_network(0)
    whole, rows = (compiled(data, board, goal).plan for goal in (Optimize.FLASH, Optimize.LEAST_RAM))
    fed = compiled(data, board, feed=True).plan
    assert fed.arena_bytes < rows.arena_bytes < 0.7 * whole.arena_bytes
    assert whole.runs == () and rows.runs and fed.rows


def test_a_mean_has_no_place_before_its_last_row() -> None:
    """Until then its output may hold rows of others."""
    build = ModelBuilder(np.random.default_rng(5))
    x = convolution(build, depthwise(build, build.input((1, 16, 16, 8), "int8", 0.05, -3)), 8)
    mean(build, "AVERAGE_POOL_2D")
    result = compiled(build.finish(), "nucleo_l4r5zi", feed=1)
    rows, [run] = [choice.rows if choice else None for choice in result.choices], result.plan.runs
    moments = schedule(result.graph, kernels(result.choices), rows, (run,)).moments
    writes = [moment.writes for moment in moments if moment.node == run.last]
    assert writes == [()] * (x.shape[1] - 1) + [(Access(result.graph.outputs[0]),)]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("feed", [False, True])
def test_no_warnings(feed: bool, compiler: str, tmp_path: Path) -> None:
    result = compiled(rows_network(3), "nucleo_l4r5zi", feed=feed)
    result.write(tmp_path / "net")
    flags = [
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Wshadow",
        "-Werror",
        "-fsyntax-only",
        "-Iinclude",
        "-Isrc",
    ]
    subprocess.run([compiler, *flags, "src/net.c"], cwd=tmp_path / "net", check=True)
    header = ["-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "include/net.h"]
    subprocess.run([compiler, *header], cwd=tmp_path / "net", check=True)


def test_the_stack_of_rows_is_bounded() -> None:
    """The function that makes rows jumps to the layer whose turn it is; every layer counts."""
    board, result = target.load("nucleo_l4r5zi"), compiled(rows_network(9), "nucleo_l4r5zi")
    assert result.program.streams
    budget = weigh(result, board, measure(result, board))
    bound = budget.footprint.inference_stack.bytes
    assert bound is not None and 0 < profile(result, board, budget, 0).stack_bytes <= bound


def two_inputs() -> bytes:
    build = ModelBuilder()
    shapes: Sequence[tuple[int, ...]] = ((1, 4, 4, 2), (1, 4, 4, 2))
    both(build, *(build.input(shape, "int8", 0.05, -3) for shape in shapes))
    return build.finish()


def flat() -> bytes:
    build = ModelBuilder()
    build.op("NEG", [build.input((1, 16), "int8", 0.05, 0)], [build.tensor((1, 16), "int8", 0.05, 0)])
    return build.finish()


@pytest.mark.parametrize("data", [two_inputs(), flat()], ids=["two inputs", "no rows"])
def test_what_cannot_be_fed(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"the input cannot be given row by row.*compile without --feed"):
        compiled(data, None, feed=True)


def test_firmware_that_is_fed(tmp_path: Path) -> None:
    """The application has the whole input from the serial port, and feeds it."""
    (tmp_path / "net.tflite").write_bytes(rows_network(1))
    output = tmp_path / "project"
    made = as_json(
        *("compile", tmp_path / "net.tflite", "--board", "nucleo_l4r5zi", "--format", "cmake", "--feed"),
        *("--optimize", "ram", "--output", output),
    )
    assert made["feed"] and "bool net_feed(const int8_t *row);" in (output / "include" / "net.h").read_text()
    found = as_json("run", output, "--emulator")
    assert found["same"] and found["samples"] > 1
