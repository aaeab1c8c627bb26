"""The third oracle: C cross-compiled for real cores, run in an emulator with the board's own memory map."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.random_models import emitters, random_model
from tests.small_models import two_convolutions
from tests.test_generated_c import operator_model
from tinygen import target
from tinygen.driver import Compiled, Model, compile_model, load
from tinygen.errors import ToolError
from tinygen.frontend import tflite
from tinygen.quant import Numerics
from tinygen.target import Target
from tinygen.verify.board import emulate
from tinygen.verify.compare import verify
from tinygen.verify.samples import random_samples

BOARDS = ("nucleo_g0b1re", "bluepill_f103c8", "nucleo_l4r5zi", "nucleo_h743zi")
"""One of each core that the emulator has: M0+, M3, M4F, M7."""
ROOT = Path(__file__).parent.parent


def compiled(data: bytes, board: Target, numerics: Numerics = Numerics.TFLITE) -> Compiled:
    """The model compiled for a board."""
    return compile_model(Model("net.tflite", data, tflite.read(data, "net.tflite")), board, "net", numerics)


def check_on_boards(data: bytes, boards: tuple[str, ...] = BOARDS, samples: int = 4) -> None:
    """Every layer on every board, against the NumPy reference."""
    for name in boards:
        board = target.load(name)
        result = compiled(data, board)
        verdict = verify(result, random_samples(result.model.graph, samples), interpreter=False, board=board)
        assert verdict.difference is None, str(verdict.difference)
        assert verdict.emulated == name and verdict.samples == samples


@pytest.mark.parametrize("name", sorted(emitters()))
def test_every_operator(name: str) -> None:
    check_on_boards(operator_model(name, seed=21))


@pytest.mark.parametrize("seed", range(700, 710))
def test_random_models(seed: int) -> None:
    check_on_boards(random_model(seed), ("nucleo_g0b1re", "nucleo_l4r5zi"))


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*/*.tflite")), ids=lambda path: path.stem)
def test_examples(example: Path) -> None:
    check_on_boards(load(example).data)


def test_a_wrong_kernel_is_found() -> None:
    """Wrong on the board alone: the C on this computer is right."""
    board = target.load("uno")
    result = compiled(two_convolutions(), board)
    source = result.files["src/net.c"]
    assert "tg_clamp(sum_1," in source
    wrong = "#ifdef __AVR__\n#define OFF_BY 1\n#else\n#define OFF_BY 0\n#endif\n" + source
    wrong = wrong.replace("tg_clamp(sum_1,", "tg_clamp(sum_1 + OFF_BY,", 1)
    result = replace(result, files={**result.files, "src/net.c": wrong})
    difference = verify(result, random_samples(result.model.graph, 3), board=board).difference
    assert difference is not None and difference.ours == "the firmware for uno"
    [*_, changed] = re.findall(r"void (tg_\w+)\(", source[: source.index("tg_clamp(sum_1,")])
    first = next(call for call in result.program.calls if changed.startswith(call.function))
    assert f", {difference.layer}:" in first.comment


@pytest.mark.parametrize("name", ("host", "board", "cortex_m"))
@pytest.mark.parametrize("board", ("nucleo_l4r5zi", "mps3-an547"))
def test_a_model_named_like_the_harness(name: str, board: str) -> None:
    data = two_convolutions()
    model = Model(f"{name}.tflite", data, tflite.read(data, f"{name}.tflite"))
    result = compile_model(model, target.load(board), name)
    verdict = verify(result, random_samples(model.graph, 1), interpreter=False, board=target.load(board))
    assert verdict.difference is None and verdict.samples == 1


def test_access_outside_memory_is_a_fault(tmp_path: Path) -> None:
    """A write one element beyond the board's RAM ends the run with a message."""
    board = target.load("bluepill_f103c8")
    result = compiled(two_convolutions(), board)
    wild = "    *(volatile int8_t *)0x20005000 = 1;\n    TG_LAYER_DONE(1);"
    source = result.files["src/net.c"].replace("    TG_LAYER_DONE(1);", wild)
    model = emulate(replace(result, files={**result.files, "src/net.c": source}), board, tmp_path)
    with pytest.raises(ToolError, match=r"bluepill_f103c8: the emulated program faulted, found Invalid memory write"):
        model.run(random_samples(result.model.graph, 1)[0])


def test_a_hung_program_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygen.verify.board_unicorn.LIMIT_SECONDS", 1)
    board = target.load("bluepill_f103c8")
    result = compiled(two_convolutions(), board)
    source = result.files["src/net.c"].replace("    TG_LAYER_DONE(1);", "    for (;;) {\n    }")
    model = emulate(replace(result, files={**result.files, "src/net.c": source}), board, tmp_path)
    with pytest.raises(ToolError, match="the emulated program hung"):
        model.run(random_samples(result.model.graph, 1)[0])


def test_a_model_too_large_for_the_board(tmp_path: Path) -> None:
    tiny = target.load("bluepill_f103c8")
    tiny = replace(tiny, flash=(replace(tiny.flash[0], bytes=1280),))
    with pytest.raises(ToolError, match=r"does not build for the board, found .*(overflowed by|will not fit)"):
        emulate(compiled(two_convolutions(), tiny), tiny, tmp_path)


def test_no_cross_compiler(tmp_path: Path) -> None:
    board = target.load("bluepill_f103c8")
    board = replace(board, core=replace(board.core, compiler="no-such-gcc"))
    with pytest.raises(ToolError, match="cross-compiler not found, found no-such-gcc; install it, on Debian: apt-get"):
        emulate(compiled(two_convolutions(), board), board, tmp_path)
