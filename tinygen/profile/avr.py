"""Replays one inference of an AVR board in simavr, into the cycles of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinygen.driver import Compiled
from tinygen.footprint.elf import return_bytes
from tinygen.profile.counts import PAINT, Counts, Replay, by_layer, painted
from tinygen.target import Target
from tinygen.verify.board_simavr import SimavrBoard

FLAGS = ("-Os",)
"""As the Arduino framework compiles, but that it optimises the whole program once more when it links."""
SP_LOW = 0x5D
"""The stack pointer's address among the data: the ATmega328P's data sheet, DS40002061, 30."""


class CountedBoard(SimavrBoard):
    """A compiled model as a program of `target`, in an emulator of its very MCU, whose cycles are counted."""

    def __init__(self, compiled: Compiled, target: Target, folder: Path) -> None:
        super().__init__(compiled, target, folder, FLAGS)

    def replay(self, inputs: Sequence[bytes]) -> Replay:
        """One inference from its first instruction on; the function that ends each layer is left out."""
        program = self._compiled.program
        self._load(inputs)
        layers, stack_bytes = self._infer() if program.calls else ((), 0)
        outputs = tuple(self._data(self._ports[port.symbol], port.tensor.bytes) for port in program.outputs)
        return Replay(layers, outputs, stack_bytes)

    def _infer(self) -> tuple[tuple[Counts, ...], int]:
        """The layers, and how deep the stack got; without any layer the compiler leaves out the call."""
        program = self._compiled.program
        self._go(self._addresses[f"{program.name}_invoke"])
        end, top = self._return_address(), self._stack_pointer() + 1
        self._fill(PAINT, self._end_of_data, top)
        counts = []
        for _ in program.stops:
            counts.append(self._go(self._addresses["board_stop"]))
            self._go(self._return_address())
        rest = self._go(end)
        stack = self._data(self._end_of_data, top - self._end_of_data)
        return by_layer(program, counts, rest), len(stack) - painted(stack) + return_bytes(self._target)

    def _go(self, address: int) -> Counts:
        """Run up to the instruction there; what that took."""
        before = self._counts()
        if self._library.board_program_counter(self._board) != address:
            self._library.board_watch(self._board, address, self._end_of_data)
            self._run()
        after = self._counts()
        cycles, instructions, read = (b - a for a, b in zip(before, after, strict=True))
        return Counts(instructions, cycles, read, 0, 0, 0)

    def _counts(self) -> tuple[int, int, int]:
        counts = self._library.board_counts(self._board)
        return counts.cycles, counts.instructions, counts.flash_read_bytes

    def _fill(self, value: int, start: int, end: int) -> None:
        self._ffi.memmove(self._library.board_data(self._board) + start, bytes([value]) * (end - start), end - start)

    def _stack_pointer(self) -> int:
        return int.from_bytes(self._data(SP_LOW, 2), "little")

    def _return_address(self) -> int:
        """Where the function that has just been entered returns to: words, the highest byte first."""
        return 2 * int.from_bytes(self._data(self._stack_pointer() + 1, return_bytes(self._target)), "big")
