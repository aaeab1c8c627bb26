"""Turns verdicts and the answers of firmware into tables for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinygen.report.layout import milliseconds, plain_table
from tinygen.run.emulator import Emulator
from tinygen.run.firmware import Firmware
from tinygen.run.trial import Trial
from tinygen.verify.compare import Verdict


def verdict(found: Verdict, numerics: str) -> RenderableType:
    """Same or not, on how much."""
    if found.difference:
        return Group(Text("DIFFERENT", "bold red"), Text(str(found.difference)))
    oracles = [f"generated C = NumPy reference ({numerics} numerics)"]
    if found.interpreter:
        oracles.append("NumPy reference = reference interpreter (tflite numerics)")
    if found.emulated:
        oracles.append(f"firmware for {found.emulated} in the emulator = NumPy reference")
    parts: list[RenderableType] = [Text.assemble(("bit-exact", "bold green"), f": {oracle}") for oracle in oracles]
    parts.append(f"{found.samples} samples, {found.layers} layers, {found.elements:,} elements compared")
    if found.accuracy is not None:
        parts.append(f"accuracy {found.accuracy:.4f} ({found.correct} of {found.samples} labels)")
    return Group(*parts)


def trial(found: Trial, firmware: Firmware) -> RenderableType:
    """What a firmware answered, how long it took, and whose time that is."""
    emulator = firmware.emulator
    how = f"the firmware for {firmware.where} in {emulator.name}" if emulator else f"the board at {firmware.where}"
    if found.difference:
        parts: list[RenderableType] = [Text("DIFFERENT", "bold red"), Text(f"{how}: {found.difference}")]
    else:
        parts = [Text.assemble(("bit-exact", "bold green"), f": {how} = NumPy reference")]
    parts.append(f"{found.samples} samples, {found.elements:,} elements compared")
    if found.accuracy is not None:
        parts.append(f"accuracy {found.accuracy:.4f} ({found.correct} of {found.samples} labels)")
    if found.median_microseconds is not None:
        least, median = min(found.microseconds), found.median_microseconds
        parts.append(f"latency {milliseconds(least)} at least, {milliseconds(median)} in the median{_whose(emulator)}")
    if found.layers:
        parts += ["", _layers(found)]
    return Group(*parts)


def _whose(emulator: Emulator | None) -> str:
    if emulator is None:
        return ""
    if emulator.is_cycle_exact:
        return f"; {emulator.name} counts the cycles of the real chip"
    return f"; times and cycles are those of {emulator.name} on this computer, not the board's"


def _layers(found: Trial) -> Table:
    table = plain_table("layer of the last inference", "cycles", "share", right=("cycles", "share"))
    total = sum(layer.cycles for layer in found.layers) or 1
    for layer in found.layers:
        table.add_row(layer.layer.split(", ", 1)[-1], f"{layer.cycles:,}", f"{100 * layer.cycles / total:.1f} %")
    table.add_row("all", f"{found.cycles:,}", "")
    return table
