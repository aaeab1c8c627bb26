"""Turns a model whose input is given row by row into one that takes it whole, for the programs that run it here."""

from __future__ import annotations

from tinygen.ir import CTYPES, DTYPES
from tinygen.program import Program

WHOLE = """\
static {ctype} tg_whole_input[{count}];
{ctype} *{symbol}(void);
{ctype} *{symbol}(void) {{ return tg_whole_input; }}
void {name}_invoke(void);
void {name}_invoke(void)
{{
    for (int32_t i = 0; i < {passes} * {rows}; ++i) {{
        {name}_feed(tg_whole_input + i % {rows} * {row_elements});
    }}
}}
"""


def feeding(program: Program) -> str:
    """C to stand behind the model's source: it keeps a whole input and feeds it; nothing if the model takes it so."""
    if program.fed is None:
        return ""
    port = program.inputs[0]
    given = program.fed.given
    assert given is not None
    return WHOLE.format(
        ctype=CTYPES[port.tensor.dtype],
        count=port.tensor.size,
        symbol=port.symbol,
        name=program.name,
        passes=len(program.passes),
        rows=given.rows,
        row_elements=given.row_bytes // DTYPES[port.tensor.dtype].itemsize,
    )
