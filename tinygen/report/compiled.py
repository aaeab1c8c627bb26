"""Turns what was compiled, and what does not fit, into tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.text import Text

from tinygen import compression
from tinygen.arena import arena, short
from tinygen.budget import FLASH, RAM, Budget, model_code_bytes
from tinygen.driver import Compiled
from tinygen.footprint.measure import Footprint
from tinygen.limits import Refusal
from tinygen.ram_weights import RamWeights
from tinygen.report.layout import kilobytes, plain_table
from tinygen.target import Target

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


def compiled(result: Compiled, folder: Path, target: Target | None, budget: Budget | None) -> RenderableType:
    """What was written, and what it takes of the board."""
    facts = result.manifest
    board = f"{target.title} ({target.core.title})" if target else "any C99 compiler"
    table = plain_table("", "")
    table.show_header = False
    table.add_row("model", f"{result.model.path}, {facts['macs']:,} MACs in {len(result.program.calls)} layers")
    table.add_row("for", board)
    table.add_row("kernels", KERNELS[facts["optimize"]])
    if budget:
        for name, text in footprint(result, budget):
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


def footprint(result: Compiled, budget: Budget) -> Iterator[tuple[str, RenderableType]]:
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
    rows = plain_table(f"on {budget.board}", "needed", "there", "", right=("needed", "there"))
    for memory in budget.memories:
        over = memory.over_bytes
        verdict = Text(f"{kilobytes(over)} too much", "red") if over else Text("fits", "green")
        rows.add_row(memory.name, kilobytes(memory.needed_bytes), kilobytes(memory.there_bytes), verdict)
    parts = plain_table("what takes it", "bytes", "code", right=("bytes", "code"))
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
        f"(--optimize {budget.goal}; {known})",
        "",
        parts,
        "",
        "nothing was written; what can be done:",
        *remedies,
    )


def _share(used: int, there: int) -> str:
    return f"{kilobytes(used)} of {kilobytes(there)} ({100 * used / there:.1f} %)"


def beyond_limits(refusal: Refusal) -> RenderableType:
    """Which limits no choice of kernels keeps, and the best that was reached."""
    return Group(Text("the limits cannot be kept", "red"), *(Text(f"  {line}") for line in refusal.lines()))
