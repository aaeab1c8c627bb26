"""Depthwise convolution with any window in C: on this computer, and compiled for the cores that have it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.dsp import NONE, RELU, RELU6, WARNINGS, check, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.test_convolution_dsp import SAME, VALID
from tests.test_depthwise_dsp import depthwise
from tinygen.driver import Compiled
from tinygen.ops import depthwise_taps_v6m
from tinygen.verify.golden import Golden

KERNEL = "kernels/depthwise_conv_2d.window.c.j2"
BOARDS = ("nucleo_l152re", "pico", "nucleo_l4r5zi")
"""M3, M0+, M4F."""


@pytest.fixture(autouse=True)
def _no_taps(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lists of taps, which take most of these layers on Armv6-M."""
    monkeypatch.setattr(depthwise_taps_v6m, "LEAST_OUTPUTS", 1 << 30)


def templates(result: Compiled) -> list[str]:
    """Of all layers."""
    functions = {function.name: function for function in result.program.functions}
    return [functions[call.function].template for call in result.program.calls]


@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str) -> None:
    """Any kernel, stride, dilation and padding; several filters for each channel; more outputs than sums, and fewer."""
    build = ModelBuilder(np.random.default_rng(60 + BOARDS.index(board)))
    rng = build.rng
    for _ in range(14):
        padding = build.pick([SAME, SAME, VALID])
        height, width, depth = (int(size) for size in rng.integers(9 if padding == VALID else 2, [14, 14, 12]))
        kernel = tuple(int(size) for size in rng.integers(1, 6, 2))
        dilation = build.pick([2, 2, 3]) if max(kernel) < 4 else 1
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, build.random_zero_point()])}
        choice = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -1)}
        choice |= {"multiplier": build.pick([1, 1, 2]), "kernel": kernel, "dilation": dilation}
        shape, stride = (build.pick([1, 1, 2]), height, width, depth), build.pick([1, 1, 2, (1, 3)])
        depthwise(build, shape, stride if dilation == 1 else 1, padding, **choice, **zeros)
    assert templates(check(build, [board])).count(KERNEL) > 3


def test_long_kernels() -> None:
    """Taps that become a loop."""
    build = ModelBuilder()
    depthwise(build, (1, 1, 40, 5), kernel=(1, 17))
    depthwise(build, (1, 30, 12, 3), kernel=(11, 11), y_zero=3)
    assert set(templates(check(build, BOARDS[:1]))) == {KERNEL}


@pytest.mark.parametrize("weight", [-128, 127])
def test_weights_and_inputs_at_their_ends(weight: int, golden: Golden) -> None:
    build = ModelBuilder()
    for kernel in ((5, 5), (2, 7)):
        bias = [2**28, -(2**28), 0, 900]
        depthwise(build, (1, 6, 5, 4), x_zero=127, kernel=kernel, weights=weight, bias=bias)
    assert set(templates(check(build, BOARDS[:1], samples=6))) == {KERNEL}
    check_model(build.finish(), golden)


COMMANDS = (
    (("arm-none-eabi-gcc", "-mcpu=cortex-m3", "-mthumb"), "nucleo_l152re"),
    (("clang",), "nucleo_l152re"),
    (("riscv64-unknown-elf-gcc", "-march=rv32imc", "-mabi=ilp32", "--specs=picolibc.specs"), "esp32-c3-devkitm-1"),
)


@pytest.mark.parametrize(("command", "board"), COMMANDS)
def test_compilers(command: tuple[str, ...], board: str, tmp_path: Path) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 3):
        depthwise(build, (1, 9, 8, 3), kernel=(5, 5), y_zero=y_zero)
        depthwise(build, (2, 1, 30, 3), kernel=(1, 12), y_zero=y_zero, activation=RELU6, multiplier=2)
    result = compiled(build, board)
    assert set(templates(result)) == {KERNEL}
    result.write(tmp_path / "net")
    for level in ("-O0", "-O2", "-Os"):
        parts = [*command, level, *WARNINGS, "-Iinclude", "-c", "src/net.c", "-o", str(tmp_path / "net.o")]
        done = subprocess.run(parts, cwd=tmp_path / "net", capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(parts)}: {done.stderr}"
