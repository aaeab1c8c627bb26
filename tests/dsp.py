"""What the tests of kernels for the DSP extension share: the C of a DSP board on this computer and in emulators."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.modelbuilder import ModelBuilder
from tinygen import target
from tinygen.driver import Compiled, Model, compile_model
from tinygen.frontend import tflite
from tinygen.quant import Numerics
from tinygen.verify.compare import verify
from tinygen.verify.samples import random_samples

BOARDS = ("nucleo_l4r5zi", "nucleo_h743zi", "nucleo_l552ze_q")
"""M4F, M7, M33."""
NONE, RELU, RELU6 = 0, 1, 3
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
CROSS = (
    ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft"),
    ("arm-none-eabi-gcc", "-mcpu=cortex-m33", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
    ("clang", "--target=arm-none-eabi", "-mcpu=cortex-m4", "-mthumb", "-I/usr/lib/arm-none-eabi/include"),
    ("clang", "-x", "c"),
)


def compiled(build: ModelBuilder, board: str = BOARDS[0], numerics: Numerics = Numerics.TFLITE) -> Compiled:
    """The model for a board."""
    data = build.finish()
    return compile_model(
        Model("net.tflite", data, tflite.read(data, "net.tflite")), target.load(board), "net", numerics
    )


def check(
    build: ModelBuilder, boards: Sequence[str] = BOARDS[:1], samples: int = 3, numerics: Numerics = Numerics.TFLITE
) -> Compiled:
    """The C here and in the emulated boards, against the NumPy reference, every layer; the first board's code."""
    results = [compiled(build, board, numerics) for board in boards]
    for name, result in zip(boards, results, strict=True):
        inputs = random_samples(result.model.graph, samples)
        verdict = verify(result, inputs, interpreter=False, board=target.load(name))
        assert verdict.difference is None, str(verdict.difference)
    return results[0]


def forms(result: Compiled, kernel: str) -> list[str]:
    """How each layer is stored; every layer has that kernel."""
    functions = {function.name: function for function in result.program.functions}
    called = [functions[call.function] for call in result.program.calls]
    assert all(function.name.startswith(kernel) for function in called), [function.name for function in called]
    return [function.values["finish"]["form"] for function in called]


def check_compilers(build: ModelBuilder, folder: Path) -> None:
    """No warning under any compiler and level of optimisation, with the instructions and without."""
    check_files(compiled(build), folder, ("-O0", "-O2", "-O3", "-Os"))


def check_files(result: Compiled, folder: Path, levels: Sequence[str]) -> None:
    """The same for a compiled model and some levels."""
    result.write(folder / "net")
    for command in CROSS:
        for level in levels:
            if command[0] == "clang" and level == "-O3":
                continue
            parts = [*command, level, *WARNINGS, "-Iinclude", "-c", "src/net.c", "-o", str(folder / "net.o")]
            done = subprocess.run(parts, cwd=folder / "net", capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{' '.join(parts)}: {done.stderr}"
