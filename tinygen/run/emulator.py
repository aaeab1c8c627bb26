"""Chooses the emulator that runs a board's firmware, and starts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinygen.errors import TargetError
from tinygen.project import ARDUINO, BARE
from tinygen.run.avr import Avr
from tinygen.run.cortex_m import CortexM
from tinygen.run.image import read_image
from tinygen.run.link import Link
from tinygen.run.qemu import Qemu
from tinygen.target import Target
from tinygen.verify.board_qemu import MACHINES
from tinygen.verify.board_unicorn import MODELS


@dataclass(frozen=True)
class Emulator:
    """An emulator: its name, which kind of program it runs, and what its clock is worth."""

    name: str
    kind: str
    is_cycle_exact: bool


QEMU = Emulator("QEMU", BARE, is_cycle_exact=False)
UNICORN = Emulator("Unicorn", BARE, is_cycle_exact=False)
SIMAVR = Emulator("simavr", ARDUINO, is_cycle_exact=True)


def choose(target: Target) -> Emulator:
    """The emulator for a board; raises TargetError when there is none."""
    if target.name in MACHINES and target.bare:
        return QEMU
    if "avr" in target.core.features:
        if target.uart and not target.uart.usb_serial:
            what = "no emulator for this board: simavr lacks USB, which is its serial port under Arduino"
            raise TargetError(what, where=target.name, remedy="run it on a board, with --port PORT")
        return SIMAVR
    if target.core.name in MODELS and target.bare:
        return UNICORN
    why = f"none has its core, {target.core.name}" if target.core.name not in MODELS else "it has no [bare] firmware"
    raise TargetError(
        "no emulator for this board", where=target.name, found=why, remedy="run it on a board, with --port PORT"
    )


def start(emulator: Emulator, target: Target, elf: Path, limit_seconds: float) -> Link:
    """A link to the firmware, emulated; one that does not look for input for `limit_seconds` counts as hung."""
    image = read_image(elf)
    if emulator is QEMU:
        return Qemu(target, elf)
    if emulator is SIMAVR:
        return Avr(target, image)
    assert target.bare is not None  # `choose` has seen it
    return CortexM(target, target.bare, image, limit_seconds)
