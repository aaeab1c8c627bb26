"""Sums, products and tables in vectors of Helium: their C on this computer, their instructions in QEMU's Cortex-M55."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests import dsp
from tests.dsp import NONE, RELU, RELU6
from tests.elementwise import VALUES
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import check_tight, layers
from tests.rows_harness import check_rows
from tests.test_add_dsp import add
from tests.test_generated_c import check_sanitized
from tests.test_mve import CORE, M55, check_compilers, templates
from tinygen import target
from tinygen.verify.compare import verify

ADD, MUL, TABLE = "kernels/add.mve.c.j2", "kernels/mul.mve.c.j2", "kernels/lookup.mve.c.j2"
ENDS = (-128, 127)


def multiply(
    build: ModelBuilder,
    shapes: Sequence[Sequence[int]],
    scales: Sequence[float] = (0.05, 0.03, 0.1),
    zero_points: Sequence[int] = (3, -7, 4),
    activation: int = NONE,
) -> None:
    """One product of two inputs of its own."""
    x, y = (build.input(*each) for each in zip(shapes, ("int8", "int8"), scales[:2], zero_points[:2], strict=True))
    out = build.tensor(np.broadcast_shapes(*(tuple(shape) for shape in shapes)), "int8", scales[2], zero_points[2])
    build.op("MUL", [x, y], [out], "Mul", fusedActivationFunction=activation)


def look_up(build: ModelBuilder, shape: Sequence[int]) -> None:
    """One table of an input of its own."""
    x, y = build.input(shape, "int8", 0.05, 3), build.tensor(shape, "int8", 1 / 256, -128)
    build.op("LOGISTIC", [x], [y])


def shapes_of_rows(build: ModelBuilder) -> list[tuple[int, ...]]:
    """Two shapes that broadcast, with rows that are long enough: equal, channels, pixels, one element, either first."""
    height, width, depth = (int(size) for size in build.rng.integers([1, 1, 8], [4, 6, 30]))
    whole = 1, height, width, depth
    other = build.pick([whole, whole, (1, 1, 1, depth), (depth,), (1, height, width, 1), (1, height, 1, depth), (1,)])
    return [whole, other] if build.chance(0.5) else [other, whole]


@pytest.mark.parametrize("seed", range(2))
def test_sums_of_random_shapes(seed: int, tmp_path: Path) -> None:
    """Any zero points and scales, sums and differences, limits inside the range or not."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for _ in range(12):
        shapes = shapes_of_rows(build)
        scales = 10 ** rng.uniform(-2, 0, 3)
        scales[2] = max(scales) * 10 ** rng.uniform(-0.5, 0.5)
        zeros = [build.random_zero_point(), build.random_zero_point(), build.pick([-128, build.random_zero_point()])]
        x, y = (build.input(*each) for each in zip(shapes, ("int8", "int8"), scales[:2], zeros[:2], strict=True))
        out = build.tensor(np.broadcast_shapes(*shapes), "int8", float(scales[2]), zeros[2])
        op, activation = build.pick(["ADD", "SUB"]), build.pick([NONE, NONE, RELU, RELU6])
        build.op(op, [x, y], [out], op.capitalize(), fusedActivationFunction=activation)
    result = dsp.check(build, [M55], 3)
    found = templates(result)
    assert found.count(ADD) >= 10, found
    repeats = {function.values["repeats"] for function in result.program.functions if function.template == ADD}
    assert repeats == {True, False}
    check_sanitized(result.model.data, tmp_path, CORE)


@pytest.mark.parametrize("seed", range(2))
def test_products_of_random_shapes(seed: int, tmp_path: Path) -> None:
    """The same for products, of one sign and of both."""
    build = ModelBuilder(np.random.default_rng(seed))
    for _ in range(14):
        zeros = [build.pick([-128, 127, build.random_zero_point()]) for _ in range(3)]
        scales = 0.05, 0.03, 10 ** float(build.rng.uniform(-2, 0))
        multiply(build, shapes_of_rows(build), scales, zeros, build.pick([NONE, NONE, RELU, RELU6]))
    result = dsp.check(build, [M55], 3)
    assert set(templates(result)) == {MUL}
    values = [function.values for function in result.program.functions]
    for form in ("signed", "repeats"):
        assert {each[form] for each in values} == {True, False}
    check_sanitized(result.model.data, tmp_path, CORE)


def test_rows_of_every_length() -> None:
    """Whole vectors, and from one element to fifteen behind them."""
    build = ModelBuilder()
    for count in (*range(8, 25), 32, 33):
        add(build, (1, count))
        multiply(build, [(1, count), (1, count)], zero_points=(-5, 9, -128 if count % 3 else 3))
    for count in (*range(1, 18), 31, 32, 100):
        look_up(build, (1, count))
    found = templates(dsp.check(build, [M55], 3))
    assert [found.count(kernel) for kernel in (ADD, MUL, TABLE)] == [19, 19, 20]


@pytest.mark.parametrize("zero_points", [(-128, 4, -128), (-128, 4, 3)])
@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL"])
def test_every_pair(op: str, zero_points: tuple[int, ...]) -> None:
    """All 65,536 pairs, outputs of one sign and of both; halves below zero among those of a product."""
    build = ModelBuilder()
    if op == "MUL":
        multiply(build, [(64, 256), (64, 256)], (0.25, 0.25, 0.5), zero_points)
    else:
        add(build, (64, 256), (0.0394, 0.1042, 0.0509), zero_points, op=op)
    result = dsp.compiled(build, M55)
    assert templates(result) == [MUL if op == "MUL" else ADD]
    samples = [list(np.meshgrid(VALUES, rows)) for rows in np.split(VALUES, 4)]
    verdict = verify(result, samples, interpreter=False, board=target.load(M55))
    assert verdict.difference is None, str(verdict.difference)


def test_products_at_their_ends() -> None:
    """The largest products of 17 bits, small shifts and large ones, and outputs beyond their limits."""
    build = ModelBuilder()
    for zero in ENDS:
        for scale in (0.3, 0.1, 0.01, 1e-3, 2e-4):
            multiply(build, [(1, 9), (1, 9)], (0.3, 0.5, 0.15 / scale), (zero, -1 - zero, 2))
            multiply(build, [(1, 9), (1, 9)], (0.3, 0.5, 0.16 / scale), (zero, zero, -128))
    found = dsp.check(build, [M55], 4).program.functions
    shifts = {function.values["shift"] for function in found if function.template == MUL}
    assert min(shifts) == 1 and max(shifts) >= 12, shifts


def test_where_an_output_may_lie_over_its_inputs() -> None:
    """At the bounds of every rule, and one byte beyond: both inputs, of whole tensors and of single rows."""
    build = ModelBuilder()
    for shapes in ([(1, 4, 5, 9)] * 2, [(1, 4, 5, 9), (1, 1, 1, 9)], [(1, 4, 5, 1), (1, 4, 5, 9)]):
        multiply(build, shapes, scales=(0.05, 0.03, 0.01))
    add(build, (1, 4, 5, 9))
    add(build, (1, 4, 5, 9), op="SUB", second=(1, 1, 5, 1))
    look_up(build, (1, 4, 5, 9))
    net = layers(build.finish(), M55)
    assert {choice.variant.name for choice in net.choices} == {"mve", "lookup.mve"}
    assert check_tight(net) + check_tight(net, operand=1) > 0


def test_rows_of_images() -> None:
    """Layers computed row by row."""
    build = ModelBuilder()
    for width in (3, 5):
        add(build, (1, 4, width, 7), op="SUB")
        multiply(build, [(1, 4, width, 7)] * 2)
        look_up(build, (1, 4, width, 7))
    net = layers(build.finish(), M55)
    assert {choice.variant.name for choice in net.choices} == {"mve", "lookup.mve"}
    check_rows(net)


def test_what_is_left_to_other_kernels() -> None:
    """Rows of a few elements, sums without proof, products that are scaled by less than two or by too much."""
    build = ModelBuilder()
    add(build, (5, 3), second=(1, 3))
    add(build, (2, 8), (0.05, 0.03, 0.06))
    multiply(build, [(5, 3), (1, 3)])
    multiply(build, [(1, 16), (1, 16)], (0.5, 0.5, 0.2))
    multiply(build, [(1, 16), (1, 16)], (0.5, 0.5, 1e5))
    found = templates(dsp.check(build, [M55], 3))
    assert not any(".mve." in template for template in found), found


def test_all_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    add(build, (1, 3, 37), zero_points=(0, 0, 0), activation=RELU6)
    add(build, (1, 5, 8), second=(1, 5, 1), op="SUB")
    multiply(build, [(1, 3, 9), (1, 3, 1)], zero_points=(0, 0, 0), activation=RELU)
    multiply(build, [(1, 3, 16), (1, 1, 16)])
    look_up(build, (1, 100))
    check_compilers(build, tmp_path)
