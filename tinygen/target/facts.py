"""The facts of a board: its processor, its memories, its serial port, and what sets it up without a framework."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Core:
    """A processor core: which kernels it can run, and how to compile for it."""

    name: str
    title: str
    features: frozenset[str]
    compiler: str
    cflags: tuple[str, ...]
    alignment_bytes: int


TIGHTLY_COUPLED, ON_BUS, REMOTE = KINDS = ("tcm", "sram", "remote")
"""How the processor reaches a RAM, fastest first: on a port of its own, over its bus, or over a bridge behind that."""


@dataclass(frozen=True)
class Region:
    """A range of memory that a program may use; `kind`, of RAM, is one of KINDS, `dma` whether DMA reaches it."""

    name: str
    origin: int
    bytes: int
    kind: str = ON_BUS
    dma: bool = True


@dataclass(frozen=True)
class Uart:
    """The serial port that a program talks to by default; `usb_serial`: the board's USB plug carries it to the host."""

    peripheral: str
    tx: str
    rx: str
    usb_serial: bool


@dataclass(frozen=True)
class PlatformIO:
    """What PlatformIO calls the board; all empty for an emulated machine that it does not have."""

    board: str
    platform: str
    frameworks: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One access to a register when a board is set up; `why` says what it does, in the words of the manual.

    Either the register becomes `value`; or it loses the bits of `clear` and then gets those of `set`; or the program
    waits until its bits of the mask `wait` are `value` (all set, without one).
    """

    register: str
    address: int
    why: str
    clear: int = 0
    set: int = 0
    value: int | None = None
    wait: int | None = None
    bits: int = 32


@dataclass(frozen=True)
class Bare:
    """How a board runs without a framework: what sets up its clock and its serial port.

    `driver` is a file of firmware/family/; `clock_hz` is the processor's clock after the `setup`, `uart_clock_hz` the
    one that the driver divides. `boot`, where the boot ROM wants code of the program before its vectors, is the file of
    firmware/family/ that has it.
    """

    driver: str
    clock_hz: int
    uart_address: int
    uart_clock_hz: int
    setup: tuple[Step, ...]
    boot: str = ""


@dataclass(frozen=True)
class Target:
    """A board: its processor, its memories, and where these facts are from.

    The first RAM region is the one for data. `flash_wait_states` and `uart` are None for a board that is only known.
    `differs` says why these facts are not those of PlatformIO's manifest. `bare` is None for a board that runs under a
    framework only.
    """

    name: str
    status: str
    title: str
    mcu: str
    core: Core
    clock_hz: int
    flash: tuple[Region, ...]
    ram: tuple[Region, ...]
    flash_wait_states: int | None
    uart: Uart | None
    platformio: PlatformIO
    source: str
    aliases: tuple[str, ...] = ()
    differs: str = ""
    bare: Bare | None = None

    def as_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        facts = asdict(self)
        facts["core"]["features"] = sorted(self.core.features)
        return facts | {"flash_bytes": self.flash_bytes, "ram_bytes": self.ram_bytes}

    @property
    def flash_bytes(self) -> int:
        """Flash of all regions together."""
        return sum(region.bytes for region in self.flash)

    @property
    def ram_bytes(self) -> int:
        """RAM of all regions together."""
        return sum(region.bytes for region in self.ram)

    @property
    def main_flash(self) -> Region:
        """The first region of flash with what follows it without a gap."""
        return _with_neighbours(self.flash)

    @property
    def main_ram(self) -> Region:
        """The first region of RAM with what follows it without a gap."""
        return _with_neighbours(self.ram)

    @property
    def ram_pieces(self) -> tuple[Region, ...]:
        """RAM without the gaps between its regions, the fastest piece first; of equals, the one for data first.

        A piece is as fast as its slowest region, and DMA reaches it if it reaches all of it.
        """
        main, *others = _pieces(self.ram)
        return tuple(sorted((main, *others), key=lambda piece: (KINDS.index(piece.kind), piece != main)))

    @property
    def other_ram(self) -> tuple[Region, ...]:
        """The pieces of RAM beside the main one, in the same order."""
        return tuple(piece for piece in self.ram_pieces if piece != self.main_ram)

    @property
    def largest_flash_bytes(self) -> int:
        """The largest piece of flash without a gap."""
        return _largest_run(self.flash)

    @property
    def largest_ram_bytes(self) -> int:
        """The largest piece of RAM without a gap: no arena can be larger."""
        return _largest_run(self.ram)


def _with_neighbours(regions: tuple[Region, ...]) -> Region:
    return _pieces(regions)[0]


def _pieces(regions: tuple[Region, ...]) -> list[Region]:
    """The first region with those that follow it without a gap as one, then what is left in the same way."""
    left, found = list(regions), []
    while left:
        piece = left.pop(0)
        for region in sorted(left, key=lambda region: region.origin):
            if region.origin == piece.origin + piece.bytes:
                kind = max(piece.kind, region.kind, key=KINDS.index)
                piece = Region(piece.name, piece.origin, piece.bytes + region.bytes, kind, piece.dma and region.dma)
                left.remove(region)
        found.append(piece)
    return found


def _largest_run(regions: tuple[Region, ...]) -> int:
    largest = size = end = 0
    for region in sorted(regions, key=lambda region: region.origin):
        size = size + region.bytes if region.origin == end else region.bytes
        end = region.origin + region.bytes
        largest = max(largest, size)
    return largest
