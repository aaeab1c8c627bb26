"""Reads the listing that objdump prints of an ELF into sections, symbols, relocations and instructions."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

SECTION = re.compile(r"^ *\d+ (\S+) +([0-9a-f]+) +([0-9a-f]+) +[0-9a-f]+ +[0-9a-f]+ +2\*\*\d+ *$")
SYMBOL = re.compile(r"^([0-9a-f]+) (.{7}) (\S+)\s+([0-9a-f]+) (?:\.hidden )?(\S+)$")
LABEL = re.compile(r"^([0-9a-f]+) <(.+)>:$")
INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\t([^\t]+?) *(?:\t(.*))?$")
RELOCATIONS = re.compile(r"^RELOCATION RECORDS FOR \[(\S+)\]:$")
RELOCATION = re.compile(r"^([0-9a-f]+) (R_\S+) +([^\s+]+)(?:\+0x([0-9a-f]+))?$")
COMMENT = re.compile(r"\s+[@;#]\s.*$|^[@;]\s.*$")


@dataclass(frozen=True)
class Section:
    """A piece of the program: whether it takes memory, whether that may be written, and whether the file has bytes."""

    name: str
    bytes: int
    address: int
    allocated: bool
    loaded: bool
    writable: bool


@dataclass(frozen=True)
class Symbol:
    """A name of the program; `kind` is F for a function and O for an object."""

    address: int
    bytes: int
    kind: str
    section: str


@dataclass(frozen=True)
class Relocation:
    """A place, `offset` bytes into a section, that the linker made to hold `addend` more than what a symbol stands for.

    The addend is 0 where it is not known because the place itself had it.
    """

    section: str
    offset: int
    kind: str
    symbol: str
    addend: int


@dataclass(frozen=True)
class Instruction:
    """One line of the disassembly, without its comment; data between instructions begins with a dot."""

    mnemonic: str
    operands: str
    following: int


@dataclass(frozen=True)
class Listing:
    """The disassembly: instructions by address, and the names of the places where functions start."""

    instructions: Mapping[int, Instruction]
    labels: Mapping[int, str]

    def code(self, address: int) -> Instruction | None:
        """The instruction there, if it is one and not data."""
        found = self.instructions.get(address)
        return None if found is None or found.mnemonic.startswith(".") else found

    def function(self, address: int) -> tuple[str, range]:
        """The name and the addresses of the function that `address` is in."""
        starts = sorted(self.labels)
        place = bisect.bisect_right(starts, address)
        if not place:
            return f"{address:#x}", range(address, address + 1)
        end = starts[place] if place < len(starts) else max(self.instructions, default=address) + 1
        return self.labels[starts[place - 1]], range(starts[place - 1], end)


def read_sections(text: str) -> tuple[Section, ...]:
    """The sections that `objdump -h` prints."""
    lines = text.splitlines()
    found = []
    for line, flags in pairwise(lines):
        match = SECTION.match(line)
        if match:
            words = flags.replace(",", " ").split()
            uses = ("ALLOC" in words, "LOAD" in words, "READONLY" not in words)
            found.append(Section(match[1], int(match[2], 16), int(match[3], 16), *uses))
    return tuple(found)


def read_symbols(text: str) -> dict[str, Symbol]:
    """The symbols that `objdump -t` prints."""
    matches = filter(None, map(SYMBOL.match, text.splitlines()))
    return {m[5]: Symbol(int(m[1], 16), int(m[4], 16), m[2][-1], m[3]) for m in matches}


def read_relocations(text: str) -> tuple[Relocation, ...]:
    """The relocations that `objdump -r` prints of a program linked with --emit-relocs."""
    found = []
    section = ""
    for line in text.splitlines():
        header, match = RELOCATIONS.match(line), RELOCATION.match(line)
        if header:
            section = header[1]
        elif match:
            addend = int(match[4] or "0", 16)
            found.append(Relocation(section, int(match[1], 16), match[2], match[3], addend))
    return tuple(found)


def read_instructions(text: str) -> Listing:
    """The disassembly that `objdump -d --no-show-raw-insn` prints."""
    labels: dict[int, str] = {}
    lines: list[tuple[int, str, str]] = []
    for line in text.splitlines():
        label = LABEL.match(line)
        instruction = INSTRUCTION.match(line)
        if label:
            labels[int(label[1], 16)] = label[2]
        elif instruction:
            operands = COMMENT.sub("", instruction[3] or "").strip()
            lines.append((int(instruction[1], 16), instruction[2], operands))
    followings = [address for address, *_ in lines[1:]] + [lines[-1][0] + 1 if lines else 0]
    instructions = {
        address: Instruction(mnemonic, operands, following)
        for (address, mnemonic, operands), following in zip(lines, followings, strict=True)
    }
    return Listing(instructions, labels)
