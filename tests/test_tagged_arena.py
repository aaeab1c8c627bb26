"""Every plan keeps every byte until it was read last; and the arena that checks it finds what is wrong."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.branchy_models import both, branchy_model, convolution, cut, join, unary
from tests.modelbuilder import ModelBuilder
from tests.random_models import random_model
from tests.tagged_arena import TaggedModel
from tinygen import driver, reference, target
from tinygen.driver import Compiled, Model, compile_model
from tinygen.emit import emit
from tinygen.frontend import tflite
from tinygen.lower import lower
from tinygen.quant import Numerics
from tinygen.variants import Optimize, choose, without
from tinygen.verify.samples import random_samples

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*/*.tflite"))
OTHERS = sorted(Path(os.environ["TINYGEN_MODELS"]).glob("*.tflite")) if "TINYGEN_MODELS" in os.environ else []
ON_AVERAGE = 0.02
"""How far arenas may be above what is proved to be needed."""


def compiled(data: bytes, board: str | None = None, optimize: Optimize = Optimize.SPEED) -> Compiled:
    place = target.load(board) if board else None
    return compile_model(Model("net", data, tflite.read(data, "net")), place, "net", optimize=optimize)


def check(result: Compiled, folder: Path) -> None:
    """One inference: no byte is read that was overwritten, and the outputs are those of the reference."""
    sample = random_samples(result.model.graph, 1, 0)[0]
    faults, outputs = TaggedModel(result, folder).run(sample)
    assert not faults, "\n".join(faults)
    expected = reference.run(result.graph, sample, Numerics.TFLITE)
    for tensor, found in zip(result.graph.outputs, outputs, strict=True):
        assert found == expected[tensor].tobytes(), f"output {tensor}"


@pytest.mark.parametrize("optimize", [Optimize.SPEED, Optimize.RAM])
@pytest.mark.parametrize("path", [*EXAMPLES, *OTHERS], ids=lambda path: path.stem)
def test_models(path: Path, optimize: Optimize, tmp_path: Path) -> None:
    check(compile_model(driver.load(path), target.load("nucleo_l4r5zi"), optimize=optimize), tmp_path)


@pytest.mark.parametrize("seed", range(12))
def test_random_operators(seed: int, tmp_path: Path) -> None:
    """All operators, in small."""
    check(compiled(random_model(seed, 20), "nucleo_l4r5zi" if seed % 2 else None), tmp_path)


def check_branchy(seed: int, folder: Path) -> float:
    """A network with branches, for one core or another; how far its arena is above what is proved to be needed."""
    optimize = Optimize.RAM if seed % 3 == 0 else Optimize.SPEED
    result = compiled(branchy_model(seed), ("nucleo_l4r5zi", None, "pico", "mps3-an547")[seed % 4], optimize)
    check(result, folder)
    return result.plan.arena_bytes / result.plan.lower_bound - 1


@pytest.mark.parametrize("part", range(2))
def test_branches(part: int, tmp_path: Path) -> None:
    for seed in range(20 * part, 20 * part + 20):
        check_branchy(seed, tmp_path / str(seed))


def test_a_maximum_over_its_own_window(tmp_path: Path) -> None:
    """Ten channels by words: two are taken again when their result is there already, and are the same."""
    check_branchy(323, tmp_path)


def test_channels_that_are_gathered_again(tmp_path: Path) -> None:
    """Nineteen by four: the last four begin with one whose output may lie over it by then."""
    check_branchy(104, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("part", range(20))
def test_branches_long(part: int, tmp_path: Path) -> None:
    """A hundred of 2,000: on average within 2 % of what is proved to be needed, in each part."""
    above = [check_branchy(seed, tmp_path / str(seed)) for seed in range(100 * part, 100 * part + 100)]
    print(f"above the bound: {100 * np.mean(above):.2f} % on average, {100 * max(above):.1f} % at most")
    print(f"proved optimal: {above.count(0)} of {len(above)}")
    assert np.mean(above) <= ON_AVERAGE


def moved(result: Compiled, tensor: int, offset: int) -> Compiled:
    """The same program but for one tensor, which lies somewhere else."""
    graph = result.graph
    plan = replace(
        result.plan, tensors={**result.plan.tensors, tensor: offset}, arena_bytes=result.plan.arena_bytes + 999
    )
    choices = choose(graph, Numerics.TFLITE, target.load_core(result.manifest["core"]))
    program = lower(graph, without(choices, plan.moved), plan, "net")
    return replace(result, plan=plan, program=program, files={**result.files, **emit(program)})


def faults_of(result: Compiled, folder: Path, planned: Compiled | None = None) -> list[str]:
    sample = random_samples(result.model.graph, 1, 0)[0]
    return TaggedModel(result, folder, planned).run(sample)[0]


def test_two_values_in_one_place(tmp_path: Path) -> None:
    """What a sum still needs is overwritten on the way to it."""
    build = ModelBuilder()
    first = convolution(build, build.input((1, 6, 6, 4), "int8", 0.05, 0), 4)
    second = convolution(build, convolution(build, first, 4), 4)
    both(build, first, second)
    result = compiled(build.finish())
    assert not faults_of(result, tmp_path / "right")
    wrong = moved(result, second.index, result.plan.tensors[first.index])
    faults = faults_of(wrong, tmp_path / "wrong")
    assert "layer 3, operator 3" in faults[0] and f"reads byte {wrong.plan.tensors[first.index]} of" in faults[0]
    assert f"which is element 0 of tensor {second.index}" in faults[0]


@pytest.mark.parametrize("beyond", [0, 1])
def test_one_byte_beyond_a_rule(beyond: int, tmp_path: Path) -> None:
    """A convolution over its input, at the distance that its kernel allows and one byte beyond."""
    build = ModelBuilder()
    x = build.input((1, 6, 6, 4), "int8", 0.05, 0)
    y = convolution(build, x, 4)
    result = compiled(build.finish())
    [choice] = choose(result.graph, Numerics.TFLITE, target.load_core("portable"))
    assert choice is not None
    [rule] = choice.kernel.overlaps
    assert rule.most is not None and -144 < rule.most < 0
    above = moved(result, x.index, 300)
    faults = faults_of(moved(above, y.index, 300 + rule.most + beyond), tmp_path)
    assert bool(faults) == bool(beyond)
    assert all("layer 0, operator 0 CONV_2D" in fault and "reads byte" in fault for fault in faults)


def test_a_copy_of_what_is_gone(tmp_path: Path) -> None:
    """By memcpy, which the compiler does not show."""
    build = ModelBuilder()
    x = build.input((1, 4, 4, 4), "int8", 0.05, -3)
    first, second = unary(build, x), unary(build, x)
    join(build, [first, second], 3)
    result = compiled(build.finish())
    assert [call.function for call in result.program.calls][-1] == "tg_join_s8_1"
    faults = faults_of(moved(result, second.index, result.plan.tensors[first.index]), tmp_path)
    assert faults and all("CONCATENATION" in fault for fault in faults)


def test_writing_elsewhere(tmp_path: Path) -> None:
    """A layer that leaves its output somewhere else than the plan says."""
    build = ModelBuilder()
    y = unary(build, unary(build, build.input((1, 4, 4, 4), "int8", 0.05, -3)))
    result = compiled(build.finish())
    faults = faults_of(moved(result, y.index, result.plan.arena_bytes + 8), tmp_path, moved(result, y.index, 0))
    assert any("writes byte" in fault and "no tensor's" in fault for fault in faults)
    assert any("the end: output" in fault for fault in faults)


def test_halves_lie_in_their_whole(tmp_path: Path) -> None:
    """Tensors cut and joined along the outermost axis are no code, and hold what they must."""
    build = ModelBuilder()
    x = unary(build, build.input((1, 4, 4, 4), "int8", 0.05, -3))
    parts = [convolution(build, part, 4) for part in cut(build, x, 1)]
    join(build, parts, 1)
    result = compiled(build.finish())
    assert len(result.plan.moved) == 2 and len(result.program.calls) == 3
    check(result, tmp_path)
