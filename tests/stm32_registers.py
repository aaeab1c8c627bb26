"""Turns the registers of an STM32's clocks, pins and serial port into a model that refuses what the chip would not do.

The numbers are those of ST's reference manuals and data sheets: stated a second time, family by family, beside those
of the board files. The model objects (AssertionError) when a peripheral is used without its clock, when the processor
goes to an oscillator that nobody waited for or that flash cannot follow, and when a byte is sent while the port, its
pins or its clock are not what the board needs. What takes time in the chip is seen by the second look at it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from tests.register_models import Registers
from tinygen.target import Step, Target

PORTS = "ABCDEFGH"
GPIO = {"MODER": 0x00, "PUPDR": 0x0C, "AFRL": 0x20, "AFRH": 0x24}
GPIO_F1 = {"CRL": 0x00, "CRH": 0x04, "ODR": 0x0C, "BSRR": 0x10}
PWR = {"PWR CR2": 0x40007004, "PWR CR3": 0x5802480C, "PWR CSR1": 0x58024804}
IO_SUPPLY_VALID, SUPPLY_READY = 1 << 9, 1 << 13
LDO, SMPS = 2, 4
FUNCTION = 7
USART1, USART2, USART3, LPUART1 = 0x40013800, 0x40004400, 0x40004800, 0x40008000
USART1_OF_F4 = 0x40011000
SRAM_BEHIND_A_BRIDGE = 0x30000000


@dataclass(frozen=True)
class Enable:
    """The bit of an RCC register that turns a clock on; of the GPIO ports, port A's."""

    register: str
    offset: int
    bit: int


@dataclass(frozen=True)
class Oscillator:
    """Bits of RCC CR for the 16 MHz oscillator, and the register that switches to it from the one after reset."""

    on: int
    ready: int
    switch: str
    offset: int


@dataclass(frozen=True)
class Flash:
    """The register that must say one wait state before 16 MHz; `wide` is a bit that has to come first."""

    address: int
    wide: int = 0


@dataclass(frozen=True)
class Family:
    """One series: RCC, ports and serial ports with what enables them, the clock, and what else differs."""

    rcc: int
    ports: int
    enable: Enable
    uarts: dict[str, tuple[int, Enable]]
    mhz: int = 16
    functions: dict[str, int] = field(default_factory=dict)
    oscillator: Oscillator | None = None
    flash: Flash | None = None
    one_data_register: bool = False
    analog_after_reset: bool = True
    supply_after_reset: bool = True
    sram: Enable | None = None
    """Of the first SRAM behind a bridge, which has no clock after reset; the others' bits follow."""


def _one(name: str, address: int, register: str, offset: int, bit: int) -> dict[str, tuple[int, Enable]]:
    return {name: (address, Enable(register, offset, bit))}


HSI16 = Oscillator(1 << 8, 1 << 10, "CFGR", 0x08)
FAMILIES = {
    "F0": Family(
        0x40021000,
        0x48000000,
        Enable("AHBENR", 0x14, 17),
        _one("USART2", USART2, "APB1ENR", 0x1C, 17),
        mhz=8,
        functions={"USART2": 1},
        analog_after_reset=False,
    ),
    "F1": Family(
        0x40021000,
        0x40010800,
        Enable("APB2ENR", 0x18, 2),
        _one("USART1", USART1, "APB2ENR", 0x18, 14) | _one("USART2", USART2, "APB1ENR", 0x1C, 17),
        mhz=8,
        one_data_register=True,
    ),
    "F3": Family(
        0x40021000,
        0x48000000,
        Enable("AHBENR", 0x14, 17),
        _one("USART2", USART2, "APB1ENR", 0x1C, 17),
        mhz=8,
        analog_after_reset=False,
    ),
    "F4": Family(
        0x40023800,
        0x40020000,
        Enable("AHB1ENR", 0x30, 0),
        _one("USART1", USART1_OF_F4, "APB2ENR", 0x44, 4)
        | _one("USART2", USART2, "APB1ENR", 0x40, 17)
        | _one("USART3", USART3, "APB1ENR", 0x40, 18),
        one_data_register=True,
        analog_after_reset=False,
    ),
    "F7": Family(
        0x40023800,
        0x40020000,
        Enable("AHB1ENR", 0x30, 0),
        _one("USART1", USART1_OF_F4, "APB2ENR", 0x44, 4) | _one("USART3", USART3, "APB1ENR", 0x40, 18),
        analog_after_reset=False,
    ),
    "G0": Family(
        0x40021000,
        0x50000000,
        Enable("IOPENR", 0x34, 0),
        _one("USART2", USART2, "APBENR1", 0x3C, 17),
        functions={"USART2": 1},
    ),
    "G4": Family(
        0x40021000,
        0x48000000,
        Enable("AHB2ENR", 0x4C, 0),
        _one("LPUART1", LPUART1, "APB1ENR2", 0x5C, 0),
        functions={"LPUART1": 12},
    ),
    "H7": Family(
        0x58024400,
        0x58020000,
        Enable("AHB4ENR", 0xE0, 0),
        _one("USART3", USART3, "APB1LENR", 0xE8, 18),
        mhz=64,
        supply_after_reset=False,
        sram=Enable("AHB2ENR", 0xDC, 29),
    ),
    "L0": Family(
        0x40021000,
        0x50000000,
        Enable("IOPENR", 0x2C, 0),
        _one("USART2", USART2, "APB1ENR", 0x38, 17),
        functions={"USART2": 4},
        oscillator=Oscillator(1 << 0, 1 << 2, "CFGR", 0x0C),
        flash=Flash(0x40022000),
    ),
    "L1": Family(
        0x40023800,
        0x40020000,
        Enable("AHBENR", 0x1C, 0),
        _one("USART2", USART2, "APB1ENR", 0x24, 17),
        oscillator=Oscillator(1 << 0, 1 << 1, "CFGR", 0x08),
        flash=Flash(0x40023C00, wide=1 << 2),
        one_data_register=True,
        analog_after_reset=False,
    ),
    "L4": Family(
        0x40021000,
        0x48000000,
        Enable("AHB2ENR", 0x4C, 0),
        _one("USART1", USART1, "APB2ENR", 0x60, 14)
        | _one("USART2", USART2, "APB1ENR1", 0x58, 17)
        | _one("LPUART1", LPUART1, "APB1ENR2", 0x5C, 0)
        | _one("PWR", 0x40007000, "APB1ENR1", 0x58, 28),
        functions={"LPUART1": 8, "PA15": 3},
        oscillator=HSI16,
    ),
    "L5": Family(
        0x40021000,
        0x42020000,
        Enable("AHB2ENR", 0x4C, 0),
        _one("LPUART1", LPUART1, "APB1ENR2", 0x5C, 0) | _one("PWR", 0x40007000, "APB1ENR1", 0x58, 28),
        functions={"LPUART1": 8},
        oscillator=HSI16,
        flash=Flash(0x40022000),
    ),
    "U5": Family(
        0x46020C00,
        0x42020000,
        Enable("AHB2ENR1", 0x8C, 0),
        _one("USART1", USART1, "APB2ENR", 0xA4, 14),
        oscillator=Oscillator(1 << 8, 1 << 10, "CFGR1", 0x1C),
        flash=Flash(0x40022000),
    ),
    "WB": Family(
        0x58000000,
        0x48000000,
        Enable("AHB2ENR", 0x4C, 0),
        _one("USART1", USART1, "APB2ENR", 0x60, 14),
        oscillator=HSI16,
    ),
}


@dataclass(frozen=True)
class Pin:
    """A pin that has an alternate function, or on F1 is an input with a pull; `up`: pulled up."""

    name: str
    function: int
    up: bool


def family(board: Target) -> Family:
    """The family of the board's MCU, from its name: STM32F446RET6 is an F4."""
    return FAMILIES[board.mcu.removeprefix("STM32")[:2]]


def addresses(board: Target) -> dict[str, int]:
    """The registers that a set-up of the board may use, by their names in the manual."""
    chip = family(board)
    enables = [chip.enable, *(enable for _, enable in chip.uarts.values()), *([chip.sram] if chip.sram else [])]
    found = {f"RCC {enable.register}": chip.rcc + enable.offset for enable in enables} | {"RCC CR": chip.rcc} | PWR
    if chip.oscillator:
        found[f"RCC {chip.oscillator.switch}"] = chip.rcc + chip.oscillator.offset
    if chip.flash:
        found["FLASH ACR"] = chip.flash.address
    registers = GPIO_F1 if chip is FAMILIES["F1"] else GPIO
    for number, port in enumerate(PORTS):
        found |= {f"GPIO{port} {name}": chip.ports + 0x400 * number + offset for name, offset in registers.items()}
    return found


def perform(registers: Registers, step: Step) -> None:
    """One access of a set-up, as the firmware does it."""
    if step.wait is not None:
        wanted = step.wait if step.value is None else step.value
        for _ in range(10):
            if registers.read(step.address, 4) & step.wait == wanted:
                return
        raise AssertionError(f"{step.register}: waits in vain")
    if step.value is not None:
        registers.write(step.address, 4, step.value)
    else:
        registers.write(step.address, 4, registers.read(step.address, 4) & ~step.clear | step.set)


class Stm32:
    """The chip of one board."""

    def __init__(self, board: Target) -> None:
        assert board.uart and board.bare
        self.board, self.chip, self.uart = board, family(board), board.uart
        self.address, self.enable = self.chip.uarts[board.uart.peripheral]
        self.of = addresses(board)
        self._looks: Counter[int] = Counter()
        self._oscillates = self._switched = False
        self._busy = 0

    def start(self) -> dict[int, int]:
        """Every pin is an input, analog in the newer series; the debugger's are not."""
        if self.chip is FAMILIES["F1"]:
            return {address: 0x44444444 for name, address in self.of.items() if name[-3:] in ("CRL", "CRH")}
        idle = 0xFFFFFFFF if self.chip.analog_after_reset else 0
        modes = {self.of[f"GPIO{port} MODER"]: idle for port in PORTS}
        return modes | {self.of["GPIOA MODER"]: 0xABFFFFFF if self.chip.analog_after_reset else 0xA8000000}

    def read(self, registers: Registers, address: int) -> int | None:
        value, chip = registers.values.get(address, 0), self.chip
        settled = self._looks[address] > 0
        self._looks[address] += 1
        if chip.oscillator and address == chip.rcc:
            self._oscillates = settled and bool(value & chip.oscillator.on)
            return value | chip.oscillator.ready * self._oscillates
        if chip.oscillator and address == chip.rcc + chip.oscillator.offset:
            self._switched = settled and value & 3 == 1
            return value | 4 * self._switched
        if chip.flash and address == chip.flash.address and not settled:
            return 0
        if address == PWR["PWR CSR1"]:
            return SUPPLY_READY * (settled and PWR["PWR CR3"] in registers.values)
        if address // 0x400 == self.address // 0x400:
            return self._read_uart(registers, address - self.address)
        return None

    def write(self, registers: Registers, address: int, value: int) -> None:
        self._looks[address] = 0
        chip, values = self.chip, registers.values
        port = (address - chip.ports) // 0x400
        if 0 <= port < len(PORTS):
            self._write_port(registers, port, address)
        elif address == PWR["PWR CR2"]:
            assert self._enabled(registers, chip.uarts["PWR"][1]), "PWR has no clock"
        elif chip.oscillator and address == chip.rcc + chip.oscillator.offset and value & 3:
            assert self._oscillates, "the oscillator is not ready"
            if chip.flash:
                assert self._looks[chip.flash.address] > 1 and values[chip.flash.address] & 3 == 1, "flash is too slow"
        elif chip.flash and address == chip.flash.address and value & 1:
            assert value & chip.flash.wide == chip.flash.wide, "a wait state needs the wide access"
        elif address // 0x400 == self.address // 0x400:
            assert self._enabled(registers, self.enable), "the UART has no clock"
            if address - self.address == (4 if chip.one_data_register else 0x28):
                self._send(registers, value)

    def hz(self) -> float:
        """The clock of processor and UART."""
        assert self._switched or not self.chip.oscillator, "the processor runs from the wrong oscillator"
        return self.chip.mhz * 1e6

    def pins(self, registers: Registers) -> set[Pin]:
        """The pins that belong to a peripheral; on F1, every pin that is no floating input."""
        found = set()
        for port in PORTS:
            found |= self._pins_f1(registers, port) if self.chip is FAMILIES["F1"] else self._pins(registers, port)
        return found

    def check(self, registers: Registers) -> None:
        """The pins, the clock and the supply are what the board needs."""
        chip, uart = self.chip, self.uart
        expected = chip.functions.get(uart.peripheral, FUNCTION)
        functions = [chip.functions.get(name, expected) for name in (uart.tx, uart.rx)]
        wanted = {Pin(uart.tx, functions[0], False), Pin(uart.rx, functions[1], True)}
        if chip is FAMILIES["F1"]:
            wanted = {Pin(uart.tx, FUNCTION, False), Pin(uart.rx, 0, True)}
        assert self.pins(registers) == wanted
        assert self._enabled(registers, self.enable), "the UART has no clock"
        assert self.board.bare and self.board.bare.clock_hz == self.hz()
        if not chip.supply_after_reset:
            supply = SMPS if self.board.mcu.endswith("Q") else LDO
            assert registers.values.get(PWR["PWR CR3"], LDO | SMPS) & 7 == supply, "the core's supply"
            assert self._looks[PWR["PWR CSR1"]] > 1, "the core's voltage"
        if chip.sram:
            behind = next(region.name for region in self.board.ram if region.origin == SRAM_BEHIND_A_BRIDGE)
            clocks = [self._enabled(registers, chip.sram, number) for number in range(len(re.findall(r"\d", behind)))]
            assert len(clocks) > 1 and all(clocks), f"{behind} has no clock"

    def _enabled(self, registers: Registers, enable: Enable, number: int = 0) -> bool:
        return bool(registers.values.get(self.chip.rcc + enable.offset, 0) >> (enable.bit + number) & 1)

    def _write_port(self, registers: Registers, port: int, address: int) -> None:
        assert self._enabled(registers, self.chip.enable, port), f"port {PORTS[port]} has no clock"
        if PORTS[port] == "G":
            assert registers.values.get(PWR["PWR CR2"], 0) & IO_SUPPLY_VALID, "port G has no supply"
        if address == self.of.get(f"GPIO{PORTS[port]} BSRR"):
            level = self.of[f"GPIO{PORTS[port]} ODR"]
            registers.values[level] = registers.values.get(level, 0) | registers.values[address]

    def _pins(self, registers: Registers, port: str) -> set[Pin]:
        values = {name: registers.values.get(self.of[f"GPIO{port} {name}"], 0) for name in GPIO}
        functions = values["AFRL"] | values["AFRH"] << 32
        return {
            Pin(f"P{port}{pin}", functions >> 4 * pin & 15, values["PUPDR"] >> 2 * pin & 3 == 1)
            for pin in range(16)
            if values["MODER"] >> 2 * pin & 3 == 2 and functions >> 4 * pin & 15
        }

    def _pins_f1(self, registers: Registers, port: str) -> set[Pin]:
        values = {name: registers.values.get(self.of[f"GPIO{port} {name}"], 0) for name in GPIO_F1}
        modes = values["CRL"] | values["CRH"] << 32
        found = set()
        for pin in range(16):
            mode, up = modes >> 4 * pin & 15, values["ODR"] >> pin & 1
            if mode != 4:
                assert mode in (8, 9, 10, 11), "neither an input with a pull nor a push-pull function"
                found.add(Pin(f"P{port}{pin}", FUNCTION if mode > 8 else 0, mode == 8 and bool(up)))
        return found

    def _read_uart(self, registers: Registers, offset: int) -> int | None:
        status, data = (0x00, 0x04) if self.chip.one_data_register else (0x1C, 0x24)
        if offset == data:
            return registers.wire.received.pop(0)
        if offset != status:
            return None
        self._busy = max(0, self._busy - 1)
        return (0 if self._busy else 1 << 7) | (1 << 5 if registers.wire.received else 0)

    def _send(self, registers: Registers, byte: int) -> None:
        assert not self._busy, "a byte overwrites the one before it"
        self._busy = 3
        self.check(registers)
        old = self.chip.one_data_register
        control, enabled = (0x0C, 1 << 13 | 1 << 3 | 1 << 2) if old else (0x00, 1 << 3 | 1 << 2 | 1 << 0)
        assert registers.values[self.address + control] == enabled
        assert old or registers.values[self.address + 0x08] == 1 << 12, "an overrun would stop reception"
        divider = registers.values[self.address + (0x08 if old else 0x0C)]
        low_power = self.uart.peripheral.startswith("LP")
        assert 0x300 <= divider < 1 << 20 if low_power else 16 <= divider < 1 << 16
        registers.send(byte, self.hz() * (256 if low_power else 1) / divider)
