"""Reads boards/*.toml, boards/cores/*.toml and boards/known.csv into Targets; an unknown or missing key is an error."""

from __future__ import annotations

import csv
import difflib
import sys
from collections.abc import Set
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from tinygen.errors import TargetError
from tinygen.resources import BOARDS
from tinygen.target.facts import KINDS, Bare, Core, PlatformIO, Region, Step, Target, Uart

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TESTED, KNOWN = "tested", "known"
KNOWN_TABLE = "known.csv"
PLATFORM_TABLE = "platforms.csv"
KNOWN_SOURCE = "PlatformIO's board manifest; memory at the origins usual for the family"
MCU_MARK = "{mcu}"
LEAST_LIKENESS = 0.5


@dataclass(frozen=True)
class KnownBoard:
    """One row of the table of boards that have no file of their own, as the table has it."""

    id: str
    title: str
    mcu: str
    core: str
    clock_hz: int
    flash_origin: int
    flash_bytes: int
    ram_origin: int
    ram_bytes: int
    platform: str
    frameworks: tuple[str, ...]


def names() -> list[str]:
    """The boards with a file of their own, sorted."""
    return sorted(path.stem for path in BOARDS.glob("*.toml"))


def known_names() -> list[str]:
    """The boards that only the table of PlatformIO's facts has, sorted."""
    return sorted(known_boards().keys() - set(names()) - aliases().keys())


def core_names() -> list[str]:
    """All cores, sorted."""
    return sorted(path.stem for path in (BOARDS / "cores").glob("*.toml"))


def aliases() -> dict[str, str]:
    """Other names that boards with a file answer to, each with the name of the file."""
    return {alias: name for name in names() for alias in _read(BOARDS / f"{name}.toml").get("aliases", ())}


def load(name: str) -> Target:
    """The board called `name`; TargetError suggests the nearest names."""
    tested = names()
    found = name if name in tested else aliases().get(name)
    if found:
        return _load_file(found)
    if name in known_boards():
        return _load_known(known_boards()[name])
    tested = [*tested, *aliases()]
    begun = [board for board in tested if board.startswith(name.lower())] if name else []
    near = list(dict.fromkeys([*begun[:2], *_nearest(name, [*tested, *known_names()])]))[:3]
    remedy = f"did you mean {' or '.join(near)}?" if near else "`tinygen boards --known` lists them"
    raise TargetError("unknown board", found=f"'{name}'", remedy=remedy)


def load_all(known: bool = False) -> list[Target]:
    """All boards with a file of their own, and those that are only known."""
    rows = [known_boards()[name] for name in known_names()] if known else []
    return [*map(_load_file, names()), *map(_load_known, rows)]


def load_core(name: str, mcu: str = "") -> Core:
    """The core called `name`; where its compiler wants to be told the very MCU (AVR), `mcu` goes into the options."""
    path = BOARDS / "cores" / f"{name}.toml"
    if not path.is_file():
        raise TargetError("unknown core", found=f"'{name}'", expected=", ".join(core_names()))
    data = _table(path, Core, given={"name"})
    cflags = tuple(flag.replace(MCU_MARK, mcu.lower() or MCU_MARK) for flag in data["cflags"])
    return Core(name=name, **{**data, "features": frozenset(data["features"]), "cflags": cflags})


def known_boards() -> dict[str, KnownBoard]:
    """The facts that PlatformIO's manifests state, by PlatformIO's board id; it has boards with a file too."""
    return _known_boards(BOARDS / KNOWN_TABLE)


@lru_cache(maxsize=1)
def platform_versions() -> dict[str, str]:
    """PlatformIO's platforms, each with the version whose facts are ours."""
    lines = (BOARDS / PLATFORM_TABLE).read_text("utf-8").splitlines()
    return {row["platform"]: row["version"] for row in csv.DictReader(lines)}


@lru_cache(maxsize=4)
def _known_boards(path: Path) -> dict[str, KnownBoard]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise TargetError("cannot be read", where=str(path), found=str(error)) from None
    rows = csv.reader(line for line in lines if not line.startswith("#"))
    columns = [field.name for field in fields(KnownBoard)]
    if next(rows, None) != columns:
        raise TargetError("wrong columns", where=str(path), expected=", ".join(columns))
    return {row[0]: _known_board(path, dict(zip(columns, row, strict=True))) for row in rows}


def _known_board(path: Path, row: dict[str, str]) -> KnownBoard:
    numbers = ("clock_hz", "flash_origin", "flash_bytes", "ram_origin", "ram_bytes")
    try:
        values = {name: int(row[name], 0) for name in numbers}
    except ValueError as error:
        raise TargetError("not a number", where=f"{path}: {row['id']}", found=str(error)) from None
    return KnownBoard(**{**row, **values, "frameworks": tuple(row["frameworks"].split())})  # type: ignore[arg-type]


def _load_known(row: KnownBoard) -> Target:
    return Target(
        name=row.id,
        status=KNOWN,
        title=row.title,
        mcu=row.mcu,
        core=load_core(row.core, row.mcu),
        clock_hz=row.clock_hz,
        flash=(Region("flash", row.flash_origin, row.flash_bytes),),
        ram=(Region("ram", row.ram_origin, row.ram_bytes),),
        flash_wait_states=None,
        uart=None,
        platformio=PlatformIO(row.id, row.platform, row.frameworks),
        source=KNOWN_SOURCE,
    )


def _load_file(name: str) -> Target:
    path = BOARDS / f"{name}.toml"
    data = _table(path, Target, given={"name", "status"})
    for kind in ("flash", "ram"):
        data[kind] = tuple(_region(path, entry, kind) for entry in data[kind])
    data["uart"] = Uart(**_keys(path, data["uart"], Uart, "uart"))
    platformio = _keys(path, data["platformio"], PlatformIO, "platformio")
    data["platformio"] = PlatformIO(**{**platformio, "frameworks": tuple(platformio["frameworks"])})
    data["aliases"] = tuple(data.get("aliases", ()))
    data["bare"] = _bare(path, data["bare"]) if "bare" in data else None
    data["core"] = load_core(str(data["core"]), str(data["mcu"]))
    return Target(name=name, status=TESTED, **data)


def _region(path: Path, entry: dict[str, Any], part: str) -> Region:
    region = Region(**_keys(path, entry, Region, part))
    if region.kind not in KINDS:
        where = f"{path}: {part}: {region.name}"
        raise TargetError("unknown kind of memory", where=where, found=region.kind, expected=", ".join(KINDS))
    return region


def _bare(path: Path, data: dict[str, Any]) -> Bare:
    _keys(path, data, Bare, "bare")
    setup = tuple(Step(**_keys(path, step, Step, "bare.setup")) for step in data["setup"])
    return Bare(**{**data, "setup": setup})


def _read(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise TargetError("cannot be read", where=str(path), found=str(error)) from None
    return data


def _table(path: Path, record: type, given: Set[str]) -> dict[str, Any]:
    """The file's keys: the fields of `record`, but for those `given` otherwise."""
    return _keys(path, _read(path), record, "", given)


def _keys(path: Path, data: dict[str, Any], record: type, part: str, given: Set[str] = frozenset()) -> dict[str, Any]:
    """`data` if its keys are the fields of `record`; only those with a default may be left out."""
    allowed = {field.name for field in fields(record)} - given
    needed = {field.name for field in fields(record) if field.default is MISSING} - given
    wrong = (set(data) - allowed) | (needed - set(data))
    if wrong:
        where = f"{path}: {part}" if part else str(path)
        found, expected = ", ".join(sorted(wrong)), ", ".join(sorted(allowed))
        raise TargetError("unknown or missing keys", where=where, found=found, expected=expected)
    return data


def _nearest(name: str, candidates: list[str]) -> list[str]:
    """Up to three names that look like `name`, whatever their case; among equals those that start like it."""
    wanted = name.lower()

    def likeness(candidate: str) -> tuple[float, int]:
        start = takewhile(lambda pair: pair[0] == pair[1], zip(candidate.lower(), wanted, strict=False))
        return difflib.SequenceMatcher(None, candidate.lower(), wanted).ratio(), len(list(start))

    scored = sorted(((likeness(candidate), candidate) for candidate in candidates), reverse=True)
    return [candidate for (ratio, _), candidate in scored[:3] if ratio >= LEAST_LIKENESS]
