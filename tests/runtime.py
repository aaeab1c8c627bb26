"""The arithmetic of tg_runtime.h as a library of this computer: each function over arrays of int32."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import cffi
import numpy as np

from tinygen.ir import Array
from tinygen.resources import FIRMWARE
from tinygen.verify.host import CFLAGS, WARNINGS, compiler

ARGUMENTS = {
    "tg_doubling_high_multiply": 2,
    "tg_rounding_shift_right": 2,
    "tg_requantize": 3,
    "tg_requantize_single": 3,
    "tg_requantize_fine": 4,
    "tg_requantize_f64": 4,
}
"""Function -> how many int32 it takes."""


class Runtime:
    """tg_runtime.h, built into `folder`."""

    def __init__(self, folder: Path) -> None:
        source, library = folder / "runtime.c", folder / "runtime.so"
        source.write_text("\n".join(["#include <tg_runtime.h>", *map(_loop, ARGUMENTS)]), "utf-8")
        include = f"-I{FIRMWARE / 'include'}"
        subprocess.run([*compiler(), *CFLAGS, *WARNINGS, include, str(source), "-o", str(library)], check=True)
        self._ffi = cffi.FFI()
        self._ffi.cdef("".join(f"{_prototype(name)};" for name in ARGUMENTS))
        self._library: Any = self._ffi.dlopen(str(library))

    def __call__(self, name: str, *arguments: Any) -> Array:
        """The C function `name` of each element of `arguments`, broadcast together."""
        arrays = [np.ascontiguousarray(a, np.int32) for a in np.broadcast_arrays(*arguments)]
        result = np.empty(arrays[0].shape, np.int32)
        pointers = [self._ffi.cast("int32_t *", array.ctypes.data) for array in (*arrays, result)]
        getattr(self._library, f"all_{name}")(result.size, *pointers)
        return result


def _prototype(name: str) -> str:
    pointers = "".join(f", const int32_t *x{i}" for i in range(ARGUMENTS[name]))
    return f"void all_{name}(int32_t count{pointers}, int32_t *result)"


def _loop(name: str) -> str:
    elements = ", ".join(f"x{i}[n]" for i in range(ARGUMENTS[name]))
    return f"""{_prototype(name)};
{_prototype(name)}
{{
    for (int32_t n = 0; n < count; ++n) {{
        result[n] = {name}({elements});
    }}
}}
"""
