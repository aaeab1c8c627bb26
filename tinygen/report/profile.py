"""Turns what each layer takes into tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table

from tinygen.driver import Compiled
from tinygen.profile.counts import Counts
from tinygen.profile.facts import Profile
from tinygen.report.compiled import footprint
from tinygen.report.layout import kilobytes, milliseconds, plain_table

BAR, BAR_CELLS = "\u2588", 20


def profile(found: Profile, compiled: Compiled, top: int | None) -> RenderableType:
    """What each layer takes, the costliest first; the whole; the memory; what the figures rest on."""
    rows = _costs(found, top)
    facts = plain_table("", "")
    facts.show_header = False
    for name, text in (*_latency(found), *footprint(compiled, found.budget)):
        facts.add_row(name, text)
    loop = "" if compiled.program.fed is None else ", with the loop that feeds it"
    facts.add_row("stack used", f"one inference took {kilobytes(found.stack_bytes)}{loop}")
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
    table = plain_table(*names, right=("layer", "MACs", "cycles", "instructions", f"{unit}/MAC", "flash read", "share"))
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


def _ms(count: float) -> str:
    return milliseconds(1000 * count)
