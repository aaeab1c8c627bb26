"""Turns the registers of a board's clocks, pins and serial port into a small model that a program can talk to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import unicorn

REGIONS = ((0x18000000, 0x1000), (0x40000000, 0x20000000), (0xE0000000, 0x100000))
"""Where registers are, and how many bytes of them: the RP2040's flash controller, peripherals, the processor's own."""
SYSTICK_VALUE, CYCLES = 0xE000E018, 0xE0001004
LIMIT_INSTRUCTIONS = 3_000_000


@dataclass
class Wire:
    """What the board has sent, what it has yet to receive, and what the port was set to when it sent its first byte."""

    sent: bytearray = field(default_factory=bytearray)
    received: list[int] = field(default_factory=list)
    baud: float = 0


class Model(Protocol):
    """The registers of a family: their values at the `start`; what one reads as, where that is not what was last
    written; what a write does.
    """

    def start(self) -> dict[int, int]: ...

    def read(self, registers: Registers, address: int) -> int | None: ...

    def write(self, registers: Registers, address: int, value: int) -> None: ...


@dataclass
class Registers:
    """All registers of a board, each access logged; those that `model` does not know read as last written."""

    model: Model
    wire: Wire = field(default_factory=Wire)
    values: dict[int, int] = field(default_factory=dict)
    writes: list[tuple[int, int, int]] = field(default_factory=list)
    ticks: int = 0

    def __post_init__(self) -> None:
        self.values |= self.model.start()

    def read(self, address: int, size: int) -> int:
        """The register's value; the two counters run on with each look at them."""
        if address in (SYSTICK_VALUE, CYCLES):
            self.ticks += 1000
            return 0xFFFFFF - self.ticks if address == SYSTICK_VALUE else self.ticks
        found = self.model.read(self, address)
        return self.values.get(address, 0) if found is None else found

    def write(self, address: int, size: int, value: int) -> None:
        """Keep the value, then let the model act on it."""
        self.writes.append((address, size * 8, value))
        self.values[address] = value
        self.model.write(self, address, value)

    def send(self, byte: int, baud: float) -> None:
        """One byte to the wire."""
        assert 0 <= byte < 256
        self.wire.baud = baud
        self.wire.sent.append(byte)


class Nrf:
    """nRF52 as a boot loader may leave it, UART0 on as UARTE; a byte is sent when its event was asked for twice."""

    def __init__(self) -> None:
        self._busy = 0

    def start(self) -> dict[int, int]:
        return {0x40002500: 8, 0x40002508: 6, 0x40002510: 7}

    def read(self, registers: Registers, address: int) -> int | None:
        on = registers.values.get(0x40002500) == 4
        if address == 0x40000100:
            return registers.values.get(0x40000000, 0)
        if address == 0x40002108:
            return int(on and registers.values.get(0x40002000) == 1 and bool(registers.wire.received))
        if address == 0x40002518:
            return registers.wire.received.pop(0)
        if address == 0x4000211C and self._busy:
            self._busy -= 1
            return 0
        return None

    def write(self, registers: Registers, address: int, value: int) -> None:
        values = registers.values
        if address in (0x4000250C, 0x40002514):
            assert values.get(0x40002500, 0) == 0, "pins change while the UART is on"
        if address == 0x4000251C:
            assert values[0x40002500] == 4 and values[0x40002008] == 1 and values[0x4000256C] == 0
            assert not self._busy, "a byte overwrites the one before it"
            self._busy = 2
            values[0x4000211C] = 1
            registers.send(value, values[0x40002524] * 16e6 / 2**32)


class SamD21:
    """SAM D21 as a boot loader leaves it: the processor from the 48 MHz of DFLL48M, SERCOM5 on, OSC8M by 8."""

    BASE = 0x42001C00

    def __init__(self) -> None:
        self.sources = {0: 7}
        self.clocks = {0x19: 0x4019}

    def start(self) -> dict[int, int]:
        return {0x40000820: 0x87070382, 0x40000420: 0, self.BASE: 0x40310006, self.BASE + 4: 0x30000}

    def read(self, registers: Registers, address: int) -> int | None:
        on = self._on(registers)
        if address == 0x4000080C:
            return (registers.values[0x40000820] & 2) << 2
        if address == 0x40000C02:
            return self.clocks.get(registers.values.get(0x40000C02, 0) & 0x3F, 0)
        if address == self.BASE + 0x18:
            return int(on) | (4 if on and registers.wire.received else 0)
        if address == self.BASE + 0x28:
            return registers.wire.received.pop(0)
        return 0 if address in (0x40000C01, self.BASE + 0x1C) else None

    def write(self, registers: Registers, address: int, value: int) -> None:
        if address == 0x40000C04:
            self.sources[value & 0xF] = value >> 8 & 0x1F if value & 1 << 16 else -1
        elif address == 0x40000C02:
            self.clocks[value & 0x3F] = value
        elif address == self.BASE and value & 1:
            registers.values[address] = 0
        elif address == self.BASE + 0x28:
            assert self._on(registers)
            baud = self._hz(registers) / 16 * (1 - registers.values[self.BASE + 0xC] / 65536)
            registers.send(value, baud)

    def _hz(self, registers: Registers) -> int:
        assert self.sources[0] == 6 and registers.values[0x40000C08] == 0x100
        return 8_000_000 >> (registers.values[0x40000820] >> 8 & 3)

    def _on(self, registers: Registers) -> bool:
        """The port is on: internal clock, least significant bit first, TX on pad 2, RX on pad 3, both with a clock."""
        clocked = registers.values[0x40000420] & 0x80 and self.clocks[0x19] == 0x4019
        mode = registers.values[self.BASE] == 0x40310006
        return bool(clocked and mode and registers.values[self.BASE + 4] == 0x30000)


class Rp2040:
    """RP2040 as its boot ROM leaves it: everything in reset, clocks from the ring oscillator, flash not readable."""

    UART = 0x40034000

    def start(self) -> dict[int, int]:
        return {0x4000C000: 0x1FFFFFF, 0x4000803C: 1, 0x4001C008: 0x56}

    def read(self, registers: Registers, address: int) -> int | None:
        values = registers.values
        if address == 0x4000C008:
            return ~values[0x4000C000] & 0x1FFFFFF
        if address == 0x40024004:
            return int(values.get(0x40024000) == 0xFABAA0) << 31
        if address == 0x40008038:
            return 1 << (values.get(0x40008030, 0) & 3)
        if address == 0x40008044:
            return 1 << (values[0x4000803C] & 1)
        if address == self.UART + 0x18:
            return 0 if registers.wire.received else 1 << 4
        if address == self.UART:
            return registers.wire.received.pop(0)
        return None

    def write(self, registers: Registers, address: int, value: int) -> None:
        values = registers.values
        if address & ~0xFFF == self.UART:
            assert not values[0x4000C000] & 1 << 22, "the UART is in reset"
            assert values[0x40008048] == 0x800, "the UART has no clock"
        if address >> 12 in (0x40014, 0x4001C):
            assert not values[0x4000C000] & (1 << 5 | 1 << 8), "the pins are in reset"
        if address == self.UART:
            assert values[self.UART + 0x30] == 0x301 and values[self.UART + 0x2C] == 0x70
            assert (values[0x40008030], values[0x4000803C]) == (2, 0), "not on the crystal"
            registers.send(value, 12e6 * 4 / (values[self.UART + 0x24] * 64 + values[self.UART + 0x28]))


def emulator(cpu: int, registers: Registers) -> Any:
    """A Cortex-M whose peripherals and system registers are `registers`, and that has no memory yet."""
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    uc.ctl_set_cpu_model(cpu)
    for base, size in REGIONS:
        uc.mmio_map(
            base,
            size,
            lambda _, offset, size, base: registers.read(base + offset, size),
            base,
            lambda _, offset, size, value, base: registers.write(base + offset, size, value),
            base,
        )
    return uc


def run(uc: Any, address: int) -> None:
    """Go on at `address` until the program is stopped; one that never is ends at a limit."""
    uc.emu_start(address | 1, 0, count=LIMIT_INSTRUCTIONS)
