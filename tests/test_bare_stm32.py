"""STM32 boards without a framework: their facts agree with the chip, and a program starts, talks and faults on them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.bare import Builder, Emulated, builder, in_qemu
from tests.register_models import Registers
from tests.stm32_registers import Stm32, addresses, family, perform
from tinygen import target
from tinygen.target import Bare, Step

BAUD = 115200
BEHIND_A_BOOTLOADER = {"portenta_h7_m7", "giga_r1_m7"}
BOARDS = sorted(
    board.name for board in target.load_all() if board.mcu.startswith("STM32") and board.name not in BEHIND_A_BOOTLOADER
)
IN_QEMU = ("netduinoplus2", "stm32vldiscovery")
PRINTABLE = bytes(byte for byte in range(256) if byte not in b"TCFSW%")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return builder(tmp_path_factory)


def _bare(name: str) -> Bare:
    bare = target.load(name).bare
    assert bare
    return bare


def _after(name: str, steps: tuple[Step, ...]) -> None:
    """The set-up `steps` on the chip of a board, which objects to a wrong one."""
    chip = Stm32(target.load(name))
    registers = Registers(chip)
    for step in steps:
        perform(registers, step)
    chip.check(registers)


def test_every_stm32_has_its_facts() -> None:
    assert len(BOARDS) == 32
    assert all(_bare(name) for name in BOARDS)
    assert all(target.load(name).bare is None for name in BEHIND_A_BOOTLOADER)


@pytest.mark.parametrize("name", BOARDS)
def test_the_registers_are_where_their_names_say(name: str) -> None:
    of, setup = addresses(target.load(name)), _bare(name).setup
    assert [(step.register, hex(step.address)) for step in setup] == [
        (step.register, hex(of[step.register])) for step in setup
    ]
    assert all(step.bits == 32 for step in setup)


@pytest.mark.parametrize("name", BOARDS)
def test_the_driver_and_its_numbers_are_those_of_the_chip(name: str) -> None:
    board, bare = target.load(name), _bare(name)
    assert board.uart
    chip = family(board)
    steps = 256 if board.uart.peripheral.startswith("LP") else 1
    assert bare.driver == f"stm32_usart_v{1 if chip.one_data_register else 2}"
    assert bare.uart_address == chip.uarts[board.uart.peripheral][0]
    assert bare.uart_clock_hz == bare.clock_hz * steps < 2**32 - BAUD
    divider = (bare.uart_clock_hz + BAUD // 2) // BAUD
    assert abs(bare.uart_clock_hz / divider / BAUD - 1) < 0.02


@pytest.mark.parametrize("name", BOARDS)
def test_the_set_up_is_for_the_pins_of_the_board(name: str) -> None:
    _after(name, _bare(name).setup)


@pytest.mark.parametrize("name", BOARDS)
def test_a_set_up_with_a_step_left_out_is_noticed(name: str) -> None:
    setup = _bare(name).setup
    for number in range(len(setup)):
        with pytest.raises(AssertionError):
            _after(name, setup[:number] + setup[number + 1 :])


@pytest.mark.parametrize("name", BOARDS)
def test_a_set_up_with_a_wrong_bit_is_noticed(name: str) -> None:
    """The next bit, and so the next pin, port, function or clock."""
    setup = _bare(name).setup
    for number, step in enumerate(setup):
        if step.wait is None:
            value = None if step.value is None else step.value << 1
            wrong = replace(step, clear=step.clear << 1, set=step.set << 1, value=value)
            with pytest.raises(AssertionError):
                _after(name, (*setup[:number], wrong, *setup[number + 1 :]))


@pytest.mark.parametrize("name", BOARDS)
def test_in_unicorn_the_program_of_the_board_talks(name: str, program: Builder) -> None:
    """Built by the real compilers; every byte that it sends has the model look at clocks, pins, mode and divider."""
    board = Emulated(name, program(name), Stm32(target.load(name)))
    board.boot()
    assert board.ask(PRINTABLE) == PRINTABLE
    assert board.registers.wire.baud == pytest.approx(BAUD, rel=0.01)
    before, after = (int(board.ask(b"C")[:8], 16) for _ in range(2))
    assert after > before


@pytest.mark.parametrize("name", IN_QEMU)
def test_in_qemu_bytes_come_back(name: str, program: Builder) -> None:
    with in_qemu(name, program(name)) as board:
        assert board.ask(PRINTABLE + b"%", b"%") == PRINTABLE
        before = board.number(b"T")
        assert board.number(b"T") > before
        assert board.number(b"F") == 17


@pytest.mark.parametrize("name", IN_QEMU)
def test_in_qemu_a_wild_access_is_reported(name: str, program: Builder) -> None:
    fault = r"\r\ne-\[Fault: at 0x0800[0-9a-f]{4}, status 0x00008200, address 0x30f00000"
    with in_qemu(name, program(name)) as board:
        assert re.fullmatch(fault, board.ask(b"W", b"]\r\n").decode())


@pytest.mark.parametrize("name", IN_QEMU)
def test_in_qemu_a_stack_overflow_is_reported(name: str, program: Builder) -> None:
    fault = r"\r\ne-\[Fault: stack overflow, status 0x00009200, address 0x1fff[0-9a-f]{4}"
    with in_qemu(name, program(name)) as board:
        assert re.fullmatch(fault, board.ask(b"S", b"]\r\n").decode())
