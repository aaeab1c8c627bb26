"""Weighs what a compiled model needs against what a board has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tinygen.driver import Compiled
from tinygen.emit import AVR_REACH_BYTES, STACK_BYTES
from tinygen.footprint.measure import Footprint
from tinygen.memory.peak import Held, peak
from tinygen.project import needs_regions
from tinygen.target import Target

SHOWN = 5
"""Layers and tensors that are named."""
FLASH, RAM, STACK = "flash", "RAM", "stack"


@dataclass(frozen=True)
class Need:
    """What a model takes on one core; code comes on top of the constants, the stack on top of the arena."""

    constant_bytes: int
    arena_bytes: int
    ram_constant_bytes: int = 0
    """Of the constants, what is copied to RAM at the start."""

    @property
    def ram_bytes(self) -> int:
        """All RAM of the model."""
        return self.arena_bytes + self.ram_constant_bytes

    def fits(self, board: Target) -> bool:
        """Whether the board has the room, each in one piece."""
        return self.constant_bytes <= reachable_flash_bytes(board) and self.ram_bytes <= board.largest_ram_bytes


def reachable_flash_bytes(board: Target) -> int:
    """The largest piece of flash that constants may fill: on an AVR no more than 16-bit addresses reach."""
    reach = AVR_REACH_BYTES if _is_avr(board) else board.largest_flash_bytes
    return min(board.largest_flash_bytes, reach)


def need(compiled: Compiled) -> Need:
    """What `compiled` takes."""
    facts = compiled.manifest
    return Need(facts["constant_bytes"], facts["arena_bytes"], facts["ram_constant_bytes"])


@dataclass(frozen=True)
class Memory:
    """What is needed of one memory and what is there of it."""

    kind: str
    name: str
    needed_bytes: int
    there_bytes: int

    @property
    def over_bytes(self) -> int:
        """What is needed too much."""
        return max(0, self.needed_bytes - self.there_bytes)


@dataclass(frozen=True)
class Part:
    """A share of a memory: constants or variables, and code."""

    name: str
    bytes: int
    code_bytes: int = 0


@dataclass(frozen=True)
class Budget:
    """What a model needs, the room in one piece that a board has, and what takes it.

    An estimate never refuses a model: then the `memories` say what is certain, and `warnings` what may be too much.
    """

    board: str
    need: Need
    footprint: Footprint
    memories: tuple[Memory, ...]
    warnings: tuple[str, ...]
    layers: tuple[Part, ...]
    """The layers with most constants and code, and what is not of a layer."""
    tensors: tuple[Part, ...]
    """The largest tensors and scratch at the moment that needs most RAM, and what is not of a tensor."""
    goal: str = ""
    """What the kernels were chosen for."""
    rows_to_give: int = 0
    """Rows of the input, if it lies in RAM as a whole."""

    @property
    def fits(self) -> bool:
        """Whether there is room in every memory."""
        return not any(memory.over_bytes for memory in self.memories)

    @property
    def over(self) -> frozenset[str]:
        """The kinds of memory that there is too little of."""
        return frozenset(memory.kind for memory in self.memories if memory.over_bytes)

    @property
    def remedies(self) -> tuple[str, ...]:
        """What can be done, one sentence each."""
        found = []
        if FLASH in self.over:
            found.append("fewer or narrower layers, the largest first")
        if RAM in self.over:
            found.append("a smaller input, or fewer channels or an earlier stride where the largest tensors are")
        if STACK in self.over:
            found.append(f"an application of your own (--format c): this one's linker script keeps {STACK_BYTES} bytes")
        elif self.over and self._fits_alone():
            found.append("an application of your own with less beside the model: --format c writes the model alone")
        if RAM in self.over and self.rows_to_give > 1:
            found.append("--format c --feed: your program gives the input row by row, it never lies in RAM whole")
        return (*found, "a larger board: `tinygen boards --fits MODEL` lists those that have the room") if found else ()

    def _fits_alone(self) -> bool:
        """Whether it is the program about the model that takes too much."""
        beside = {FLASH: _last_bytes(self.layers), RAM: _last_bytes(self.tensors)}
        return self.footprint.firmware and all(
            memory.over_bytes <= beside.get(memory.kind, 0) for memory in self.memories
        )

    def as_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {
            "board": self.board,
            "goal": self.goal,
            "fits": self.fits,
            "need": asdict(self.need),
            "footprint": self.footprint.as_json(),
            "memories": [asdict(memory) for memory in self.memories],
            "layers": [asdict(part) for part in self.layers],
            "tensors": [asdict(part) for part in self.tensors],
            "warnings": list(self.warnings),
            "remedies": list(self.remedies),
        }


def weigh(compiled: Compiled, board: Target, footprint: Footprint) -> Budget:
    """The budget of `compiled` on `board`, where its program has that footprint."""
    return Budget(
        board.name,
        need(compiled),
        footprint,
        tuple(_memories(compiled, board, footprint)),
        tuple(_warnings(compiled, board, footprint)),
        _layers(compiled, footprint),
        _tensors(compiled, footprint),
        compiled.manifest["optimize"],
        _rows_to_give(compiled),
    )


def _rows_to_give(compiled: Compiled) -> int:
    """Rows of an only input that is an image and is not given by rows yet."""
    shapes = [compiled.graph.tensors[tensor].shape for tensor in compiled.graph.inputs]
    image = len(shapes) == 1 and len(shapes[0]) == 4 and not compiled.program.fed
    return shapes[0][1] if image else 0


def model_code_bytes(compiled: Compiled, footprint: Footprint) -> int:
    """The code of the model's own functions."""
    program = compiled.program
    functions = {function.name for function in program.functions} | {stream.function for stream in program.streams}
    functions |= {program.entry, *program.accessors}
    return sum(_code_bytes(function, footprint.function_bytes) for function in functions)


def _code_bytes(function: str, sizes: Mapping[str, int]) -> int:
    """The code of a function and of those that it calls, which are named after it."""
    return sum(size for name, size in sizes.items() if name == function or name.startswith(f"{function}_"))


def _is_avr(board: Target) -> bool:
    return "avr" in board.core.features


def _room(compiled: Compiled, board: Target, firmware: bool) -> tuple[int, int]:
    """(flash, RAM) that a program may fill: what the firmware's linker script uses, or the largest piece.

    Where parts of the arena are assigned to regions, the RAM for all else is the one for data.
    """
    flash = board.main_flash.bytes if firmware else board.largest_flash_bytes
    return flash, board.main_ram.bytes if firmware or compiled.plan.parts else board.largest_ram_bytes


def _memories(compiled: Compiled, board: Target, footprint: Footprint) -> Iterator[Memory]:
    """Flash, the RAM for data, and the stack; then each other region with a part of the arena, or with room for one."""
    flash, ram = _room(compiled, board, footprint.firmware)
    needed, elsewhere = need(compiled), sum(part.bytes for part in compiled.plan.parts if part.region)
    if _is_avr(board) or not footprint.measured:
        reach = min(flash, AVR_REACH_BYTES) if _is_avr(board) else flash
        yield Memory(FLASH, "constants in flash", needed.constant_bytes, reach)
    if not footprint.measured:
        stack = footprint.stack_reserve_bytes
        main_bytes = needed.ram_bytes - elsewhere + stack
        what = "arena, weights" if needed.ram_constant_bytes else "arena"
        yield Memory(RAM, f"{what} and stack in RAM" if stack else f"{what} in RAM", main_bytes, ram)
        yield from _regions(compiled, board, main_bytes > ram)
        return
    yield Memory(FLASH, "flash", footprint.flash_bytes, flash)
    # Without a linker script of ours nobody keeps room for the stack: it needs what the model is proved to take.
    stack = 0 if footprint.firmware else footprint.inference_stack.bytes or 0
    main_bytes = footprint.ram_bytes - elsewhere + stack
    yield Memory(RAM, "RAM with the stack", main_bytes, ram)
    yield from _regions(compiled, board, main_bytes > ram)
    if footprint.firmware and footprint.program_stack.bytes is not None:
        yield Memory(STACK, "stack", footprint.program_stack.bytes, footprint.stack_reserve_bytes)


def _regions(compiled: Compiled, board: Target, crowded: bool) -> Iterator[Memory]:
    """The regions that have a part of the arena; when the one for data is too `crowded`, those that help no more."""
    used = {part.region: part.bytes for part in compiled.plan.parts}
    for region in board.other_ram:
        if region.name in used:
            yield Memory(RAM, f"arena in {region.name}", used[region.name], region.bytes)
        elif crowded and not used:
            yield Memory(RAM, f"{region.name}: no way to divide the arena helps", 0, region.bytes)


def _warnings(compiled: Compiled, board: Target, footprint: Footprint) -> Iterator[str]:
    if footprint.firmware and needs_regions(compiled.program, board):
        yield "without a framework only: those of the frameworks know one region of RAM, which is too small"
    if footprint.measured:
        return
    flash, ram = _room(compiled, board, footprint.firmware)
    elsewhere = sum(part.bytes for part in compiled.plan.parts if part.region)
    if footprint.flash_bytes + footprint.margin_bytes > flash:
        yield "it may not fit the flash: its code is only estimated"
    certain = need(compiled).ram_bytes + footprint.stack_reserve_bytes
    if footprint.ram_bytes - elsewhere > ram >= certain - elsewhere:
        yield "it may not fit the RAM: its variables are only estimated"


def _layers(compiled: Compiled, footprint: Footprint) -> tuple[Part, ...]:
    """A function that several layers share counts for the first."""
    sizes = {data.symbol: data.data.nbytes for data in compiled.program.data}
    code = {call.function: _code_bytes(call.function, footprint.function_bytes) for call in compiled.program.calls}
    found = [
        Part(
            call.comment.split(": ")[0],
            sum(sizes.get(argument, 0) for argument in call.arguments),
            code.pop(call.function, 0),
        )
        for call in compiled.program.calls
    ]
    largest = sorted(found, key=lambda part: -part.bytes - part.code_bytes)[:SHOWN]
    rest = footprint.flash_bytes - sum(sizes.values()) - sum(part.code_bytes for part in found)
    what = "application, start-up and C library" if footprint.firmware else "what calls the layers, and the C library"
    return (*largest, Part(what, 0, rest)) if footprint.measured else tuple(largest)


def _tensors(compiled: Compiled, footprint: Footprint) -> tuple[Part, ...]:
    found = [Part(_name(compiled, held), held.part.bytes) for held in peak(compiled.plan).held[:SHOWN]]
    copied = compiled.manifest["ram_constant_bytes"]
    found += [Part("weights in RAM", copied)] if copied else []
    if not footprint.firmware:
        return tuple(found)
    beside = footprint.ram_bytes - need(compiled).ram_bytes
    return (*found, Part("stack, and the application with a copy of the inputs", beside))


def _name(compiled: Compiled, held: Held) -> str:
    if held.buffer.scratch_of:
        return f"scratch of {', '.join(compiled.graph.nodes[node].location for node in held.buffer.scratch_of)}"
    return compiled.graph.tensors[held.part.tensors[0]].name


def _last_bytes(parts: tuple[Part, ...]) -> int:
    return parts[-1].bytes + parts[-1].code_bytes if parts else 0
