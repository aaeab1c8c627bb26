"""Every board's program: generated, and compiled for the board's core wherever a compiler is to be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small_models import two_convolutions
from tests.test_generated_c import compilers, run, unpack_files
from tinygen import target
from tinygen.driver import Compiled, Model, compile_model
from tinygen.frontend import tflite
from tinygen.project import default_format

WARNINGS = ("-std=gnu99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-DTG_LAYER_CYCLES")
LINK = ("-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-Wl,--fatal-warnings", "-Wl,-T")


def compiled(board: str) -> Compiled:
    """A small model as the board's default project."""
    place, data = target.load(board), two_convolutions()
    return compile_model(Model("net.tflite", data, tflite.read(data, "net")), place, form=default_format(place))


@pytest.mark.parametrize("name", target.names())
def test_the_program_compiles(name: str, tmp_path: Path) -> None:
    """All its C; without a framework it links too, with the compiler's own library alone, into the board's memory."""
    board, result = target.load(name), compiled(name)
    unpack_files(result.files, tmp_path)
    sources = [path for path in sorted(result.files) if path.endswith(".c")]
    includes = sorted({f"-I{Path(path).parent}" for path in result.files if path.endswith(".h")})
    for compiler in compilers(board.core, tmp_path):
        command = [*compiler, *WARNINGS, *includes, *sources]
        if board.bare:
            script = next(path for path in result.files if path.endswith(".ld"))
            run([*command, *LINK[:-1], f"{LINK[-1]},{script}", "-o", "firmware.elf"], tmp_path)
        else:
            run([*command, "-c"], tmp_path)


def test_boards_run_without_a_framework() -> None:
    """Of the families that are promised, every board but those behind a bootloader for a framework."""
    families = ("STM32", "NRF5", "ATSAMD21", "RP2040", "CORTEX-M", "CORSTONE", "IOT KIT")
    boards = [board for board in target.load_all() if board.mcu.upper().startswith(families)]
    assert {board.name for board in boards if not board.bare} == {"portenta_h7_m7", "giga_r1_m7"}
    assert len([board for board in boards if board.bare]) > 40
