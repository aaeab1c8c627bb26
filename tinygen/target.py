"""Reads boards/*.toml, boards/cores/*.toml and boards/known.csv into Targets; an unknown or missing key is an error."""

from __future__ import annotations

import csv
import difflib
import sys
from collections.abc import Set
from dataclasses import MISSING, asdict, dataclass, fields
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from tinygen.errors import TargetError
from tinygen.resources import BOARDS

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
class Uart:
    """The serial port that a program talks to by default; `usb_serial`: the board's USB plug carries it to the host."""

    peripheral: str
    tx: str
    rx: str
    usb_serial: bool


@dataclass(frozen=True)
class PlatformIO:
    """What PlatformIO calls the board; all empty for an emulated machine that it does not have."""

    board: str
    platform: str
    frameworks: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One access to a register when a board is set up; `why` says what it does, in the words of the manual.

    Either the register becomes `value`; or it loses the bits of `clear` and then gets those of `set`; or the program
    waits until its bits of the mask `wait` are `value` (all set, without one).
    """

    register: str
    address: int
    why: str
    clear: int = 0
    set: int = 0
    value: int | None = None
    wait: int | None = None
    bits: int = 32


@dataclass(frozen=True)
class Bare:
    """How a board runs without a framework: what sets up its clock and its serial port.

    `driver` is a file of firmware/family/; `clock_hz` is the processor's clock after the `setup`, `uart_clock_hz` the
    one that the driver divides. `boot`, where the boot ROM wants code of the program before its vectors, is the file of
    firmware/family/ that has it.
    """

    driver: str
    clock_hz: int
    uart_address: int
    uart_clock_hz: int
    setup: tuple[Step, ...]
    boot: str = ""


@dataclass(frozen=True)
class Target:
    """A board: its processor, its memories, and where these facts are from.

    The first RAM region is the one for data. `flash_wait_states` and `uart` are None for a board that is only known.
    `differs` says why these facts are not those of PlatformIO's manifest. `bare` is None for a board that runs under a
    framework only.
    """

    name: str
    status: str
    title: str
    mcu: str
    core: Core
    clock_hz: int
    flash: tuple[Region, ...]
    ram: tuple[Region, ...]
    flash_wait_states: int | None
    uart: Uart | None
    platformio: PlatformIO
    source: str
    aliases: tuple[str, ...] = ()
    differs: str = ""
    bare: Bare | None = None

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

    @property
    def main_flash(self) -> Region:
        """The first region of flash with what follows it without a gap."""
        return _with_neighbours(self.flash)

    @property
    def main_ram(self) -> Region:
        """The first region of RAM with what follows it without a gap."""
        return _with_neighbours(self.ram)

    @property
    def largest_flash_bytes(self) -> int:
        """The largest piece of flash without a gap."""
        return _largest_run(self.flash)

    @property
    def largest_ram_bytes(self) -> int:
        """The largest piece of RAM without a gap: no arena can be larger."""
        return _largest_run(self.ram)


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
        data[kind] = tuple(Region(**_keys(path, entry, Region, kind)) for entry in data[kind])
    data["uart"] = Uart(**_keys(path, data["uart"], Uart, "uart"))
    platformio = _keys(path, data["platformio"], PlatformIO, "platformio")
    data["platformio"] = PlatformIO(**{**platformio, "frameworks": tuple(platformio["frameworks"])})
    data["aliases"] = tuple(data.get("aliases", ()))
    data["bare"] = _bare(path, data["bare"]) if "bare" in data else None
    data["core"] = load_core(str(data["core"]), str(data["mcu"]))
    return Target(name=name, status=TESTED, **data)


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


def _with_neighbours(regions: tuple[Region, ...]) -> Region:
    first, end = regions[0], regions[0].origin + regions[0].bytes
    for region in sorted(regions, key=lambda region: region.origin):
        end += region.bytes if region.origin == end else 0
    return Region(first.name, first.origin, end - first.origin)


def _largest_run(regions: tuple[Region, ...]) -> int:
    largest = size = end = 0
    for region in sorted(regions, key=lambda region: region.origin):
        size = size + region.bytes if region.origin == end else region.bytes
        end = region.origin + region.bytes
        largest = max(largest, size)
    return largest
