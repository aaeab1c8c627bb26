"""The PlatformIO project: made for every board, built by PlatformIO itself offline, run in an emulator."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from platformio.dependencies import get_core_dependencies

from tests.sketches import assert_prints_the_reference, serial_output
from tests.small_models import two_convolutions
from tests.test_cli import complaint
from tinygen import target
from tinygen.driver import Compiled, Model, compile_model, load
from tinygen.errors import OutputError
from tinygen.frontend import tflite
from tinygen.target import Target

ROOT = Path(__file__).parent.parent
STAND_INS = Path(__file__).parent / "platformio"
BUILD_SECONDS = 50
"""A request to PlatformIO's registry is given up after 60 s only: no test may get as far as that."""
TOOL_SCONS = """\
from SCons.Script import main

main()
"""


def compiled(board: str) -> Compiled:
    """A small model as a project for that board."""
    data = two_convolutions()
    return compile_model(Model("net.tflite", data, tflite.read(data, "net")), target.load(board), form="platformio")


def arduino_boards() -> list[Target]:
    """The boards with a file for which PlatformIO has the Arduino framework."""
    return [board for board in target.load_all() if "arduino" in board.platformio.frameworks]


def own(folder: Path, kind: str, name: str, version: str) -> None:
    """Mark the package in `folder` as one that PlatformIO installed from its registry."""
    spec = {"owner": "platformio", "id": None, "name": name, "requirements": None, "uri": None}
    facts = {"type": kind, "name": name, "version": version, "spec": spec}
    (folder / ".piopm").write_text(json.dumps(facts))


@pytest.fixture(scope="module")
def core_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of PlatformIO's with SCons and the stand-in platforms installed."""
    folder = tmp_path_factory.mktemp("core")
    scons = folder / "packages" / "tool-scons"
    scons.mkdir(parents=True)
    version = get_core_dependencies()["tool-scons"].removeprefix("~")
    facts = {"name": "tool-scons", "version": version, "description": "SCons of this Python", "system": "*"}
    (scons / "package.json").write_text(json.dumps(facts))
    (scons / "scons.py").write_text(TOOL_SCONS)
    own(scons, "tool", "tool-scons", version)
    for source in STAND_INS.iterdir():
        place = folder / "platforms" / source.name
        shutil.copytree(source, place)
        own(place, "platform", source.name, json.loads((place / "platform.json").read_text())["version"])
    return folder


def pio_run(project: Path, core_folder: Path) -> None:
    """`pio run` in the project, as its user types it."""
    settings = {"CORE_DIR": str(core_folder), "SETTING_ENABLE_TELEMETRY": "no", "DISABLE_UPGRADE_CHECK": "true"}
    environment = {**os.environ, **{f"PLATFORMIO_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "platformio", "run"]
    result = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "warning" not in result.stdout + result.stderr, result.stdout + result.stderr


@pytest.mark.parametrize("board", arduino_boards(), ids=lambda board: board.name)
def test_every_board_with_the_framework_gets_a_project(board: Target) -> None:
    result = compiled(board.name)
    ini = ConfigParser()
    ini.read_string(result.files["platformio.ini"])
    names = board.platformio
    assert ini.sections() == [f"env:{names.board}"]
    expected = {"platform": names.platform, "board": names.board, "framework": "arduino", "monitor_speed": "115200"}
    assert dict(ini[ini.sections()[0]]) == expected
    assert json.loads(result.files["lib/net/library.json"])["name"] == "net"
    assert board.title in result.files["README.md"]
    assert {"lib/net/include/net.h", "lib/net/src/net.c", "src/main.cpp", ".gitignore"} <= set(result.files)


def test_there_are_boards_enough() -> None:
    assert len(arduino_boards()) > 40


@pytest.mark.parametrize(
    ("board", "message"),
    [
        (None, "a platformio project is for one board; add --board BOARD; `tinygen boards` lists them"),
        (
            "mps2-an386",
            "mps2-an386: PlatformIO does not have this board; choose another board, or --format c or cmake",
        ),
        (
            "nucleo_h7a3zi_q",
            "nucleo_h7a3zi_q: PlatformIO has no arduino framework for this board, found cmsis, stm32cube, zephyr; "
            "choose another board, or --format c or cmake",
        ),
    ],
)
def test_a_board_that_cannot_be_is_refused(board: str | None, message: str, tmp_path: Path) -> None:
    """By the command line: one line, exit code 2, and nothing written."""
    model, place = ROOT / "examples" / "sine" / "sine.tflite", tmp_path / "out"
    named = ("--board", board) if board else ()
    assert complaint("compile", model, "--format", "platformio", "--output", place, *named) == message
    assert not place.exists()


def test_compiling_again_replaces_what_platformio_built(tmp_path: Path) -> None:
    """Only in a project of ours, and only its folder of builds."""
    built = tmp_path / "project" / ".pio" / "build" / "firmware.elf"
    for _ in range(2):
        compiled("uno").write(tmp_path / "project")
        assert not built.exists()
        built.parent.mkdir(parents=True)
        built.touch()
    (tmp_path / "project" / "src" / "mine.cpp").touch()
    with pytest.raises(OutputError, match=r"found src/mine\.cpp;"):
        compiled("uno").write(tmp_path / "project")
    shutil.copytree(tmp_path / "project" / ".pio", tmp_path / "other" / ".pio")
    with pytest.raises(OutputError, match=r"firmware\.elf"):
        compiled("uno").write(tmp_path / "other")


@pytest.mark.parametrize(("board", "name"), [("uno", "digits"), ("uno", "sine"), ("megaatmega2560", "digits")])
def test_platformio_builds_the_project(board: str, name: str, core_folder: Path, tmp_path: Path) -> None:
    """In the emulated board the application prints the NumPy reference's outputs."""
    model = load(ROOT / "examples" / name / f"{name}.tflite")
    compile_model(model, target.load(board), name, form="platformio").write(tmp_path / "project")
    pio_run(tmp_path / "project", core_folder)
    elf = tmp_path / "project" / ".pio" / "build" / board / "firmware.elf"
    assert_prints_the_reference(serial_output(elf, target.load(board).mcu.lower()), model)
