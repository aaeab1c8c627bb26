"""Turns facts into tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinygen import compression, ops
from tinygen.arena import arena, short
from tinygen.budget import FLASH, RAM, Budget, model_code_bytes
from tinygen.driver import Compiled
from tinygen.footprint.measure import Footprint
from tinygen.inspection import Inspection, Option, TensorFacts
from tinygen.limits import Refusal
from tinygen.profile.counts import Counts
from tinygen.profile.facts import Profile
from tinygen.ram_weights import RamWeights
from tinygen.run.emulator import Emulator
from tinygen.run.firmware import Firmware
from tinygen.run.trial import Trial
from tinygen.selection import Selection
from tinygen.target import PlatformIO, Target, Uart
from tinygen.verify.compare import Verdict

KERNELS = MappingProxyType(
    {
        "speed": "the fastest (--optimize speed)",
        "compact": "the fastest, weights of few values in fewer bits (--optimize compact)",
        "ram": "the least RAM for at most 15 % more cycles (--optimize ram)",
        "fastest": "those that take the least time, for as many bytes as there are (--optimize fastest)",
        "least-ram": "those that need the least RAM at any price (--optimize least-ram)",
        "flash": "the plainest, for least flash (--optimize flash)",
    }
)
REACHED = MappingProxyType({"tcm": ", tightly coupled", "sram": "", "remote": ", over a bridge"})
"""How the processor reaches a region, where that is not over its bus."""
BAR, BAR_CELLS = "\u2588", 20


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def kilobytes(count: int) -> str:
    """Bytes as people read them: 812 B, 21.5 kB (of 1,024)."""
    return f"{count:,} B" if count < 10_240 else f"{count / 1024:,.1f} kB"


def _shape(facts: TensorFacts) -> str:
    return f"{facts.dtype} {'x'.join(map(str, facts.shape)) or 'scalar'}"


def _port(kind: str, facts: TensorFacts) -> tuple[str, str, str, str]:
    quant = "" if facts.scale is None else f"scale {facts.scale:.6g}, zero point {facts.zero_point}"
    return kind, short(facts.name), _shape(facts), quant


def inspection(facts: Inspection) -> RenderableType:
    """Operators, ports, totals, and every problem."""
    rows = _table("operator", "inputs", "outputs", "weights", "MACs", "", right=("MACs", "weights"))
    for row in facts.operators:
        computed = [tensor for tensor in row.inputs if tensor.bytes and tensor.channels <= 1][:1] or list(
            row.inputs[:1]
        )
        rows.add_row(
            row.location.removeprefix("operator "),
            ", ".join(map(_shape, computed)),
            ", ".join(map(_shape, row.outputs)),
            f"{row.constant_bytes:,}" if row.constant_bytes else "",
            f"{row.macs:,}" if row.macs else "",
            Text("not supported", "red") if row.problem else "",
        )
    ports = _table("port", "name", "type", "quantisation")
    for tensor in facts.inputs:
        ports.add_row(*_port("input", tensor))
    for tensor in facts.outputs:
        ports.add_row(*_port("output", tensor))
    total = f"{len(facts.operators)} operators, {facts.macs:,} MACs, {kilobytes(facts.constant_bytes)} of constants"
    parts: list[RenderableType] = [rows, "", ports, "", total]
    if facts.memory is not None:
        parts += [f"arena {facts.memory.bytes:,} bytes", *(f"  {line}" for line in facts.memory.lines())]
    if len(facts.options) > 1:
        parts += ["", _options(facts.options), ""]
    parts += [f"{name}: {text}" for name, text in compression.summary(facts.weights, False)]
    if facts.problems:
        parts += ["", Text("cannot be compiled:", "red"), *(Text(f"  {line}") for line in facts.problems)]
    return Group(*parts)


def _options(options: Sequence[Option]) -> Table:
    """What computing layers row by row would save and take."""
    shown = _table("RAM needed", "more cycles", "by rows", right=("RAM needed", "more cycles"))
    for one in options:
        shown.add_row(f"{one.bytes:,}", f"{one.extra_percent:.1f} %", ", ".join(one.layers) or "nothing")
    return shown


def compiled(result: Compiled, folder: Path, target: Target | None, budget: Budget | None) -> RenderableType:
    """What was written, and what it takes of the board."""
    facts = result.manifest
    board = f"{target.title} ({target.core.title})" if target else "any C99 compiler"
    table = _table("", "")
    table.show_header = False
    table.add_row("model", f"{result.model.path}, {facts['macs']:,} MACs in {len(result.program.calls)} layers")
    table.add_row("for", board)
    table.add_row("kernels", KERNELS[facts["optimize"]])
    if budget:
        for name, text in _footprint(result, budget):
            table.add_row(name, text)
    else:
        table.add_row("constants", kilobytes(facts["constant_bytes"]))
        table.add_row("arena", kilobytes(facts["arena_bytes"]))
    for line in arena(result.graph, result.plan).lines():
        table.add_row("", line)
    if result.ram_weights.bytes:
        table.add_row("weights", _ram_weights(result.ram_weights))
    for name, text in compression.summary(compression.layers(result)):
        table.add_row(name, text)
    table.add_row(
        "written", f"{folder}/ ({len(result.files)} files; include {facts['header']}, call {result.program.entry}())"
    )
    return table


def _ram_weights(copied: RamWeights) -> str:
    """What is copied to RAM, and what that is worth."""
    saved = "" if copied.saved_cycles is None else f": about {copied.saved_cycles:,} cycles less to wait for the flash"
    return f"{kilobytes(copied.bytes)} of {copied.layers} layers are read from RAM{saved}"


def _footprint(result: Compiled, budget: Budget) -> Iterator[tuple[str, RenderableType]]:
    """(memory, what of it is needed and by whom), and how that is known."""
    found, there = budget.footprint, {memory.kind: memory.there_bytes for memory in budget.memories}
    regions = [memory for memory in budget.memories if memory.kind == RAM]
    constants, arena = budget.need.constant_bytes, budget.need.arena_bytes
    about = "" if found.measured else "about "
    code = model_code_bytes(result, found) if found.measured else 0
    rest = found.flash_bytes - constants - code
    parts = [f"constants {kilobytes(constants)}"]
    parts += [f"code of the layers {kilobytes(code)}"] if found.measured else []
    parts += [f"{'the rest' if found.measured else 'code'} {kilobytes(rest)}"]
    yield "flash", f"{about}{_share(found.flash_bytes, there[FLASH])}: {', '.join(parts)}"
    parts = [f"arena {kilobytes(arena)}"]
    copied = budget.need.ram_constant_bytes
    parts += [f"weights {kilobytes(copied)}"] if copied else []
    parts += [f"stack {kilobytes(found.stack_reserve_bytes)}"] if found.stack_reserve_bytes else []
    variables = found.ram_bytes - arena - copied - found.stack_reserve_bytes
    parts += [f"the rest {kilobytes(variables)}"] if variables else []
    there_bytes = sum(memory.there_bytes for memory in regions)
    yield "RAM", f"{about}{_share(found.ram_bytes, there_bytes)}: {', '.join(parts)}"
    for memory in regions if len(regions) > 1 else ():
        yield "", f"{memory.name}: {_share(memory.needed_bytes, memory.there_bytes)}"
    yield "stack", _stack(found)
    yield "known from" if found.measured else "estimated", _known_from(found, result.manifest["environments"])
    for warning in budget.warnings:
        yield "warning", Text(warning, "yellow")


def _stack(found: Footprint) -> RenderableType:
    """The bounds, or loudly that there is none."""
    if not found.measured:
        return "not known: it takes the compiler"
    unknown = next((bound for bound in (found.inference_stack, found.program_stack) if bound.bytes is None), None)
    if found.inference_stack.bytes is None or (found.firmware and found.program_stack.bytes is None):
        return Text(f"UNKNOWN: {unknown.why if unknown else ''}", "bold red")
    text = f"one inference at most {kilobytes(found.inference_stack.bytes)}"
    if found.program_stack.bytes is None:
        return text
    kept = kilobytes(found.stack_reserve_bytes)
    return f"{text}; the program at most {kilobytes(found.program_stack.bytes)} of the {kept} kept for it"


def _known_from(found: Footprint, environments: Mapping[str, str]) -> str:
    """What the figures are of."""
    what = "the firmware without a framework" if found.firmware else "the model alone"
    beside = "; the Arduino core comes on top" if "arduino" in environments else ""
    if beside and not found.firmware:
        beside = "; the application and the Arduino core come on top"
    elif beside:
        beside = "; the Arduino core comes on top in the other environment"
    if found.measured:
        return f"{what}, built with {found.compiler}{beside}"
    return f"{what}, {kilobytes(found.margin_bytes)} more or less{beside} ({found.note})"


def does_not_fit(budget: Budget) -> RenderableType:
    """What is needed, what is there, what takes it, and what to do."""
    rows = _table(f"on {budget.board}", "needed", "there", "", right=("needed", "there"))
    for memory in budget.memories:
        over = memory.over_bytes
        verdict = Text(f"{kilobytes(over)} too much", "red") if over else Text("fits", "green")
        rows.add_row(memory.name, kilobytes(memory.needed_bytes), kilobytes(memory.there_bytes), verdict)
    parts = _table("what takes it", "bytes", "code", right=("bytes", "code"))
    for part in (*(budget.layers if FLASH in budget.over else ()), *(budget.tensors if RAM in budget.over else ())):
        parts.add_row(short(part.name), f"{part.bytes:,}", f"{part.code_bytes:,}" if part.code_bytes else "")
    found = budget.footprint
    what = "the firmware without a framework" if found.firmware else "the model alone"
    known = (
        f"{what}, built with {found.compiler}" if found.measured else f"what is certain without its code: {found.note}"
    )
    remedies = [Text(f"  {remedy}") for remedy in budget.remedies]
    return Group(
        Text("DOES NOT FIT", "bold red"),
        rows,
        f"({known})",
        "",
        parts,
        "",
        "nothing was written; what can be done:",
        *remedies,
    )


def _share(used: int, there: int) -> str:
    return f"{kilobytes(used)} of {kilobytes(there)} ({100 * used / there:.1f} %)"


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
        parts.append(
            f"latency {_milliseconds(least)} at least, {_milliseconds(median)} in the median{_whose(emulator)}"
        )
    if found.layers:
        parts += ["", _layers(found)]
    return Group(*parts)


def _milliseconds(microseconds: float) -> str:
    return f"{microseconds / 1000:,.3f} ms"


def _whose(emulator: Emulator | None) -> str:
    if emulator is None:
        return ""
    if emulator.is_cycle_exact:
        return f"; {emulator.name} counts the cycles of the real chip"
    return f"; times and cycles are those of {emulator.name} on this computer, not the board's"


def _layers(found: Trial) -> Table:
    table = _table("layer of the last inference", "cycles", "share", right=("cycles", "share"))
    total = sum(layer.cycles for layer in found.layers) or 1
    for layer in found.layers:
        table.add_row(layer.layer.split(", ", 1)[-1], f"{layer.cycles:,}", f"{100 * layer.cycles / total:.1f} %")
    table.add_row("all", f"{found.cycles:,}", "")
    return table


def profile(found: Profile, compiled: Compiled, top: int | None) -> RenderableType:
    """What each layer takes, the costliest first; the whole; the memory; what the figures rest on."""
    rows = _costs(found, top)
    facts = _table("", "")
    facts.show_header = False
    for name, text in (*_latency(found), *_footprint(compiled, found.budget)):
        facts.add_row(name, text)
    used = f"one inference took {kilobytes(found.stack_bytes)}"
    facts.add_row("stack used", used)
    what = "the firmware without a framework" if found.program == "firmware" else "the model alone"
    how = f"{what}, one inference of random input (seed {found.seed}) in {found.emulator}"
    facts.add_row("replayed", how)
    for line in found.assumptions:
        facts.add_row("assumed", line)
    return Group(rows, "", facts)


def _costs(found: Profile, top: int | None) -> Table:
    """The layers, the costliest first, then all of them together."""
    has_cycles = found.total.cycles is not None
    unit = "cycles" if has_cycles else "instructions"
    names = ["layer", "operator", "kernel", "shapes", "MACs", *dict.fromkeys([unit, "instructions"]), f"{unit}/MAC"]
    names += [*(["flash read"] if has_cycles else []), "share", ""]
    table = _table(*names, right=("layer", "MACs", "cycles", "instructions", f"{unit}/MAC", "flash read", "share"))
    rows = [
        (str(row.layer), row.operator, row.kernel, row.shapes, row.macs, row.counts) for row in found.costliest(top)
    ]
    for layer, operator, kernel, shapes, macs, counts in [*rows, ("", "all", "", "", found.macs, found.total)]:
        cost = counts.instructions if counts.cycles is None else counts.cycles
        share = found.share(counts)
        cells = [f"{cost:,}", *([f"{counts.instructions:,}"] if has_cycles else [])]
        cells += [f"{cost / macs:.2f}" if macs else "", *([_read(counts)] if has_cycles else [])]
        bar = BAR * round(BAR_CELLS * share) if layer else ""
        table.add_row(layer, operator, kernel, shapes, f"{macs:,}" if macs else "", *cells, f"{100 * share:.1f} %", bar)
    return table


def _read(counts: Counts) -> str:
    """Bytes read from flash as data."""
    return f"{(counts.constant_read_bytes or 0) + (counts.literal_read_bytes or 0):,}"


def _latency(found: Profile) -> Iterator[tuple[str, str]]:
    """The time of an inference at the board's clock."""
    zero_wait, total, board = found.milliseconds(), found.total, found.board
    if zero_wait is None:
        return
    clock = f"at {board.clock_hz / 1e6:g} MHz"
    with_waits, unaided = found.milliseconds(total.stall_cycles), found.milliseconds(total.unaided_stall_cycles)
    if not board.flash_wait_states or with_waits is None or unaided is None:
        yield "time", f"{_ms(zero_wait)} {clock}"
        return
    yield "time", f"{_ms(with_waits)} to {_ms(unaided)} {clock} with {found.waits}, {_ms(zero_wait)} without any"


def _ms(milliseconds: float) -> str:
    return _milliseconds(1000 * milliseconds)


def operators() -> RenderableType:
    """The operators that can be compiled."""
    table = _table("operator", "kernels", "what it computes")
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
    table = _table(*columns, right=("MHz", "flash", "RAM"))
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
    table = _table("", "")
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


def beyond_limits(refusal: Refusal) -> RenderableType:
    """Which limits no choice of kernels keeps, and the best that was reached."""
    return Group(Text("the limits cannot be kept", "red"), *(Text(f"  {line}") for line in refusal.lines()))


def show(content: RenderableType) -> None:
    """Print to standard output, unwrapped when that is not a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200, soft_wrap=True)
    console.print(content)
