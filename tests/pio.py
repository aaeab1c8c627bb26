"""PlatformIO offline: a folder of its own with SCons and stand-ins for the official platforms under their names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from platformio.dependencies import get_core_dependencies

from tinygen import target
from tinygen.target import Target
from tinygen.verify.board_qemu import MACHINES

STAND_INS = Path(__file__).parent / "platformio"
CORTEX_M = STAND_INS / "cortex_m" / "builder.py"
BUILD_SECONDS = 50
"""A request to PlatformIO's registry is given up after 60 s only: no test may get as far as that."""
TOOL_SCONS = """\
from SCons.Script import main

main()
"""
MANIFEST_CORES = {"cortex-m4f": "cortex-m4"}


def own(folder: Path, kind: str, name: str, version: str) -> None:
    """Mark the package in `folder` as one that PlatformIO installed from its registry."""
    spec = {"owner": "platformio", "id": None, "name": name, "requirements": None, "uri": None}
    facts = {"type": kind, "name": name, "version": version, "spec": spec}
    (folder / ".piopm").write_text(json.dumps(facts))


def make_core_folder(folder: Path) -> Path:
    """A folder of PlatformIO's with SCons and the stand-in platforms installed."""
    scons = folder / "packages" / "tool-scons"
    scons.mkdir(parents=True)
    version = get_core_dependencies()["tool-scons"].removeprefix("~")
    facts = {"name": "tool-scons", "version": version, "description": "SCons of this Python", "system": "*"}
    (scons / "package.json").write_text(json.dumps(facts))
    (scons / "scons.py").write_text(TOOL_SCONS)
    own(scons, "tool", "tool-scons", version)
    avr = folder / "platforms" / "atmelavr"
    shutil.copytree(STAND_INS / "atmelavr", avr)
    own(avr, "platform", "atmelavr", json.loads((avr / "platform.json").read_text())["version"])
    bare = [board for board in target.load_all() if board.bare and board.platformio.board]
    for platform in sorted({board.platformio.platform for board in bare}):
        _stand_in(folder / "platforms" / platform, [b for b in bare if b.platformio.platform == platform])
    return folder


def _stand_in(folder: Path, boards: list[Target]) -> None:
    """A platform with these boards that builds programs without a framework."""
    platform = boards[0].platformio.platform
    version = target.platform_versions()[platform]
    (folder / "builder").mkdir(parents=True)
    shutil.copy(CORTEX_M, folder / "builder" / "main.py")
    facts = {"name": platform, "version": version, "title": platform, "description": "a stand-in", "packages": {}}
    (folder / "platform.json").write_text(json.dumps({**facts, "frameworks": {"arduino": {"package": "none"}}}))
    (folder / "boards").mkdir()
    for board in boards:
        (folder / "boards" / f"{board.platformio.board}.json").write_text(json.dumps(_manifest(board)))
    own(folder, "platform", platform, version)


def _manifest(board: Target) -> dict[str, object]:
    """PlatformIO's facts of a board."""
    core = MANIFEST_CORES.get(board.core.name, board.core.name)
    build = {"cpu": core, "f_cpu": f"{board.clock_hz}L", "mcu": board.mcu.lower()}
    return {
        "build": {**build, "machine": MACHINES.get(board.name, "")},
        "frameworks": ["arduino"],
        "name": board.title,
        "upload": {"maximum_ram_size": board.ram_bytes, "maximum_size": board.flash_bytes},
        "url": "-",
        "vendor": "-",
    }


def pio(core_folder: Path, project: Path, *arguments: str, code: int = 0) -> str:
    """What `pio ARGUMENTS` says in the project, as its user types it; it must end with that code, without a warning."""
    settings = {"CORE_DIR": str(core_folder), "SETTING_ENABLE_TELEMETRY": "no", "DISABLE_UPGRADE_CHECK": "true"}
    environment = {**os.environ, **{f"PLATFORMIO_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "platformio", *arguments]
    result = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    said = result.stdout + result.stderr
    assert result.returncode == code, said
    assert "warning" not in said, said
    return said
