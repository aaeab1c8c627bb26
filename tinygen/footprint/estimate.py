"""Estimates the code of a compiled model from the length of its C, for computers without the board's compiler."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from tinygen.driver import Compiled
from tinygen.target import Core

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
TOKEN = re.compile(r"\w+|[^\s\w]")
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
OTHER_COMPILERS = re.compile(r"^#else\b.*?^#endif\b", re.DOTALL | re.MULTILINE)
"""The C beside assembly, for compilers and options that do not take that."""
LINE_OF_ASSEMBLY = "\\n"
BYTES_PER_TOKEN: Mapping[str, float] = MappingProxyType(
    {"armv6m": 1.5, "armv7m": 1.1, "avr": 2.3, "rv32imc": 1.4, "xtensa": 1.4}
)
"""Feature of a core -> bytes of code for a word or sign of generated C. Measured with GCC on the models of
tests/random_models.py, on our examples and on those of MLPerf Tiny; Xtensa, for want of a compiler, as RISC-V.
"""
PLAIN_BYTES_PER_TOKEN = 1.5
BYTES_PER_INSTRUCTION: Mapping[str, float] = MappingProxyType({"armv6m": 1.5, "armv7m": 4.0})
"""Feature of a core -> bytes of code for a line of assembly; a function that is inlined twice counts once."""
MARGIN, MARGIN_BYTES = 0.6, 1000
"""The code of none of these models was farther from its estimate than this share of that and these bytes."""
FIRMWARE_BYTES: Mapping[str, int] = MappingProxyType({"armv6m": 6500, "armv7m": 5500})
"""Feature of a core -> code of the application, the start-up and the C library without a framework."""
FIRMWARE_MARGIN_BYTES = 1000
"""How far off that may be; an output of 64-bit integers takes 4 kB more on a core without an FPU."""
FIRMWARE_VARIABLE_BYTES = 200
LAYER_VARIABLE_BYTES = 4
"""Variables of the application: some, and for each layer when it ended."""


def code_bytes(compiled: Compiled, core: Core) -> int:
    """About how much code the model has."""
    name = compiled.program.name
    source = next(text for path, text in compiled.files.items() if path.endswith(f"/{name}.c"))
    source = OTHER_COMPILERS.sub("", COMMENT.sub("", source))
    instructions: int = sum(text.count(LINE_OF_ASSEMBLY) for text in TEXT.findall(source))
    tokens = len(TOKEN.findall(TEXT.sub("", source)))
    per_token = _of(BYTES_PER_TOKEN, core, PLAIN_BYTES_PER_TOKEN)
    return round(tokens * per_token + instructions * _of(BYTES_PER_INSTRUCTION, core, 0.0))


def margin_bytes(code: int, firmware: bool) -> int:
    """How far off an estimate may be of so much code, and of the firmware about it."""
    return round(MARGIN * code) + MARGIN_BYTES + (FIRMWARE_MARGIN_BYTES if firmware else 0)


def firmware_code_bytes(core: Core) -> int:
    """About what comes on top of the model in a program without a framework."""
    return round(_of(FIRMWARE_BYTES, core, max(FIRMWARE_BYTES.values())))


def firmware_variable_bytes(compiled: Compiled) -> int:
    """About what variables the application has: the inputs that it keeps, and its own."""
    inputs = sum(port.tensor.bytes for port in compiled.program.inputs)
    return inputs + LAYER_VARIABLE_BYTES * (len(compiled.program.calls) + 1) + FIRMWARE_VARIABLE_BYTES


def _of(table: Mapping[str, float] | Mapping[str, int], core: Core, otherwise: float) -> float:
    return next((value for feature, value in table.items() if feature in core.features), otherwise)
