"""Finds in a built program its sizes, the sizes of its functions, and bounds on its stack."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinygen.footprint import avr, riscv, thumb
from tinygen.footprint.flow import Decoder
from tinygen.footprint.listing import (
    Listing,
    Section,
    Symbol,
    read_instructions,
    read_relocations,
    read_sections,
    read_symbols,
)
from tinygen.footprint.stack import Bound, StackWalker, largest
from tinygen.footprint.toolchain import Toolchain, run
from tinygen.target import Core, Target

BRANCHES = ("CALL", "JUMP", "JAL", "BRANCH", "AVR_13_PCREL", "AVR_7_PCREL", "RELAX", "ALIGN")
"""What the kind of a relocation has when the symbol is where the program goes on, rather than a value that is kept."""
VECTORS, RESET, FAULT, FAULT_REPORT = "tg_vectors", "tg_reset", "tg_fault", "tg_report_fault"
FRAME_WORDS, FPU_FRAME_WORDS, PADDING_WORDS = 8, 8 + 18, 1
"""What a Cortex-M saves on the stack for an interrupt, and what it may leave free to align that to 8 bytes."""
AVR_SMALL_FLASH_BYTES = 128 * 1024
"""The return addresses of an AVR with more have 3 bytes."""

VECTOR_MACHINE = ("-m", "armv8.1-m.main")
"""What objdump of binutils 2.40 has to be told, whatever the file says, or it takes vector instructions for others."""


class Elf:
    """A program that was linked with --emit-relocs, read with the objdump of its compiler."""

    def __init__(self, path: Path, tools: Toolchain, board: Target) -> None:
        facts = run([tools.objdump, "-h", "-t", "-r", path], path.parent)
        self._path, self._tools, self._board = path, tools, board
        self._sections = [section for section in read_sections(facts) if section.allocated and section.bytes]
        self._symbols = read_symbols(facts)
        self._pointers = self._read_pointers(facts)
        self._walker = self._make_walker()

    @property
    def flash_bytes(self) -> int:
        """What is loaded: code, constants, and the initial values of variables."""
        return sum(section.bytes for section in self._sections if section.loaded)

    @property
    def ram_bytes(self) -> int:
        """Variables in all regions, and the stack where the linker script keeps room for one."""
        origins = sorted(piece.origin for piece in self._board.ram_pieces)
        pieces: dict[int, list[Section]] = {}
        for section in self._sections:
            if section.writable:
                pieces.setdefault(bisect_right(origins, section.address), []).append(section)
        return sum(_span(sections) for sections in pieces.values())

    @property
    def function_bytes(self) -> Mapping[str, int]:
        """The size of each function; a compiler that splits one or makes it anew adds to its name behind a dot."""
        sizes: dict[str, int] = {}
        for name, symbol in self._functions().items():
            plain = name.split(".")[0]
            sizes[plain] = sizes.get(plain, 0) + symbol.bytes
        return sizes

    def stack(self, function: str) -> Bound:
        """The most that the function and all that it calls take, its own return address counted where it has one."""
        if self._walker is None:
            return Bound(None, f"the instructions of {self._board.core.title} are not read")
        bound = self._walker.bound(_code_address(self._symbols[function]))
        return bound.plus(return_bytes(self._board))

    def program_stack(self) -> Bound:
        """The most that a program without a framework takes from its start on, with an interrupt at the worst moment.

        All its interrupts have one priority, so no two nest. After a fault the stack begins anew.
        """
        saved = FPU_FRAME_WORDS if "fpu" in self._board.core.features else FRAME_WORDS
        frame = 4 * (saved + PADDING_WORDS)
        vectors = self._pointers_in(VECTORS) - {RESET, FAULT}
        interrupt = largest([self.stack(name) for name in sorted(vectors)]).plus(frame if vectors else 0)
        main = self.stack(RESET)
        whole = main if interrupt.bytes is None else main.plus(interrupt.bytes)
        return largest([bound for bound in (interrupt, whole, self.stack(FAULT_REPORT)) if bound])

    def _functions(self) -> dict[str, Symbol]:
        return {name: symbol for name, symbol in self._symbols.items() if symbol.kind == "F"}

    def _pointers_in(self, table: str) -> set[str]:
        """The functions whose addresses the table has."""
        symbol = self._symbols[table]
        inside = range(symbol.address, symbol.address + symbol.bytes)
        return {name for address, name in self._pointers if address in inside}

    def _read_pointers(self, facts: str) -> list[tuple[int, str]]:
        """(address, function): the places of the program that hold the address of a function to be used later."""
        starts = {section.name: section.address for section in self._sections}
        functions = self._functions()
        at = {symbol.address: name for name, symbol in functions.items()}
        found = []
        for place in read_relocations(facts):
            if place.section not in starts or any(branch in place.kind for branch in BRANCHES):
                continue
            # Of a static function it may say where it is in its section.
            name = place.symbol if place.symbol in functions else at.get(starts.get(place.symbol, -1) + place.addend)
            if name is not None:
                found.append((starts[place.section] + place.offset, name))
        return found

    def _make_walker(self) -> StackWalker | None:
        decode = decoder(self._board)
        if decode is None:
            return None
        vectors = self._symbols.get(VECTORS)
        inside = range(vectors.address, vectors.address + vectors.bytes) if vectors else range(0)
        names = {name for address, name in self._pointers if address not in inside}
        pointers = sorted({_code_address(self._symbols[name]) for name in names})
        return StackWalker(self._disassemble(), decode, pointers)

    def _disassemble(self) -> Listing:
        """The code from the first function on, up to the constants behind the last."""
        functions = self._functions().values()
        start = min((_code_address(symbol) for symbol in functions), default=0)
        last = max((symbol.address for symbol in functions), default=0)
        behind = [
            s.address for s in self._symbols.values() if s.kind == "O" and s.address > last and s.section == ".text"
        ]
        stop = [f"--stop-address={min(behind)}"] if behind else []
        command: list[str | Path] = [
            self._tools.objdump,
            "-d",
            *(VECTOR_MACHINE if "mve" in self._board.core.features else ()),
            "--no-show-raw-insn",
            f"--start-address={start}",
            *stop,
            self._path,
        ]
        return read_instructions(run(command, self._path.parent))


def _span(sections: Sequence[Section]) -> int:
    """Bytes from the first to the end of the last."""
    return max(s.address + s.bytes for s in sections) - min(s.address for s in sections)


def _code_address(symbol: Symbol) -> int:
    """Where its first instruction is: the lowest bit of a Thumb function's address says that it is one."""
    return symbol.address & ~1


def return_bytes(board: Target) -> int:
    """What a call puts on the stack for the return address."""
    if "avr" not in board.core.features:
        return 0
    return 3 if board.flash_bytes > AVR_SMALL_FLASH_BYTES else 2


def decoder(board: Target) -> Decoder | None:
    """What reads the instructions of the board's core; None where nothing does."""
    core: Core = board.core
    if "avr" in core.features:
        return avr.decoder(return_bytes(board))
    if core.features & {"armv6m", "armv7m"}:
        return thumb.decode
    return riscv.decode if "rv32imc" in core.features else None
