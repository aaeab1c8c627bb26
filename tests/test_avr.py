"""The third oracle on AVR, where int has 16 bits, constants lie in program memory and memory is scarce."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder
from tests.random_models import emitters, random_model
from tests.small_models import two_convolutions
from tests.test_emulated import ROOT, check_on_boards, compiled
from tests.test_generated_c import operator_model
from tinygen import target
from tinygen.driver import load
from tinygen.errors import ToolError
from tinygen.target import Target
from tinygen.verify.board import Board, emulate
from tinygen.verify.samples import random_samples

ROOMY = "ATmega1284P"
"""16 kB of RAM, the most that an AVR has."""
LAST_LAYER = "    TG_LAYER_DONE(1);"


@pytest.mark.parametrize("name", sorted(emitters()))
def test_every_operator(name: str) -> None:
    check_on_boards(operator_model(name, seed=21), (ROOMY,))


@pytest.mark.parametrize("seed", range(720, 728))
def test_random_models(seed: int) -> None:
    check_on_boards(random_model(seed), (ROOMY,))


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*/*.tflite")), ids=lambda path: path.stem)
def test_examples_on_the_smallest_boards(example: Path) -> None:
    check_on_boards(load(example).data, ("uno", "leonardo", "megaatmega2560"))


def two_layers(width: int) -> bytes:
    """32 inputs, `width` units, 30 units: 66 bytes of constants for each of `width`."""
    build = ModelBuilder(np.random.default_rng(5))
    x = build.random_input((1, 32))
    for units in (width, 30):
        weights = build.constant(build.rng.integers(-127, 128, (units, x.shape[1])), "int8", 0.01, 0)
        bias_scale = float(np.float32(x.scale) * np.float32(0.01))
        bias = build.constant(build.rng.integers(-500, 500, units), "int32", bias_scale, 0)
        y = build.random_output((1, units))
        build.op("FULLY_CONNECTED", [x, weights, bias], [y], "FullyConnected")
        x = y
    return build.finish()


def test_constants_up_to_64_kb() -> None:
    """The code itself then lies beyond, which 16-bit addresses of program memory do not reach."""
    check_on_boards(two_layers(950), ("megaatmega2560",), samples=3)


def test_constants_beyond_64_kb_are_refused(tmp_path: Path) -> None:
    board = target.load("megaatmega2560")
    with pytest.raises(
        ToolError, match=r"#error .66120 bytes of constants: this code reads program memory with 16-bit"
    ):
        emulate(compiled(two_layers(1000), board), board, tmp_path)


def changed(text: str, folder: Path, board: Target | None = None, before: str = "") -> Board:
    """Two convolutions on an Uno, with `text` in the place of the end of the last layer and `before` atop the C."""
    board = board or target.load("uno")
    result = compiled(two_convolutions(), board)
    source = result.files["src/net.c"]
    assert source.count(LAST_LAYER) == 1
    files = {**result.files, "src/net.c": before + source.replace(LAST_LAYER, text)}
    return emulate(replace(result, files=files), board, folder)


DEEP = """\
#include <stdint.h>
static volatile uint8_t seen;
static __attribute__((noinline)) uint8_t deep(uint8_t depth)
{
    volatile uint8_t local[200];
    local[seen] = depth;
    return depth ? (uint8_t)(deep((uint8_t)(depth - 1)) + local[seen]) : 0;
}
"""


@pytest.mark.parametrize(
    ("text", "before", "message"),
    [
        ("    for (;;) {\n    }", "", r"uno: the emulated program hung, found at 0x"),
        ("    ((void (*)(void))0)();", "", r"uno: the emulated program was reset, found at 0x0"),
        (
            "    *(volatile int8_t *)0x900 = 1;",
            "",
            r"uno: the emulated program crashed, found CORE: .*Invalid write address .* at 0x",
        ),
        ('    __asm volatile("cli\\n sleep");', "", r"uno: the emulated program halted, found at 0x"),
        ("", "", r"uno: the emulated program went astray, found stop -1, expected 1"),
        ("    seen = deep(10);", DEEP, r"uno: the emulated program ran its stack into its data, found at 0x"),
    ],
    ids=["hung", "reset", "crashed", "halted", "astray", "stack"],
)
def test_faults(text: str, before: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygen.verify.board_simavr.LIMIT_CYCLES", 3_000_000)
    model = changed(text, tmp_path, before=before)
    with pytest.raises(ToolError, match=message):
        model.run(random_samples(compiled(two_convolutions(), target.load("uno")).model.graph, 1)[0])


def test_a_deep_stack_that_fits_is_no_fault(tmp_path: Path) -> None:
    model = changed(f"    seen = deep(5);\n{LAST_LAYER}", tmp_path, before=DEEP)
    model.run(random_samples(compiled(two_convolutions(), target.load("uno")).model.graph, 1)[0])


def test_a_program_larger_than_the_flash(tmp_path: Path) -> None:
    uno = target.load("uno")
    tiny = replace(uno, flash=(replace(uno.flash[0], bytes=2048),))
    with pytest.raises(ToolError, match=r"uno: the model does not build for the board, found .*will not fit in region"):
        changed(LAST_LAYER, tmp_path, tiny)


def test_data_larger_than_the_ram(tmp_path: Path) -> None:
    """The linker does not know the size of an AVR's RAM."""
    uno = target.load("uno")
    tiny = replace(uno, ram=(replace(uno.ram[0], bytes=192),))
    message = (
        r"uno: the model does not build for the board, found 2\d\d bytes of data and stack, .*expected 192 bytes of"
    )
    with pytest.raises(ToolError, match=message):
        changed(LAST_LAYER, tmp_path, tiny)


def test_an_mcu_that_the_emulator_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="uno: simavr does not know the MCU, found ATmega4809"):
        changed(LAST_LAYER, tmp_path, replace(target.load("uno"), mcu="ATmega4809"))


def test_no_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc -nostdinc")
    with pytest.raises(ToolError, match=r"simavr not found, .*simavr/.*; install it, on Debian: apt-get"):
        changed(LAST_LAYER, tmp_path)
