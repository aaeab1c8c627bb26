"""Answers a program's accesses to peripheral registers, as far as a board's set-up and serial port need answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

from tinygen.target import Step

WORD = 0xFFFFFFFF


class Registers:
    """Registers that give back what was last written, but for those that have a reader or writer of their own.

    What the set-up of a board waits for comes at once: bits that are awaited in two states alternate between them.
    """

    def __init__(
        self,
        setup: Sequence[Step],
        readers: Mapping[int, Callable[[], int]],
        writers: Mapping[int, Callable[[int], None]],
    ) -> None:
        self._readers, self._writers = readers, writers
        self._words: dict[int, int] = {}
        states: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for step in setup:
            if step.wait is not None:
                bits = step.wait if step.value is None else step.value
                shift = 8 * (step.address % 4)
                states[step.address & ~3, step.wait << shift].append(bits << shift)
        self._awaited: defaultdict[int, list[tuple[int, cycle[int]]]] = defaultdict(list)
        for (address, mask), bits_in_turn in states.items():
            self._awaited[address].append((mask, cycle(dict.fromkeys(bits_in_turn))))

    def read(self, address: int, size: int) -> int:
        """The `size` bytes of the register at `address`."""
        if reader := self._readers.get(address):
            return reader() & WORD >> 8 * (4 - size)
        place, shift = address & ~3, 8 * (address % 4)
        value = self._words.get(place, 0)
        for mask, bits in self._awaited.get(place, ()):
            value = value & ~mask | next(bits)
        return value >> shift & WORD >> 8 * (4 - size)

    def write(self, address: int, size: int, value: int) -> None:
        """Write the `size` bytes of the register at `address`."""
        place, shift = address & ~3, 8 * (address % 4)
        mask = (WORD >> 8 * (4 - size)) << shift & WORD
        self._words[place] = self._words.get(place, 0) & ~mask | value << shift & mask
        if writer := self._writers.get(address):
            writer(value)
