"""Weights that are copied to RAM: the same results, less waiting for flash, and RAM that is counted."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from tests.branchy_models import convolution
from tests.modelbuilder import ModelBuilder
from tests.test_cli import as_json, tinygen
from tests.test_firmware import assert_equal, cmake_elf, tried
from tinygen import driver, target
from tinygen.budget import Budget, need, weigh
from tinygen.commands.options import ram_weight_bytes
from tinygen.driver import Compiled, Model, compile_model
from tinygen.errors import DataError, TargetError
from tinygen.footprint.measure import measure
from tinygen.frontend import tflite
from tinygen.limits import Attempt, Limits, compile_within
from tinygen.profile.profile import profile
from tinygen.quant import Numerics
from tinygen.ram_weights import AT_ONCE, AUTO, OF_A_ROW
from tinygen.resources import TEMPLATES
from tinygen.target import Target
from tinygen.variants import Optimize
from tinygen.verify.compare import verify
from tinygen.verify.samples import random_samples

DIGITS = Path(__file__).parents[1] / "examples" / "digits" / "digits.tflite"
BOARD = "nucleo_l4r5zi"


def network() -> bytes:
    """A convolution, one of single pixels, and a layer that reads each of its weights once."""
    build = ModelBuilder(np.random.default_rng(3))
    x = convolution(build, build.input((1, 8, 8, 8), "int8", 0.05, -3), filters=16)
    x = convolution(build, x, filters=48, kernel=1)
    weights = build.constant(build.rng.integers(-127, 128, (4, 8 * 8 * 48)), "int8", 0.01, 0)
    y = build.tensor((1, 4), "int8", 0.5, 0)
    build.op("FULLY_CONNECTED", [x, weights, None], [y], "FullyConnected")
    return build.finish()


def compiled(ram_weights: int, board: str | Target = BOARD, optimize: Optimize = Optimize.SPEED) -> Compiled:
    place, data = target.load(board) if isinstance(board, str) else board, network()
    model = Model("net", data, tflite.read(data, "net"))
    return compile_model(model, place, "net", optimize=optimize, ram_weights=ram_weights)


def budget(result: Compiled, board: str = BOARD) -> Budget:
    place = target.load(board)
    return weigh(result, place, measure(result, place))


def in_ram(result: Compiled) -> set[str]:
    return {data.symbol for data in result.program.data if data.ram}


def test_what_is_read_most_often_comes_first() -> None:
    """All of a convolution's constants, and none that an inference reads once."""
    auto, whole = in_ram(compiled(AUTO)), compiled(10**6)
    assert auto == {"net_0_conv_2d_words", "net_1_conv_2d_words"}
    assert not [name for name in auto if "fully_connected" in name]
    assert [name for name in in_ram(whole) if "fully_connected" in name]
    assert whole.ram_weights.bytes == sum(d.data.nbytes for d in whole.program.data if d.ram) > 10_000
    assert not in_ram(compiled(0))
    assert "extern int32_t net_0_conv_2d_words" in whole.files["src/net_data.h"]
    assert "extern const int32_t net_0_conv_2d_words" in compiled(0).files["src/net_data.h"]


def test_the_kernels_that_are_known_are_there() -> None:
    for kernel in (*AT_ONCE, *OF_A_ROW):
        assert (TEMPLATES / "kernels" / f"{kernel}.c.j2").is_file(), kernel


@pytest.mark.parametrize("wanted", [1, 500, 1200, 4000])
def test_no_more_than_wanted(wanted: int) -> None:
    assert compiled(wanted).ram_weights.bytes <= wanted


@pytest.mark.parametrize("board", [BOARD, "nucleo_g071rb", "nucleo_l152re", "nucleo_h743zi", "mps2-an386"])
def test_results_are_the_same(board: str) -> None:
    """On this computer and emulated: the start-up code, or what loads the program, puts the weights into RAM."""
    result = compiled(8000, board)
    assert result.ram_weights.bytes > 2000
    samples = random_samples(result.model.graph, 2)
    verdict = verify(result, samples, interpreter=False, board=target.load(board))
    assert verdict.difference is None, str(verdict.difference)


def test_the_firmware_copies_them(tmp_path: Path) -> None:
    result = compile_model(driver.load(DIGITS), target.load(BOARD), form="cmake", ram_weights=AUTO)
    result.write(tmp_path)
    path = cmake_elf(tmp_path)
    elf = ELFFile(io.BytesIO(path.read_bytes()))
    assert elf.get_section_by_name(".data")["sh_size"] >= result.ram_weights.bytes > 500
    assert_equal(tried(tmp_path, path))


@pytest.mark.parametrize(
    ("board", "goal"), [(BOARD, Optimize.SPEED), ("nucleo_l552ze_q", Optimize.SPEED), ("nucleo_g071rb", Optimize.FLASH)]
)
def test_the_core_waits_less_for_flash(board: str, goal: Optimize) -> None:
    """The cycles are the same, and what is saved is about what was said."""
    place = target.load(board)
    plain, copied = (compiled(wanted, board, goal) for wanted in (0, AUTO))
    before, after = (profile(one, place, budget(one, board), 0).total for one in (plain, copied))
    assert before.cycles and after.cycles and abs(after.cycles / before.cycles - 1) < 0.001
    assert before.stall_cycles and after.stall_cycles is not None and copied.ram_weights.saved_cycles
    saved = before.stall_cycles - after.stall_cycles
    assert saved > before.stall_cycles / 2
    assert saved / copied.ram_weights.saved_cycles == pytest.approx(1, abs=0.15)
    assert (before.constant_read_bytes or 0) > 3 * (after.constant_read_bytes or 0)


def test_ram_and_flash_are_counted() -> None:
    plain, copied = compiled(0), compiled(AUTO)
    before, after = budget(plain), budget(copied)
    more = copied.ram_weights.bytes
    assert need(copied).ram_bytes - need(plain).ram_bytes == more == copied.manifest["ram_constant_bytes"]
    assert 0 <= after.footprint.ram_bytes - before.footprint.ram_bytes - more < 32
    assert abs(after.footprint.flash_bytes - before.footprint.flash_bytes) < 64
    assert ("weights in RAM", more) in [(part.name, part.bytes) for part in after.tensors]


def test_auto_leaves_half_of_the_ram() -> None:
    """And takes nothing where nothing has to be waited for."""
    plenty, board = compiled(AUTO), target.load(BOARD)
    small = replace(board, ram=(replace(board.ram[0], bytes=plenty.plan.arena_bytes + 3000),))
    assert 1000 < compiled(AUTO, small).ram_weights.bytes <= 1500 < plenty.ram_weights.bytes
    assert not in_ram(compiled(AUTO, "mps2-an386"))
    assert compiled(4000, "mps2-an386").ram_weights.saved_cycles == 0
    assert not in_ram(compiled(AUTO, "genericSTM32F407VET6"))
    assert compiled(4000, "genericSTM32F407VET6").ram_weights.saved_cycles is None


def test_an_avr_cannot() -> None:
    message = "this core reads constants with instructions of their own, from program memory only"
    with pytest.raises(TargetError, match=f"uno: {message}; compile without --ram-weights"):
        compiled(100, "uno")


def test_limits_count_them() -> None:
    """AUTO keeps --max-ram; so many bytes as are asked for are refused where they are too many."""
    model, board = driver.load(DIGITS), target.load(BOARD)

    def within(ram_weights: int, most: int | None) -> Attempt:
        limits, goals = Limits(ram_bytes=most), [Optimize.SPEED]
        return compile_within(model, board, None, Numerics.TFLITE, "c", goals, limits, ram_weights=ram_weights)[-1]

    free = within(AUTO, None)
    more = free.compiled.ram_weights.bytes
    assert free.fits and free.ram_bytes == free.compiled.plan.arena_bytes + more and more > 500
    kept = within(AUTO, free.ram_bytes - 1)
    assert kept.fits and 0 < kept.compiled.ram_weights.bytes < more
    assert not within(more, free.ram_bytes - 1).fits


def test_on_the_command_line(tmp_path: Path) -> None:
    command = ["compile", DIGITS, "--board", BOARD, "--output", tmp_path / "out", "--ram-weights"]
    done = tinygen(*command, "auto")
    assert "are read from RAM: about" in done.stdout and "cycles less to wait for the flash" in done.stdout
    assert as_json(*command, 1000)["ram_constant_bytes"] in range(500, 1001)


def test_what_the_option_says() -> None:
    assert [ram_weight_bytes(text) for text in (None, "0", "64K", "auto")] == [0, 0, 65536, AUTO]
    with pytest.raises(DataError, match="not a memory size, found 'much'"):
        ram_weight_bytes("much")
