"""What is known of a board, and where it is read from."""

from __future__ import annotations

from tinygen.target.facts import Bare, Core, PlatformIO, Region, Step, Target, Uart
from tinygen.target.reader import (
    aliases,
    core_names,
    known_boards,
    known_names,
    load,
    load_all,
    load_core,
    names,
    platform_versions,
)

__all__ = [
    "Bare",
    "Core",
    "PlatformIO",
    "Region",
    "Step",
    "Target",
    "Uart",
    "aliases",
    "core_names",
    "known_boards",
    "known_names",
    "load",
    "load_all",
    "load_core",
    "names",
    "platform_versions",
]
