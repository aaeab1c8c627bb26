"""Turns operators and boards into tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.text import Text

from tinygen import ops
from tinygen.report.layout import kilobytes, plain_table
from tinygen.selection import Selection
from tinygen.target import PlatformIO, Target, Uart

REACHED = MappingProxyType({"tcm": ", tightly coupled", "sram": "", "remote": ", over a bridge"})
"""How the processor reaches a region, where that is not over its bus."""


def operators() -> RenderableType:
    """The operators that can be compiled."""
    table = plain_table("operator", "kernels", "what it computes")
    for spec in ops.SPECS.values():
        kernels = ", ".join(variant.name for variant in spec.variants) or "none needed"
        table.add_row(spec.tflite, kernels, ops.summary(spec.name))
    return table


def selection(found: Selection, details: bool) -> RenderableType:
    """The boards that were asked for, and what the model needs; all `details` of a single one."""
    if not found.boards:
        shown: RenderableType = Text("no such board", "red")
    else:
        shown = board(found.boards[0]) if details else _boards(found.boards)
    needs = [
        f"{core}: arena {kilobytes(need.arena_bytes)}, constants {kilobytes(need.constant_bytes)}, then code and stack"
        for core, need in found.needs.items()
    ]
    return Group(shown, *needs)


def _boards(targets: Sequence[Target]) -> RenderableType:
    columns = ("board", "title", "MCU", "core", "MHz", "flash", "RAM", "facts")
    table = plain_table(*columns, right=("MHz", "flash", "RAM"))
    for target in targets:
        table.add_row(
            target.name,
            target.title,
            target.mcu,
            target.core.name,
            f"{target.clock_hz / 1e6:g}",
            kilobytes(target.flash_bytes),
            kilobytes(target.ram_bytes),
            target.status,
        )
    return table


def board(target: Target) -> RenderableType:
    """One board: processor, memories, serial port, source."""
    table = plain_table("", "")
    table.show_header = False
    table.add_row("board", f"{target.name}: {target.title}")
    if target.aliases:
        table.add_row("also", ", ".join(target.aliases))
    table.add_row("facts", target.status)
    table.add_row("MCU", target.mcu)
    table.add_row("core", f"{target.core.name}: {target.core.title}, {target.clock_hz / 1e6:g} MHz")
    for kind, regions in (("flash", target.flash), ("RAM", target.ram)):
        for region in regions:
            how = REACHED[region.kind] + ("" if region.dma else ", not reached by DMA")
            table.add_row(kind, f"{region.name} at 0x{region.origin:08X}, {kilobytes(region.bytes)}{how}")
    if target.flash_wait_states is not None:
        table.add_row("flash wait states", str(target.flash_wait_states))
    if target.uart:
        table.add_row("UART", _uart(target.uart))
    table.add_row("compiler", " ".join([target.core.compiler, *target.core.cflags]))
    table.add_row("PlatformIO", _platformio(target.platformio))
    table.add_row("source", target.source)
    if target.differs:
        table.add_row("unlike PlatformIO", target.differs)
    return table


def _uart(uart: Uart) -> str:
    pins = f", TX {uart.tx}, RX {uart.rx}" if uart.tx else ""
    return f"{uart.peripheral}{pins}{', at the USB plug' if uart.usb_serial else ''}"


def _platformio(names: PlatformIO) -> str:
    if not names.board:
        return "does not have this board"
    return f"board {names.board}, platform {names.platform}, framework {' or '.join(names.frameworks)}"
