"""Reals to int8 in vectors of Helium: their C on this computer, their instructions in QEMU's Cortex-M55."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import dsp
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import check_tight, layers
from tests.test_mve import M55, check_compilers, templates
from tinygen import target
from tinygen.ir import Array
from tinygen.ops import quantize_mve
from tinygen.verify.compare import verify

MVE = quantize_mve.TEMPLATE


def quantize(build: ModelBuilder, count: int, scale: float, zero_point: int, dtype: str = "int8") -> None:
    """One QUANTIZE of reals of its own."""
    x, y = build.input((1, count), "float32"), build.tensor((1, count), dtype, scale, zero_point)
    build.op("QUANTIZE", [x], [y])


def around(scale: float, zero_point: int) -> Array:
    """Reals at and next to all halves between outputs, some beyond the range, and what is no number."""
    halves = (np.arange(-130, 131) + 0.5 - zero_point) * np.float64(np.float32(scale))
    values = halves.astype(np.float32)
    steps = [values]
    for direction in (-np.inf, np.inf):
        near = values
        for _ in range(3):
            near = np.nextafter(near, np.float32(direction))
            steps.append(near)
    signalling = np.array([0x7F800001, 0xFFA00000], np.uint32).view(np.float32)
    odd = np.array([0, -0.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-40, -1e-40], np.float32)
    return np.concatenate([*steps, odd, signalling])


@pytest.mark.parametrize("seed", range(2))
def test_every_half(seed: int) -> None:
    """Scales of any size, powers of two too: the nearest reals on both sides of every half."""
    build = ModelBuilder(np.random.default_rng(seed))
    scales = [0.5, 1 / 256, 2.0**-60, 2.0**60, *10 ** build.rng.uniform(-5, 3, 12)]
    scales += [float(np.nextafter(np.float32(1), np.float32(side))) for side in (0, 2)]
    zeros = [build.pick([0, -128, build.random_zero_point()]) for _ in scales]
    samples = [np.array([around(*each)]) for each in zip(scales, zeros, strict=True)]
    for scale, zero in zip(scales, zeros, strict=True):
        quantize(build, samples[0].shape[1], scale, zero)
    result = dsp.compiled(build, M55)
    assert set(templates(result)) == {MVE}
    verdict = verify(result, [samples], interpreter=False, board=target.load(M55))
    assert verdict.difference is None, str(verdict.difference)


def test_every_length() -> None:
    """Whole vectors and parts of one; the output over its input."""
    build = ModelBuilder()
    for count in (*range(1, 10), 100):
        quantize(build, count, 0.037, count - 5)
    result = dsp.check(build, [M55], 3)
    assert set(templates(result)) == {MVE}
    check_tight(layers(result.model.data, M55), samples=3, least=0.5)


def test_what_is_left_to_plain_c() -> None:
    """Other types, scales at the ends of what a real can be."""
    build = ModelBuilder()
    quantize(build, 9, 0.02, 0, "int16")
    quantize(build, 9, 0.02, 128, "uint8")
    quantize(build, 9, 1e-30, 3)
    assert MVE not in templates(dsp.check(build, [M55], 3))


def test_all_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    quantize(build, 9, 0.02, 3)
    quantize(build, 9, 0.25, 0)
    check_compilers(build, tmp_path)
