"""Boards without a framework that are not STM32: their facts agree, and a program starts, talks and faults on them."""

from __future__ import annotations

import io
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import arm_const

from tests.bare import Builder, Emulated, builder, check, in_qemu, symbols
from tests.register_models import Model, Nrf, Rp2040, SamD21
from tinygen import target
from tinygen.resources import FIRMWARE
from tinygen.target import Bare, Target

BAUD = 115200
MPS = ("mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547")
BOARDS = {
    "nrf_uart": ("bbcmicrobit", "bbcmicrobit_v2", "nano33ble"),
    "sam_sercom": ("zero", "mkrwifi1010", "nano_33_iot"),
    "pl011": ("pico", "nanorp2040connect"),
    "cmsdk_uart": MPS,
}


def _bare(board: Target) -> Bare:
    assert board.bare
    return board.bare


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return builder(tmp_path_factory)


# The facts of the board files.


def _baud_of(bare: Bare) -> float:
    """The baud rate that the driver's rule makes of its clock."""
    clock = bare.uart_clock_hz
    if bare.driver == "nrf_uart":
        return (((BAUD << 32) // clock + 0x800) // 0x1000 * 0x1000) * clock / 2**32
    if bare.driver == "sam_sercom":
        value = 65536 - (65536 * 16 * BAUD + clock // 2) // clock
        return clock / 16 * (1 - value / 65536)
    if bare.driver == "pl011":
        return clock * 4 / ((clock * 4 + BAUD // 2) // BAUD)
    return clock / (clock // BAUD)


def test_these_are_all_boards_but_stm32() -> None:
    ours = {board.name: _bare(board).driver for board in target.load_all() if board.bare}
    ours = {name: driver for name, driver in ours.items() if not driver.startswith("stm32")}
    assert ours == {name: driver for driver, names in BOARDS.items() for name in names}


@pytest.mark.parametrize("board", [board for board in target.load_all() if board.bare], ids=lambda board: board.name)
def test_what_a_board_names_is_there(board: Target) -> None:
    bare = _bare(board)
    assert (FIRMWARE / "family" / f"{bare.driver}.c").is_file()
    assert not bare.boot or (FIRMWARE / "family" / f"{bare.boot}.c").is_file()
    assert 1_000_000 <= bare.clock_hz <= board.clock_hz
    for step in bare.setup:
        assert step.why and step.bits in (8, 16, 32) and step.address % (step.bits // 8) == 0
        numbers = (step.clear, step.set, step.value or 0, step.wait or 0)
        assert all(0 <= number < 2**step.bits for number in numbers)
        changes = step.clear or step.set
        assert bool(changes) != (step.value is not None or step.wait is not None), step


@pytest.mark.parametrize("name", [name for names in BOARDS.values() for name in names])
def test_the_baud_rate_is_within_2_percent(name: str) -> None:
    assert abs(_baud_of(_bare(target.load(name))) / BAUD - 1) < 0.02


def _nrf_pins(bare: Bare) -> tuple[str, str]:
    """TX and RX as PSELTXD and PSELRXD name them, if the pins' other registers are those of the same pins."""
    steps = {step.register: step for step in bare.setup}
    pins = []
    for register, configuration in (("PSELTXD", 0x3), ("PSELRXD", 0xC)):
        port, pin = divmod(steps[f"UART0 {register}"].value or 0, 32)
        step = steps[f"P{port} PIN_CNF[{pin}]"]
        assert step.address == 0x50000700 + 0x300 * port + 4 * pin and step.value == configuration
        pins.append(f"P{port}.{pin:02}")
        if register == "PSELTXD":
            assert (steps[f"P{port} OUTSET"].address, steps[f"P{port} OUTSET"].value) == (
                0x50000508 + 0x300 * port,
                1 << pin,
            )
    return pins[0], pins[1]


def _sam_pins(bare: Bare) -> tuple[str, str]:
    """TX and RX: the pins given to the peripheral, by the pads of SERCOM5 that CTRLA says (function D of port B)."""
    given = [step.address - 0x410044C0 for step in bare.setup if step.address in range(0x410044C0, 0x410044E0)]
    assert given == [22, 23]
    assert [(step.address, step.value) for step in bare.setup if "PMUX" in step.register] == [(0x410044BB, 0x33)]
    control = bare.setup[-1].value or 0
    pads = {2: "PB22", 3: "PB23"}
    return pads[{1: 2}[control >> 16 & 3]], pads[control >> 20 & 3]


def _rp2040_pins(bare: Bare) -> tuple[str, str]:
    """TX and RX: the pins whose function is 2; UART0 sends on GP0, 12, 16, 28 and receives on the next one."""
    functions = {step.address - 0x40014004: step.value for step in bare.setup if step.address >> 12 == 0x40014}
    assert set(functions.values()) == {2}
    tx, rx = sorted(address // 8 for address in functions)
    assert tx in (0, 12, 16, 28) and rx == tx + 1
    assert 0x4001C004 + 4 * rx in {step.address for step in bare.setup}
    return f"GP{tx}", f"GP{rx}"


PINS = {"nrf_uart": _nrf_pins, "sam_sercom": _sam_pins, "pl011": _rp2040_pins}


@pytest.mark.parametrize("name", [name for driver in PINS for name in BOARDS[driver]])
def test_the_set_up_is_for_the_pins_of_the_board(name: str) -> None:
    board = target.load(name)
    assert board.uart and (board.uart.tx, board.uart.rx) == PINS[_bare(board).driver](_bare(board))


# The second boot stage of the RP2040.


def _crc(data: bytes) -> int:
    """CRC-32 as the boot ROM computes it: RP2040 Datasheet, 2.8.1.3.1."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


def test_boot2_is_the_code_in_its_comment_with_the_right_checksum(tmp_path: Path) -> None:
    text = (FIRMWARE / "family" / "rp2040_boot2.c").read_text("utf-8")
    code = re.search(r"/\*\n( +\.syntax.*?)\*/", text, re.DOTALL)
    words = re.search(r"\[64\] = \{(.*?)\[63\] = (\w+)", text, re.DOTALL)
    assert code and words
    (tmp_path / "boot2.s").write_text(code[1], "utf-8")
    check(["arm-none-eabi-as", "boot2.s", "-o", "boot2.o"], tmp_path)
    check(["arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", "boot2.o", "boot2.bin"], tmp_path)
    numbers = [int(word, 0) for word in re.findall(r"0x\w+", words[1])]
    array = struct.pack(f"<{len(numbers)}I", *numbers)
    assert array == (tmp_path / "boot2.bin").read_bytes()
    assert _crc(b"123456789") == 0x0376E6E7
    assert int(words[2], 0) == _crc(array.ljust(252, b"\0"))


# Programs, built for each board.


@pytest.mark.parametrize("name", [name for names in BOARDS.values() for name in names])
def test_a_program_builds_and_lies_where_the_board_starts(name: str, program: Builder) -> None:
    board = target.load(name)
    elf = ELFFile(io.BytesIO(program(name).read_bytes()))
    found = symbols(elf)
    origin = board.main_flash.origin + (256 if _bare(board).boot else 0)
    assert found["tg_vectors"] == origin and origin % 256 == 0
    assert found["tg_ram_start"] == board.main_ram.origin and found["tg_stack_bytes"] == 1024
    text = elf.get_section_by_name(".text")
    offset = origin - text["sh_addr"]
    stack, reset = struct.unpack_from("<2I", text.data(), offset)
    assert stack == found["tg_stack_top"] == board.main_ram.origin + 1024
    assert reset == found["tg_reset"] and reset & 1


# QEMU.


EMULATED = ["bbcmicrobit", *MPS]


@pytest.mark.parametrize("name", EMULATED)
def test_in_qemu_bytes_come_back_and_time_goes_on(name: str, program: Builder) -> None:
    text = bytes(byte for byte in range(256) if byte not in b"TCFSW%") * 3
    with in_qemu(name, program(name)) as machine:
        assert machine.ask(text + b"%", b"%") == text
        host, board, cycles = time.monotonic(), machine.number(b"T"), machine.number(b"C")
        time.sleep(0.05)
        elapsed, counted = machine.number(b"T") - board, machine.number(b"C") - cycles
        assert 40_000 < elapsed <= (time.monotonic() - host) * 1e6 * 1.1
        clock_hz = _bare(target.load(name)).clock_hz
        assert 0.04 * clock_hz < counted <= (time.monotonic() - host) * clock_hz * 1.1


def test_in_qemu_time_outlives_a_wrap_of_systick(program: Builder) -> None:
    with in_qemu("mps3-an547", program("mps3-an547")) as machine:
        before = machine.number(b"T")
        time.sleep(0.6)
        assert machine.number(b"T") - before > 2**24 / 32e6 * 1e6


@pytest.mark.parametrize("name", EMULATED)
def test_in_qemu_the_fpu_and_the_vectors_are_on(name: str, program: Builder) -> None:
    with in_qemu(name, program(name)) as machine:
        assert machine.number(b"F") == 17 + (14 if name == "mps3-an547" else 0)


@pytest.mark.parametrize("name", EMULATED)
def test_in_qemu_a_wild_access_is_reported(name: str, program: Builder) -> None:
    fault = r"\r\ne-\[Fault: at 0x[0-9a-f]{8}, status 0x00008200, address 0x30f00000"
    if name == "bbcmicrobit":
        fault = r"\r\ne-\[Fault: at 0x[0-9a-f]{8}, status 0x00000000"
    with in_qemu(name, program(name)) as machine:
        assert re.fullmatch(fault, machine.ask(b"W", b"]\r\n").decode())


@pytest.mark.parametrize("name", EMULATED)
def test_in_qemu_a_stack_overflow_is_reported(name: str, program: Builder) -> None:
    with in_qemu(name, program(name)) as machine:
        reply = machine.ask(b"S", b"]\r\n").decode()
        assert re.match(r"\r\ne-\[Fault: stack overflow, status 0x[0-9a-f]{8}", reply), reply


# Unicorn, with a model of the registers.


CASES: dict[str, Callable[[], Model]] = {"nano33ble": Nrf, "zero": SamD21, "pico": Rp2040}


@pytest.fixture(params=CASES)
def emulated(request: pytest.FixtureRequest, program: Builder) -> Emulated:
    return Emulated(request.param, program(request.param), CASES[request.param]())


def test_in_unicorn_bytes_come_back(emulated: Emulated) -> None:
    text = bytes(byte for byte in range(256) if byte not in b"TCFSW")
    emulated.boot()
    assert emulated.ask(text) == text
    bare = _bare(emulated.board)
    assert emulated.registers.wire.baud == pytest.approx(_baud_of(bare))
    before, after = (int(emulated.ask(b"C")[:8], 16) for _ in range(2))
    assert after > before


def test_in_unicorn_the_set_up_is_that_of_the_board(emulated: Emulated) -> None:
    emulated.boot()
    writes = iter(emulated.registers.writes)
    for step in _bare(emulated.board).setup:
        if step.wait is None:
            value = next(value for address, bits, value in writes if (address, bits) == (step.address, step.bits))
            assert value == step.value if step.value is not None else value & (step.clear | step.set) == step.set


def test_in_unicorn_a_boot_loaders_interrupts_are_off_and_ours_on(emulated: Emulated) -> None:
    emulated.boot()
    words = 8 if "armv7m" in emulated.board.core.features else 1
    off = [(address, value) for address, _, value in emulated.registers.writes if 0xE000E180 <= address < 0xE000E200]
    assert off == [(0xE000E180 + 4 * word, 0xFFFFFFFF) for word in range(words)]
    assert emulated.registers.values[0xE000ED08] == emulated.symbols["tg_vectors"]
    assert emulated.uc.reg_read(arm_const.UC_ARM_REG_PRIMASK) == 0


@pytest.mark.parametrize("name", BOARDS["pl011"])
def test_the_rp2040_boots_through_its_second_stage(name: str, program: Builder) -> None:
    board = Emulated(name, program(name), Rp2040())
    stage = bytes(board.uc.mem_read(board.board.main_flash.origin, 256))
    assert struct.unpack("<I", stage[252:])[0] == _crc(stage[:252])
    ram, flash, ssi, on = 0x20041F00, board.board.main_flash.origin, 0x18000000, (0x18000008, 32, 1)
    board.uc.mem_write(ram, stage)

    def read_flash(_uc: object, _access: int, address: int, *_: object) -> None:
        assert on in board.registers.writes, f"flash is read at {address:#x} before it is memory"

    board.uc.hook_add(unicorn.UC_HOOK_MEM_READ, read_flash, begin=flash, end=flash + 0x1000)
    assert board.ask(b"", ram) == b"ready%"
    assert board.ask(b"echo") == b"echo"
    # Off; divided by 2; 32 bits of one wire after a command and an address; one word; 03h with 24 bits of address; on.
    wanted = [(0x08, 0), (0x14, 2), (0x00, 0x1F0300), (0x04, 0), (0xF4, 0x03000218), (0x08, 1)]
    writes = board.registers.writes
    assert writes[:6] == [(ssi + offset, 32, value) for offset, value in wanted]
    assert writes[6] == (0xE000ED08, 32, flash + 256)
    assert 0 <= board.symbols["tg_stack_top"] - board.uc.reg_read(arm_const.UC_ARM_REG_SP) < 1024
