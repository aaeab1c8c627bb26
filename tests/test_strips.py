"""The first layers in strips of columns, the image given once for each: what the pass makes, and what is computed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from scripts import patches
from tests.branchy_models import activation, both, convolution, depthwise, join, mean, unary
from tests.modelbuilder import ModelBuilder, Value
from tests.tagged_arena import TaggedModel
from tests.test_cli import as_json
from tests.test_streaming import check, compiled
from tinygen import passes, reference, target
from tinygen.frontend import tflite
from tinygen.ir import Graph
from tinygen.passes.strips import Stage, bounds, can_end, in_strips, possible, reads
from tinygen.quant import Numerics
from tinygen.variants import Optimize
from tinygen.verify.board import emulate
from tinygen.verify.host import HostModel
from tinygen.verify.samples import random_samples


def graph_of(build: ModelBuilder) -> Graph:
    return passes.run(tflite.read(build.finish(), "net"), (Numerics.TFLITE,))


def windows(seed: int) -> Graph:
    """Windows of any size, stride and gap, padded by themselves or by a PAD; layers that read one value with others."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    height, width = int(rng.integers(3, 9)), int(rng.integers(9, 24))
    x = build.input((1, height, width, build.pick([1, 2, 3])), "int8", 0.05, build.pick([-128, -3, 17]))
    for _ in range(int(rng.integers(2, 5))):
        x = window(build, x)
        if build.chance(0.5):
            x = both(build, x, depthwise(build, x, build.pick([3, 5])))
        if build.chance(0.3):
            x = join(build, [x, unary(build, x)], 3)
    mean(build, "MEAN")
    return graph_of(build)


def window(build: ModelBuilder, x: Value) -> Value:
    """A convolution."""
    _, height, width, depth = x.shape
    filters, padding = build.pick([1, 2, 5]), build.pick([0, 0, 1])
    kernel = [int(build.rng.integers(1, 1 + min(size, most))) for size, most in ((height, 4), (width, 7))]
    gap = 2 if build.chance(0.3) and width > 2 * kernel[1] else 1
    stride = [build.pick([1, 1, 2]), build.pick([1, 1, 2, 3])]
    if build.chance(0.3):
        amounts = [[0, 0], build.rng.integers(0, 3, 2), build.rng.integers(0, 4, 2), [0, 0]]
        sizes = [size + int(sum(more)) for size, more in zip(x.shape, amounts, strict=True)]
        padded = build.tensor(sizes, "int8", x.scale, x.zero_point)
        [x] = build.op("PAD", [x, build.constant(np.array(amounts), "int32")], [padded])
    reach = [kernel[0], (kernel[1] - 1) * gap + 1] if padding else [1, 1]
    sizes = [-(-(size - r + 1) // s) for size, r, s in zip(x.shape[1:3], reach, stride, strict=True)]
    w = build.constant(build.rng.integers(-128, 128, (filters, *kernel, depth)), "int8", 0.01, 0)
    b = build.constant(build.rng.integers(-500, 500, filters), "int32", x.scale * 0.01, 0)
    fields = {"strideH": stride[0], "strideW": stride[1], "dilationHFactor": 1, "dilationWFactor": gap}
    y = activation(build, (1, *sizes, filters))
    return build.op("CONV_2D", [x, w, b], [y], "Conv2D", padding=padding, fusedActivationFunction=0, **fields)[0]


@pytest.mark.parametrize("seed", range(24))
def test_every_stage_is_exact(seed: int) -> None:
    """Each tensor of each strip is those columns of the tensor that it is of."""
    graph = windows(seed)
    [sample] = random_samples(graph, 1, seed)
    values = reference.run(graph, sample, Numerics.TFLITE)
    stages = [Stage(last, strips) for last in can_end(graph) for strips in (2, 3, 5)]
    stages = [stage for stage in stages if possible(graph, stage)]
    assert stages
    for stage in stages:
        cut = in_strips(graph, stage).verify()
        assert len(cut.inputs) == stage.strips and cut.outputs == graph.outputs
        found = reference.run(cut, sample * stage.strips, Numerics.TFLITE)
        for node in cut.nodes:
            tensor = cut.tensors[node.outputs[0]]
            np.testing.assert_array_equal(found[tensor.id], tensor.part_of(values[tensor.source]), node.location)


def test_no_more_than_the_halo_is_computed_twice() -> None:
    build = ModelBuilder(np.random.default_rng(0))
    x = build.input((1, 4, 32, 3), "int8", 0.05, -3)
    x = depthwise(build, convolution(build, x, 8, 3, 2), 3)
    convolution(build, x, 4, 1)
    mean(build, "MEAN")
    graph = graph_of(build)
    assert can_end(graph) == [0, 1, 2]
    assert bounds(16, 3) == [(0, 5), (5, 10), (10, 16)]
    first, second, third = (reads(graph, 2, wanted) for wanted in bounds(16, 3))
    made = [node.outputs[0] for node in graph.nodes]
    assert [columns[made[1]] for columns in (first, second, third)] == bounds(16, 3)
    assert [columns[made[0]] for columns in (first, second, third)] == [(0, 6), (4, 11), (9, 16)]
    assert [columns[graph.inputs[0]] for columns in (first, second, third)] == [(0, 13), (8, 23), (18, 32)]
    assert not possible(graph, Stage(2, 17))


def wide(seed: int, width: int = 48) -> bytes:
    """Inverted residuals over a wide image: their rows take much, and what lies between them little."""
    build = ModelBuilder(np.random.default_rng(seed))
    x = build.input((1, 12, width, build.pick([1, 3])), "int8", 0.05, -3)
    x = convolution(build, x, 8, 3, 2)
    for expansion, stride in ((4, 1), (5, 2), (4, 1)):
        y = depthwise(build, convolution(build, x, 8 * expansion, 1), build.pick([3, 5]), stride)
        y = convolution(build, y, 8, 1)
        x = both(build, x, y) if stride == 1 else y
    mean(build, "MEAN")
    return build.finish()


def check_all(board: str | None, times: int, folder: Path) -> None:
    """Exact on the host and on the board, and no byte is read after it was overwritten."""
    result = compiled(wide(times), board, feed=times)
    assert len(result.program.passes) == times
    check(result, HostModel(result, folder / "host"))
    [sample] = random_samples(result.graph, 1, 0)
    assert not TaggedModel(result, folder / "tagged").run(sample)[0]
    if board:
        check(result, emulate(result, target.load(board), folder / "board"), 1)


def test_two_strips_in_plain_c(tmp_path: Path) -> None:
    check_all(None, 2, tmp_path)


@pytest.mark.parametrize("board", ["nucleo_l4r5zi", "pico", "bluepill_f103c8", "mps3-an547"])
def test_three_strips_on_a_board(board: str, tmp_path: Path) -> None:
    check_all(board, 3, tmp_path)


def test_strips_take_less() -> None:
    """Rows of fewer columns."""
    sizes = [compiled(wide(1, 96), None, Optimize.RAM, times).plan.arena_bytes for times in (1, 3)]
    assert sizes[1] < 0.7 * sizes[0]


def test_rows_where_strips_save_nothing() -> None:
    """A network that is narrow, or needs most far behind the image, is given its image once."""
    build = ModelBuilder(np.random.default_rng(3))
    x = build.input((1, 9, 4, 2), "int8", 0.05, -3)
    depthwise(build, convolution(build, x, 8), 3)
    mean(build, "MEAN")
    result = compiled(build.finish(), None, feed=8)
    assert len(result.program.passes) == 1 and "PASSES 1\n" in result.files["include/net.h"]


def test_no_warnings(tmp_path: Path) -> None:
    result = compiled(wide(2), "nucleo_l4r5zi", Optimize.RAM, 3)
    assert len(result.program.passes) == 3
    result.write(tmp_path / "net")
    for compiler in ("gcc", "clang"):
        flags = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror", "-O2", "-c"]
        command = [compiler, *flags, "-Iinclude", "-Isrc", "src/net.c", "-o", "net.o"]
        done = subprocess.run(command, cwd=tmp_path / "net", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_feed_times_on_the_command_line(tmp_path: Path) -> None:
    """The header tells how often the rows are given, the project compiles again as it was."""
    (tmp_path / "net.tflite").write_bytes(wide(1))
    output = tmp_path / "out"
    made = as_json(
        *("compile", tmp_path / "net.tflite", "--board", "nucleo_l4r5zi", "--format", "cmake", "--feed-times", "2"),
        *("--optimize", Optimize.RAM.value, "--output", output),
    )
    assert made["feed"] and made["feed_times"] == 2
    header = (output / "include" / "net.h").read_text()
    assert "#define NET_INPUT_0_PASSES 2\n" in header and "all of which are given 2 times" in header
    strips = [one for one in made["memory"]["rows"] if "columns" in one["first"]]
    assert len(strips) == 2 and all(one["bytes"] < one["whole_bytes"] for one in strips)


def test_the_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What strips bring is told beside what rows alone need."""
    (tmp_path / "net.tflite").write_bytes(wide(1, 96))
    assert patches.main([str(tmp_path / "net.tflite"), "--strips", "3"]) == 0
    name, image, _, fed, _, strips = (cell.strip() for cell in capsys.readouterr().out.splitlines()[2].split("|")[1:-1])
    found = re.fullmatch(r"([\d,]+) \(3 strips up to operator \d+ \w+, 1\.\d\dx\)", strips)
    assert (name, image) == ("net", f"{12 * 96 * 1:,}") and found
    assert int(found[1].replace(",", "")) < 0.7 * int(fed.replace(",", ""))
