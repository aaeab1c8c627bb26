"""Networks over time: what the pass makes of them, and their layers by rows of some steps."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.branchy_models import SCALE, ZERO_POINT, activation, convolution
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model
from tests.tagged_arena import TaggedModel
from tests.test_streaming import compiled
from tests.time_models import network, reshaped, window
from tinygen import reference, target
from tinygen.driver import Compiled
from tinygen.frontend import tflite
from tinygen.ir import Graph
from tinygen.passes.fold_constants import fold_constants
from tinygen.passes.over_time import over_time
from tinygen.quant import Numerics
from tinygen.variants import Optimize
from tinygen.verify.board import Board, emulate
from tinygen.verify.golden import Golden
from tinygen.verify.host import HostModel
from tinygen.verify.samples import random_samples

VIEWS = {"reshape", "expand_dims", "squeeze"}


def read(data: bytes) -> Graph:
    return fold_constants(tflite.read(data, "net"), (Numerics.TFLITE,))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_the_pass_is_exact(seed: int, turned: bool) -> None:
    """Every tensor has the bytes of the file's, windows lie along the width, and no view is between them."""
    graph = read(network(seed, turned=turned))
    made = over_time(graph).verify()
    [sample] = random_samples(graph, 1, seed)
    values, found = (reference.run(one, sample, Numerics.TFLITE) for one in (graph, made))
    for node in made.nodes:
        for tensor in (made.tensors[output] for output in node.outputs):
            np.testing.assert_array_equal(found[tensor.id], tensor.part_of(values[tensor.source]), node.location)
            assert tensor.shape_in_file == graph.tensors[tensor.id].shape
    assert not VIEWS & {node.op for node in made.nodes}
    assert all(made.tensors[t].shape[1] == 1 for node in made.nodes if node.op != "mean" for t in node.outputs)
    assert over_time(made) is made


def check(result: Compiled, program: Board, samples: int = 2) -> None:
    """Every layer, against the file's own graph."""
    graph = result.model.graph
    for sample in random_samples(graph, samples, 7):
        expected = reference.run(graph, sample, Numerics.TFLITE)
        layers, outputs = program.run(sample)
        for number, value in layers.items():
            tensor = result.graph.tensors[number]
            np.testing.assert_array_equal(value, tensor.part_of(expected[tensor.source]), f"tensor {number}")
        for number, value in zip(result.graph.outputs, outputs, strict=True):
            np.testing.assert_array_equal(value.ravel(), expected[number].ravel())


@pytest.mark.parametrize("feed", [0, 1])
@pytest.mark.parametrize("seed", range(6))
def test_rows_of_steps(seed: int, feed: int, tmp_path: Path) -> None:
    board = (None, "nucleo_l4r5zi", "pico", "bluepill_f103c8", "mps3-an547", None)[seed]
    goal = (Optimize.RAM, Optimize.LEAST_RAM)[(seed + feed) % 2]
    result = compiled(network(seed + 50), board, goal, feed)
    assert result.program.streams or not feed
    check(result, HostModel(result, tmp_path))
    [sample] = random_samples(result.graph, 1, 0)
    assert not TaggedModel(result, tmp_path / "tagged").run(sample)[0]


BOARDS = ("nucleo_l4r5zi", "pico", "bluepill_f103c8", "mps3-an547")


@pytest.mark.parametrize("board", BOARDS)
def test_rows_of_steps_on_a_board(board: str, tmp_path: Path) -> None:
    """Fed: the last row is shorter, windows reach beyond both ends."""
    result = compiled(network(60, length=37), board, Optimize.RAM, 1)
    given = result.program.fed and result.program.fed.given
    assert given and 0 < given.last_row_bytes < given.row_bytes
    check(result, emulate(result, target.load(board), tmp_path), 1)


def vibration() -> bytes:
    """What Keras makes of Conv1D, MaxPooling1D, Conv1D twice and GlobalAveragePooling1D."""
    build = ModelBuilder(np.random.default_rng(0))
    x = build.input((1, 128, 3), "int8", SCALE, ZERO_POINT)
    for name, kernel, filters, stride in (
        ("CONV_2D", 5, 16, 1),
        ("MAX_POOL_2D", 2, 16, 2),
        ("CONV_2D", 5, 32, 2),
        ("CONV_2D", 3, 64, 1),
    ):
        y = window(build, reshaped(build, x, (1, 1, *x.shape[1:])), name, kernel, filters, stride)
        x = reshaped(build, y, (1, *y.shape[2:]))
    build.op("MEAN", [x, build.constant([1], "int32")], [activation(build, (1, 64))], "Reducer", keepDims=False)
    return build.finish()


def test_rows_of_steps_need_less() -> None:
    """All layers are one run, for little more; the user is told the shapes of the file."""
    whole, rows, fed = (
        compiled(vibration(), "nucleo_l4r5zi", goal, feed)
        for goal, feed in ((Optimize.SPEED, 0), (Optimize.RAM, 0), (Optimize.RAM, 1))
    )
    assert fed.plan.arena_bytes < rows.plan.arena_bytes < 0.7 * whole.plan.arena_bytes
    assert [(run.first, run.last) for run in rows.plan.runs] == [(0, 4)]
    assert sum(one.extra_cycles for one in rows.plan.priced) < 0.15 * whole.plan.cycles
    assert {tuple(one.manifest["inputs"][0]["shape"]) for one in (whole, rows, fed)} == {(1, 128, 3)}
    assert "#define NET_INPUT_0_ROW_SIZE 12\n" in fed.files["include/net.h"]


def column(build: ModelBuilder) -> Value:
    """An image that becomes a column, and a window over that."""
    x = convolution(build, build.input((1, 12, 6, 2), "int8", 0.05, -3), 4, 3)
    y = activation(build, (1, 12, 1, 4))
    build.op("AVERAGE_POOL_2D", [x], [y], "Pool2D", filterHeight=1, filterWidth=6, strideH=1, strideW=6, padding=1)
    return window(build, y, "CONV_2D", 3, filters=3, turned=True)


def test_an_image_that_becomes_a_column_stays_one() -> None:
    """All of it has rows as it is."""
    build = ModelBuilder(np.random.default_rng(0))
    column(build)
    graph = read(build.finish())
    assert over_time(graph) is graph


def test_other_operators_read_what_they_read_before() -> None:
    """A matrix over all steps, and an output of the model in the middle."""
    build = ModelBuilder(np.random.default_rng(0))
    x = build.input((1, 9, 1, 3), "int8", 0.05, -3)
    y = window(build, x, "CONV_2D", 3, filters=4, turned=True)
    z = reshaped(build, y, (1, 9, 4))
    turned = build.op("TRANSPOSE", [z, build.constant([0, 2, 1], "int32")], [activation(build, (1, 4, 9))])[0]
    graph = read(build.finish([y, z, turned]))
    made = over_time(graph).verify()
    assert [node.op for node in made.nodes] == ["conv_2d", "reshape", "reshape", "transpose"]
    [sample] = random_samples(graph, 1, 0)
    values, found = (reference.run(one, sample, Numerics.TFLITE) for one in (graph, made))
    for output in graph.outputs:
        assert made.tensors[output].shape_in_file == graph.tensors[output].shape
        np.testing.assert_array_equal(found[output].ravel(), values[output].ravel())


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_warnings(compiler: str, tmp_path: Path) -> None:
    result = compiled(network(60, length=37), "nucleo_l4r5zi", Optimize.RAM, 1)
    result.write(tmp_path / "net")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror", "-O2", "-c"]
    command = [compiler, *flags, "-Iinclude", "-Isrc", "src/net.c", "-o", "net.o"]
    done = subprocess.run(command, cwd=tmp_path / "net", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_all_oracles_agree() -> None:
    """The interpreter, too, shows every layer."""
    with Golden() as golden:
        check_model(network(3), golden, 3, 2)
