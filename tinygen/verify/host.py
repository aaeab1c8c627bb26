"""Builds generated C for this computer and runs it through cffi, every layer's result observed."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cffi
import numpy as np

from tinygen.driver import Compiled
from tinygen.errors import ToolError
from tinygen.ir import DTYPES, Array
from tinygen.verify.feeding import feeding
from tinygen.verify.observed import ARRAYS, Observer, arrays

CFLAGS = ("-std=c99", "-O2", "-fPIC", "-shared", "-fno-math-errno")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
HARNESS = """\
#include <stdint.h>
static void (*observer)(int32_t);
#define TG_LAYER_DONE(layer) observer(layer)
#include "src/{name}.c"
{feeding}{arrays}void tg_host_run(void (*each_layer)(int32_t));
void tg_host_run(void (*each_layer)(int32_t))
{{
    observer = each_layer;
    {name}_invoke();
}}
"""


def compiler() -> list[str]:
    """The host's C compiler: $CC, or cc."""
    return shlex.split(os.environ.get("CC", "cc"))


class HostModel:
    """A compiled model as a shared library of this computer."""

    def __init__(self, compiled: Compiled, folder: Path, cflags: Sequence[str] = (*CFLAGS, *WARNINGS)) -> None:
        self._compiled = compiled
        name = compiled.program.name
        blocks = {"feeding": feeding(compiled.program), "arrays": arrays(compiled.program)}
        for path, text in {**compiled.files, "host.c": HARNESS.format(name=name, **blocks)}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, "utf-8")
        library = folder / "model.so"
        command = [*compiler(), *cflags, "-Iinclude", "-Isrc", "host.c", f"src/{name}_data.c", "-o", library.name]
        _build(command, folder)
        self._ffi = cffi.FFI()
        self._ffi.cdef(f"void tg_host_run(void (*)(int32_t)); extern int8_t *const {ARRAYS}[];")
        for port in (*compiled.program.inputs, *compiled.program.outputs):
            self._ffi.cdef(f"const void *{port.symbol}(void);")
        self._library: Any = self._ffi.dlopen(str(library))

    def run(self, inputs: Sequence[Array]) -> tuple[dict[int, Array], list[Array]]:
        """(tensor id -> value after its own layer, outputs after the last) of one inference."""
        program = self._compiled.program
        for port, value in zip(program.inputs, inputs, strict=True):
            data = np.ascontiguousarray(value, DTYPES[port.tensor.dtype])
            self._ffi.memmove(
                self._ffi.cast("void *", getattr(self._library, port.symbol)()), data.tobytes(), port.tensor.bytes
            )
        observer = Observer(self._compiled, self._arena_bytes)
        self._library.tg_host_run(self._ffi.callback("void(int32_t)", observer.stop))
        outputs = [
            self._read(getattr(self._library, port.symbol)(), port.tensor.dtype, port.tensor.shape)
            for port in program.outputs
        ]
        return observer.values(), outputs

    def _arena_bytes(self, offset: int, count: int) -> bytes:
        program = self._compiled.program
        array, start = program.arena_at(offset)
        return self._bytes(getattr(self._library, ARRAYS)[program.arenas.index(array)] + start, count)

    def _read(self, address: Any, dtype: str, shape: tuple[int, ...]) -> Array:
        count = int(np.prod(shape, dtype=np.int64)) * DTYPES[dtype].itemsize
        return np.frombuffer(self._bytes(address, count), DTYPES[dtype]).reshape(shape)

    def _bytes(self, address: Any, count: int) -> bytes:
        return bytes(self._ffi.buffer(self._ffi.cast("const char *", address), count))


def run_compiler(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What this computer's compiler did in `folder`; raises ToolError when there is none."""
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ToolError(
            "C compiler not found", found=command[0], remedy="install gcc or clang, or set CC to your compiler"
        ) from None


def _build(command: Sequence[str], folder: Path) -> None:
    done = run_compiler(command, folder)
    if done.returncode:
        lines = (
            [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["no message"]
        )
        raise ToolError("the host compiler rejected the generated C", where=command[0], found=lines[0])
