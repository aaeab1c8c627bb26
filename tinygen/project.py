"""Writes a generated project to disk, whole or not at all; the only module that writes files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tinygen import __version__
from tinygen.errors import OutputError, TargetError
from tinygen.ir import CTYPES
from tinygen.program import Port, Program
from tinygen.target import Core, Target

MANIFEST = "tinygen.json"
BUILD_FOLDERS = (".pio", "build")
"""Where PlatformIO and CMake build, inside the project; nothing in them is worth keeping."""


@dataclass(frozen=True)
class Format:
    """A kind of project: in which of its folders the model's public headers and its sources lie, NAME for the model's.

    A format that makes a program of them has folders for the application and for what that needs of its board. What it
    has beside all these are the files of templates/project/<its name>/.
    """

    include: str
    source: str
    application: str = ""
    board: str = ""


PLATFORMIO = "platformio"
FORMATS = MappingProxyType(
    {
        PLATFORMIO: Format("lib/NAME/include", "lib/NAME/src", application="src", board="lib/tg_board"),
        "arduino": Format("src", "src"),
        "cmake": Format("include", "src", application="firmware", board="firmware"),
        "c": Format("include", "src"),
    }
)
ARDUINO, BARE = "arduino", "bare"
"""How a program runs: under the Arduino framework, or with nothing but its own start-up."""


def default_format(board: Target | None) -> str:
    """The format that does most for `board`."""
    if board is None:
        return "c"
    if board.platformio.board and environments(board, PLATFORMIO):
        return PLATFORMIO
    return "cmake"


def environments(board: Target | None, form: str) -> dict[str, str]:
    """How a program of such a project can run on `board`, each with the name of PlatformIO's environment for it."""
    if board is None or not FORMATS[form].application:
        return {}
    found = {}
    if form == PLATFORMIO and "arduino" in board.platformio.frameworks:
        found[ARDUINO] = board.platformio.board
    if board.bare:
        found[BARE] = f"{board.platformio.board or board.name}_bare"
    return found


def needs_regions(program: Program, board: Target) -> bool:
    """Whether the arena does not fit the RAM for data, the only one that the linker scripts of frameworks know of."""
    return len(program.arenas) > 1 and program.plan.arena_bytes > board.main_ram.bytes


def check_board(board: Target | None, form: str) -> None:
    """Raise TargetError when a project of that format cannot be for `board`."""
    if form != PLATFORMIO:
        return
    if board is None:
        raise TargetError(f"a {form} project is for one board", remedy="add --board BOARD; `tinygen boards` lists them")
    elsewhere = "choose another board, or --format c or cmake"
    if not board.platformio.board:
        raise TargetError("PlatformIO does not have this board", where=board.name, remedy=elsewhere)
    if not environments(board, form):
        found = ", ".join(board.platformio.frameworks)
        what = "PlatformIO has no Arduino framework for this board, and tinygen no start-up"
        raise TargetError(what, where=board.name, found=found, remedy=elsewhere)


def lay_out(sources: Mapping[str, str], form: str, name: str) -> dict[str, str]:
    """Files at their places in a project of that format: the model's (include/, src/), the program's (app/, board/)."""
    places = _places(form, name)
    return {"/".join([places[path.split("/")[0]], *path.split("/")[1:]]): text for path, text in sources.items()}


def _places(form: str, name: str) -> dict[str, str]:
    """The folders of the model of that name, of the application, and of what that needs of its board."""
    layout = FORMATS[form]
    places = {"include": layout.include, "src": layout.source, "app": layout.application, "board": layout.board}
    return {kind: folder.replace("NAME", name) for kind, folder in places.items()}


def manifest(
    program: Program,
    core: Core,
    board: Target | None,
    sha256: str,
    numerics: str,
    form: str = "c",
    optimize: str = "speed",
    feed: int = 0,
) -> dict[str, Any]:
    """What tinygen.json says: how to build the sources, and what the model takes and gives."""
    places = _places(form, program.name)
    runs = environments(board, form)
    if board and needs_regions(program, board):
        runs = {kind: name for kind, name in runs.items() if kind != ARDUINO}
    return {
        "tinygen": __version__,
        "name": program.name,
        "format": form,
        "board": board.name if board else None,
        "environments": runs,
        "model": f"model/{program.name}.tflite" if runs else None,
        "core": core.name,
        "numerics": numerics,
        "optimize": optimize,
        "feed": program.fed is not None,
        "feed_times": feed,
        "header": f"{program.name}.h",
        "sources": [f"{places['src']}/{program.name}.c", f"{places['src']}/{program.name}_data.c"],
        "include_dirs": [places["include"]],
        "compiler": core.compiler,
        "cflags": list(core.cflags),
        "arena_bytes": program.plan.arena_bytes,
        "constant_bytes": sum(data.data.nbytes for data in program.data),
        "ram_constant_bytes": sum(data.data.nbytes for data in program.data if data.ram),
        "stateful": False,
        "inputs": [_port(port) for port in program.inputs],
        "outputs": [_port(port) for port in program.outputs],
        "macs": program.macs,
        "model_sha256": sha256,
    }


def _port(port: Port) -> dict[str, Any]:
    tensor = port.tensor
    return {
        "symbol": port.symbol,
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "ctype": CTYPES[tensor.dtype],
        "bytes": tensor.bytes,
        "scale": tensor.scale if tensor.per_tensor else None,
        "zero_point": tensor.zero_point if tensor.per_tensor else None,
    }


def with_manifest(files: Mapping[str, str], binaries: Mapping[str, bytes], facts: Mapping[str, Any]) -> dict[str, str]:
    """`files` with tinygen.json, which also lists the others, and the `binaries` beside them, with their SHA-256."""
    contents = {path: text.encode("utf-8") for path, text in files.items()} | dict(binaries)
    listed = {path: _sha256(data) for path, data in sorted(contents.items())}
    return {**files, MANIFEST: json.dumps({**facts, "files": listed}, indent=2) + "\n"}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(files: Mapping[str, str | bytes], folder: Path) -> None:
    """Write `files` as `folder`, replacing an earlier output of tinygen there.

    Raises OutputError, with nothing changed, when the folder holds files that tinygen did not write or that somebody
    changed since, or when it cannot be made.
    """
    foreign = foreign_files(folder)
    if foreign:
        raise OutputError(
            "output folder holds files that tinygen did not write, or that were changed since",
            where=str(folder),
            found=", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""),
            remedy="choose another folder with --output, or move them away",
        )
    try:
        _replace(files, folder.absolute())
    except OSError as error:
        raise OutputError("cannot write the output", where=str(folder), found=error.strerror or str(error)) from None


def foreign_files(folder: Path) -> list[str]:
    """Files in `folder` that are not as an earlier tinygen run listed them in its tinygen.json; builds apart."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise OutputError("output is not a folder", where=str(folder), remedy="choose another with --output")
    try:
        present = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())
        if MANIFEST not in present:
            return present
        ours = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        others = [path for path in present if path != MANIFEST and path.split("/")[0] not in BUILD_FOLDERS]
        return [path for path in others if ours.get(path) != _sha256((folder / path).read_bytes())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError("output folder cannot be read", where=str(folder), found=str(error)) from None


def _replace(files: Mapping[str, str | bytes], folder: Path) -> None:
    """Build the folder beside its place and move it there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh, old = staging / "new", staging / "old"
        for path, contents in files.items():
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            (fresh / path).write_bytes(contents if isinstance(contents, bytes) else contents.encode("utf-8"))
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(fresh, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
