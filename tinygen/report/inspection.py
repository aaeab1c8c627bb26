"""Turns what a model is made of into tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinygen import compression
from tinygen.arena import short
from tinygen.inspection import Inspection, Option, TensorFacts
from tinygen.report.layout import kilobytes, plain_table


def _shape(facts: TensorFacts) -> str:
    return f"{facts.dtype} {'x'.join(map(str, facts.shape)) or 'scalar'}"


def _port(kind: str, facts: TensorFacts) -> tuple[str, str, str, str]:
    quant = "" if facts.scale is None else f"scale {facts.scale:.6g}, zero point {facts.zero_point}"
    return kind, short(facts.name), _shape(facts), quant


def inspection(facts: Inspection) -> RenderableType:
    """Operators, ports, totals, and every problem."""
    rows = plain_table("operator", "inputs", "outputs", "weights", "MACs", "", right=("MACs", "weights"))
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
    ports = plain_table("port", "name", "type", "quantisation")
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
    shown = plain_table("RAM needed", "more cycles", "by rows", right=("RAM needed", "more cycles"))
    for one in options:
        shown.add_row(f"{one.bytes:,}", f"{one.extra_percent:.1f} %", ", ".join(one.layers) or "nothing")
    return shown
