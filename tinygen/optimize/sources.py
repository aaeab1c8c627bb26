"""The code of tinygen and the compilers beside it as digests, for results that must not outlive them."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import tinygen
from tinygen.footprint.toolchain import find
from tinygen.project import PLATFORMIO, default_format
from tinygen.resources import FIRMWARE, TEMPLATES
from tinygen.target import Target

_PACKAGE = Path(tinygen.__file__).parent


@functools.cache
def trainer() -> str:
    """The SHA-256 of what makes models: the version alone would not tell a checkout that was edited."""
    return _digest((_PACKAGE / "quantize", _PACKAGE / "optimize" / "make.py", _PACKAGE / "optimize" / "make_tflite.py"))


@functools.cache
def compiler() -> str:
    """The SHA-256 of what makes code of them, and measures it."""
    return _digest((_PACKAGE, TEMPLATES, FIRMWARE))


def cross_compiler(board: Target) -> str:
    """The compiler of a board's core, by name and version; empty when there is none."""
    tools = find(board.core, default_format(board) == PLATFORMIO)
    return tools.title if tools else ""


def _digest(places: tuple[Path, ...]) -> str:
    whole = hashlib.sha256()
    for place in places:
        paths = [place] if place.is_file() else sorted(place.rglob("*.*"))
        for path in paths:
            if path.suffix in (".py", ".j2", ".c", ".h", ".cpp"):
                whole.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
