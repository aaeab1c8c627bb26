"""The PlatformIO project: made for every board, built by PlatformIO itself offline, run in an emulator."""

from __future__ import annotations

import json
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.pio import make_core_folder, pio
from tests.small_models import two_convolutions
from tests.test_cli import complaint
from tinygen import target
from tinygen.driver import Compiled, Model, compile_model, load
from tinygen.errors import OutputError
from tinygen.frontend import tflite
from tinygen.project import environments
from tinygen.target import Target

ROOT = Path(__file__).parent.parent


def compiled(board: str) -> Compiled:
    """A small model as a project for that board."""
    data = two_convolutions()
    return compile_model(Model("net.tflite", data, tflite.read(data, "net")), target.load(board), form="platformio")


def boards() -> list[Target]:
    """The boards with a file that get a PlatformIO project."""
    return [board for board in target.load_all() if board.platformio.board and environments(board, "platformio")]


@pytest.fixture(scope="module")
def core_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_core_folder(tmp_path_factory.mktemp("core"))


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)
def test_every_board_gets_a_project(board: Target) -> None:
    result = compiled(board.name)
    ini = ConfigParser(interpolation=None)
    ini.read_string(result.files["platformio.ini"])
    names = board.platformio
    wanted = ["platformio", "env"]
    if "arduino" in names.frameworks:
        wanted.append(f"env:{names.board}")
        assert dict(ini[f"env:{names.board}"]) == {"framework": "arduino"}
        assert {"src/sketch.cpp", "lib/tg_board/tg_arduino.cpp"} <= set(result.files)
    if board.bare:
        wanted.append(f"env:{names.board}_bare")
        assert set(ini[wanted[-1]]) == {"board_build.ldscript", "build_unflags", "build_flags", "extra_scripts"}
        assert {"src/main.c", ini[wanted[-1]]["board_build.ldscript"], ini[wanted[-1]]["extra_scripts"]} <= set(
            result.files
        )
    assert ini.sections() == wanted
    assert ini["platformio"]["default_envs"] == wanted[2].removeprefix("env:")
    platform, _, version = ini["env"]["platform"].partition("@")
    assert platform == names.platform and version == f"^{target.platform_versions()[platform].split('.')[0]}.0.0"
    assert ini["env"]["board"] == names.board and ini["env"]["monitor_speed"] == "115200"
    assert json.loads(result.files["lib/net/library.json"])["name"] == "net"
    assert board.title in result.files["README.md"]
    assert {"lib/net/include/net.h", "lib/net/src/net.c", ".gitignore"} <= set(result.files)
    assert result.binaries == {"model/net.tflite": two_convolutions()}


def test_there_are_boards_enough() -> None:
    assert len(boards()) > 40


@pytest.mark.parametrize(
    ("board", "message"),
    [
        (None, "a platformio project is for one board; add --board BOARD; `tinygen boards` lists them"),
        (
            "mps2-an386",
            "mps2-an386: PlatformIO does not have this board; choose another board, or --format c or cmake",
        ),
        (
            "1bitsy_stm32f415rgt",
            "1bitsy_stm32f415rgt: PlatformIO has no Arduino framework for this board, and tinygen no start-up, found "
            "libopencm3, cmsis, spl, stm32cube; choose another board, or --format c or cmake",
        ),
    ],
)
def test_a_board_that_cannot_be_is_refused(board: str | None, message: str, tmp_path: Path) -> None:
    """By the command line: one line, exit code 2, and nothing written."""
    model, place = ROOT / "examples" / "sine" / "sine.tflite", tmp_path / "out"
    named = ("--board", board) if board else ()
    assert complaint("compile", model, "--format", "platformio", "--output", place, *named) == message
    assert not place.exists()


@pytest.mark.parametrize("builds", [".pio", "build"])
def test_compiling_again_replaces_what_was_built(builds: str, tmp_path: Path) -> None:
    """Only in a project of ours, and only the folders of builds."""
    built = tmp_path / "project" / builds / "firmware.elf"
    for _ in range(2):
        compiled("uno").write(tmp_path / "project")
        assert not built.exists()
        built.parent.mkdir(parents=True)
        built.touch()
    (tmp_path / "project" / "src" / "mine.cpp").touch()
    with pytest.raises(OutputError, match=r"found src/mine\.cpp;"):
        compiled("uno").write(tmp_path / "project")
    built.rename(tmp_path / "other.elf")
    (tmp_path / "other" / builds).mkdir(parents=True)
    (tmp_path / "other.elf").rename(tmp_path / "other" / builds / "firmware.elf")
    with pytest.raises(OutputError, match=r"firmware\.elf"):
        compiled("uno").write(tmp_path / "other")


@pytest.mark.parametrize("board", ["netduinoplus2", "stm32vldiscovery", "bbcmicrobit"])
def test_the_self_test_passes_on_the_emulated_board(board: str, core_folder: Path, tmp_path: Path) -> None:
    """`pio test`, with real models; then with one wrong byte among the expected ones."""
    place = target.load(board)
    name = "sine" if board == "stm32vldiscovery" else "digits"
    project = tmp_path / "project"
    compile_model(load(ROOT / "examples" / name / f"{name}.tflite"), place, form="platformio").write(project)
    command = ("test", "-e", f"{place.platformio.board}_bare")
    said = pio(core_folder, project, *command)
    assert "4 test cases: 4 succeeded" in said, said
    vectors = project / "test" / f"test_{name}" / "vectors.h"
    first, *others = vectors.read_text().split("    {\n")
    byte = int(others[2].strip()[2:4], 16)
    others[2] = others[2].replace(f"0x{byte:02x}", f"0x{byte ^ 1:02x}", 1)
    vectors.write_text("    {\n".join([first, *others]))
    said = pio(core_folder, project, *command, code=1)
    assert "4 test cases: 1 failed, 3 succeeded" in said and "vector_2:FAIL: outputs differ" in said, said
