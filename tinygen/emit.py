"""Prints a program through Jinja: file name -> text. Knows no operator and no disk."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jinja2
import numpy as np

from tinygen import __version__
from tinygen.ir import CTYPES, Array
from tinygen.program import Data, Port, Program
from tinygen.resources import FIRMWARE, TEMPLATES
from tinygen.selftest import SelfTest
from tinygen.target import Target, platform_versions

LINE_WIDTH = 100
MAX_INDENT = 40
"""Columns that a wrapped argument list may be indented by to stand under its parenthesis."""
RUNTIME_HEADER = "tg_runtime.h"
PROJECT_TITLE = "{name}: a neural network as plain C"
STACK_BYTES = 1024
"""What the linker script of a board without a framework keeps for the stack."""
AVR_REACH_BYTES = 2**16 - 1024
"""Constants that an AVR's 16-bit addresses reach behind its vectors and what else lies first in program memory."""


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["c_comment"] = _comment
    environment.filters["wrap"] = _wrap
    environment.filters["f32"] = _real
    environment.globals.update(plus=_plus, times=_times)
    return environment


def emit(program: Program) -> dict[str, str]:
    """The C sources of `program`: path inside the output folder -> text."""
    kernels = [
        _wrap(_environment().get_template(function.template).render(name=function.name, **function.values).strip())
        for function in program.functions
    ]
    name = program.name
    values = _values(program) | {"kernels": kernels, "arrays": [_array(data) for data in program.data]}
    return {
        f"include/{name}.h": _render("model.h.j2", values),
        f"include/{RUNTIME_HEADER}": (FIRMWARE / "include" / RUNTIME_HEADER).read_text("utf-8"),
        f"src/{name}.c": _render("model.c.j2", values),
        f"src/{name}_data.c": _render("model_data.c.j2", values),
        f"src/{name}_data.h": _render("model_data.h.j2", values),
    }


def emit_firmware(program: Program, board: Target, runs: Collection[str]) -> dict[str, str]:
    """The program that runs the model on `board`: the application (app/...), what it needs of the board (board/...).

    `runs` says how: under "arduino", "bare", or either.
    """
    copied = ["app/tg_protocol.c", "app/tg_protocol.h", "board/tg_board.h"]
    files = {"app/tg_model.h": _render("firmware/tg_model.h.j2", _values(program))}
    if "arduino" in runs:
        copied += ["app/sketch.cpp", "board/tg_arduino.cpp"]
    if "bare" in runs:
        copied += ["app/main.c", "board/tg_cortex_m.c", "board/tg_uart.h"]
        files |= emit_bare(board)
    return files | {path: (FIRMWARE / path).read_text("utf-8") for path in copied}


def emit_bare(board: Target) -> dict[str, str]:
    """What runs `board` without a framework and is this board's alone: its set-up, serial driver and linker script."""
    assert board.bare
    values = {"board": board, "version": __version__, "stack_bytes": STACK_BYTES}
    templates = ("tg_board_config.h", "tg_board.ld")
    files = {f"board/{name}": _render(f"firmware/{name}.j2", values) for name in templates}
    family = {"tg_uart": board.bare.driver, "tg_boot": board.bare.boot}
    copied = {name: FIRMWARE / "family" / f"{source}.c" for name, source in family.items() if source}
    return {f"board/{name}.c": path.read_text("utf-8") for name, path in copied.items()} | files


def emit_project(
    program: Program, form: str, facts: Mapping[str, Any], board: Target | None, test: SelfTest | None
) -> dict[str, str]:
    """What a project of format `form` has beside the sources: templates/project/<form>/, NAME for the model's name.

    A template that prints nothing gives no file.
    """
    folder = TEMPLATES / "project" / form
    values = _values(program) | {
        "facts": facts,
        "board": board,
        "test": test,
        "platform": _platform(board),
        "title": PROJECT_TITLE.format(name=program.name),
    }
    found = {}
    for path in sorted(path.relative_to(TEMPLATES).as_posix() for path in folder.rglob("*.j2")):
        text = _render(path, values)
        if text.strip():
            found[path.removeprefix(f"project/{form}/").removesuffix(".j2").replace("NAME", program.name)] = text
    return found


def _platform(board: Target | None) -> str:
    """PlatformIO's platform of `board`, of the major version that it was tested with."""
    if board is None or not board.platformio.platform:
        return ""
    major = platform_versions()[board.platformio.platform].split(".")[0]
    return f"{board.platformio.platform}@^{major}.0.0"


def _values(program: Program) -> dict[str, Any]:
    return {
        "program": program,
        "name": program.name,
        "upper": program.name.upper(),
        "version": __version__,
        "far_bytes": _far_bytes(program),
        "streams": program.streams,
        "fed": program.fed,
        "passes": program.passes,
        "inputs": _inputs(program),
        "outputs": [_port(port) for port in program.outputs],
    }


def _inputs(program: Program) -> list[dict[str, Any]]:
    """The inputs, each with its offset when all lie one after another."""
    offsets = itertools.accumulate((port.tensor.bytes for port in program.inputs), initial=0)
    return [{**_port(port), "offset": offset} for port, offset in zip(program.inputs, offsets, strict=False)]


def _render(template: str, values: dict[str, Any]) -> str:
    return _environment().get_template(template).render(**values)


def _plus(expression: str, number: int) -> str:
    """`expression + number` as a person would write it."""
    if number == 0:
        return expression
    return f"{expression} + {number}" if number > 0 else f"{expression} - {-number}"


def _times(expression: str, number: int) -> str:
    """`expression * number` as a person would write it."""
    return expression if number == 1 else f"{expression} * {number}"


def _wrap(text: str) -> str:
    """`text` with every parameter or argument list that makes its line too long broken after a comma."""
    return "\n".join(piece for line in text.split("\n") for piece in _wrapped(line))


def _wrapped(line: str) -> Iterator[str]:
    body = line.lstrip()
    if len(line) <= LINE_WIDTH or "(" not in line or body.startswith(("/*", "*", "#")):
        yield line
        return
    start = line.index("(") + 1
    indent = " " * (start if start <= MAX_INDENT else len(line) - len(body) + 4)
    current = ""
    for argument in _arguments(line[start:]):
        if not current:
            current = line[:start] + argument
        elif len(current) + len(f", {argument},") > LINE_WIDTH:
            yield current + ","
            current = indent + argument
        else:
            current += f", {argument}"
    yield current


def _arguments(text: str) -> Iterator[str]:
    """The parts of an argument list between its own commas; the last one keeps what follows the list."""
    depth, begin = 0, 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            yield text[begin:position]
            begin = position + 2
    yield text[begin:]


def _comment(text: str) -> str:
    """`text` made safe for a C comment."""
    return text.encode("ascii", "replace").decode().replace("*/", "* /").replace("/*", "/ *").replace("??/", "?? /")


def _port(port: Port) -> dict[str, Any]:
    tensor = port.tensor
    return {
        "symbol": port.symbol,
        "upper": port.symbol.upper(),
        "ctype": CTYPES[tensor.dtype],
        "address": port.address,
        "bytes": tensor.bytes,
        "shape": "x".join(map(str, tensor.shape)) or "scalar",
        "tensor_name": tensor.name,
        "scale": f"{float_literal(tensor.scale)}f" if tensor.per_tensor else None,
        "zero_point": tensor.zero_point if tensor.per_tensor else None,
        "limits": _limits(tensor.dtype),
    }


def _limits(dtype: str) -> tuple[int, int] | None:
    """The least and the greatest value of an integer type that a float holds exactly."""
    if dtype not in ("int8", "uint8", "int16"):
        return None
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def float_literal(value: float) -> str:
    """The shortest C literal, without suffix, that reads back as the same float32."""
    text = np.format_float_scientific(np.float32(value), unique=True, trim="0")
    return text


def _real(value: float) -> str:
    """A float32 as a C literal."""
    return f"{float_literal(value)}f"


def _far_bytes(program: Program) -> int:
    """Bytes of all constants if they are more than an AVR can address, else 0."""
    total = sum(data.data.nbytes for data in program.data if not data.plain)
    return total if total > AVR_REACH_BYTES else 0


def _array(data: Data) -> dict[str, Any]:
    return {
        "symbol": data.symbol,
        "ctype": CTYPES.get(data.dtype, f"{data.dtype}_t"),
        "count": max(1, data.data.size),
        "comment": data.comment,
        "plain": data.plain,
        "qualifier": "" if data.ram else "const ",
        "placing": "" if data.plain or data.ram else " TG_CONST",
        "lines": "\n".join(_rows(data.data)),
    }


def _rows(data: Array) -> Iterator[str]:
    """The elements as C literals, filled into lines."""
    flat = data.ravel()
    if data.dtype == np.float32:
        literals = [f"{float_literal(value)}f" for value in flat]
    elif data.dtype == np.bool_:
        literals = [str(int(value)) for value in flat]
    else:
        literals = [_integer(value) for value in flat.tolist()]
    width = max((len(text) for text in literals), default=1) + 2
    per_line = max(1, (LINE_WIDTH - 4) // width)
    for start in range(0, len(literals), per_line):
        yield "    " + ", ".join(literals[start : start + per_line]) + ","
    if not literals:
        yield "    0,"


def _integer(value: int) -> str:
    """A literal of any width: the most negative values have none of their own in C."""
    if value == -(2**31):
        return "(-2147483647 - 1)"
    return str(value) if abs(value) < 2**31 else f"INT64_C({value})"
