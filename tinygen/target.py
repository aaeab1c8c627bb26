"""Reads boards/*.toml and boards/cores/*.toml into Targets; an unknown or missing key is an error."""

from __future__ import annotations

import difflib
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tinygen.errors import TargetError
from tinygen.resources import BOARDS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Core:
    """A processor core: which kernels it can run, and how to compile for it."""

    name: str
    title: str
    features: frozenset[str]
    compiler: str
    cflags: tuple[str, ...]
    alignment_bytes: int


@dataclass(frozen=True)
class Region:
    """A range of memory that a program may use."""

    name: str
    origin: int
    bytes: int


@dataclass(frozen=True)
class Target:
    """A board: its processor, its memories, and where these facts are from."""

    name: str
    title: str
    mcu: str
    core: Core
    clock_hz: int
    flash: tuple[Region, ...]
    ram: tuple[Region, ...]
    flash_wait_states: int
    source: str

    def as_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        facts = asdict(self)
        facts["core"]["features"] = sorted(self.core.features)
        return facts | {"flash_bytes": self.flash_bytes, "ram_bytes": self.ram_bytes}

    @property
    def flash_bytes(self) -> int:
        """Flash of all regions together."""
        return sum(region.bytes for region in self.flash)

    @property
    def ram_bytes(self) -> int:
        """RAM of all regions together."""
        return sum(region.bytes for region in self.ram)


def names() -> list[str]:
    """All board names, sorted."""
    return sorted(path.stem for path in BOARDS.glob("*.toml"))


def load(name: str) -> Target:
    """The board called `name`; TargetError suggests the nearest names."""
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        remedy = f"did you mean {' or '.join(near)}?" if near else "`tinygen boards` lists them"
        raise TargetError("unknown board", found=f"'{name}'", remedy=remedy)
    path = BOARDS / f"{name}.toml"
    data = _table(path, Target)
    for kind in ("flash", "ram"):
        data[kind] = tuple(_region(path, entry) for entry in data[kind])
    return Target(name=name, **{**data, "core": load_core(str(data["core"]))})


def load_core(name: str) -> Core:
    """The core called `name`."""
    path = BOARDS / "cores" / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.toml")))
        raise TargetError("unknown core", found=f"'{name}'", expected=known)
    data = _table(path, Core)
    return Core(name=name, **{**data, "features": frozenset(data["features"]), "cflags": tuple(data["cflags"])})


def _read(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise TargetError("cannot be read", where=str(path), found=str(error)) from None
    return data


def _table(path: Path, record: type) -> dict[str, Any]:
    """The file's keys: exactly the fields of `record`, but for its name."""
    data = _read(path)
    expected = {field.name for field in fields(record)} - {"name"}
    if set(data) != expected:
        wrong = ", ".join(sorted(set(data) ^ expected))
        raise TargetError("unknown or missing keys", where=str(path), found=wrong, expected=", ".join(sorted(expected)))
    return data


def _region(path: Path, entry: dict[str, Any]) -> Region:
    if set(entry) != {"name", "origin", "bytes"}:
        raise TargetError("a memory region needs name, origin and bytes", where=str(path), found=str(sorted(entry)))
    return Region(str(entry["name"]), int(entry["origin"]), int(entry["bytes"]))
