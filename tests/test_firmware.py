"""Whole models on whole boards: the firmware of PlatformIO or CMake, in an emulator, equal to the reference."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.pio import make_core_folder, pio
from tinygen import target
from tinygen.driver import compile_model, load
from tinygen.run.firmware import emulated_firmware
from tinygen.run.link import Link
from tinygen.run.project_folder import compile_again, read_project
from tinygen.run.session import Session
from tinygen.run.trial import Trial, try_out
from tinygen.verify.samples import random_samples

ROOT = Path(__file__).parent.parent
EXAMPLES = {name: ROOT / "examples" / name / f"{name}.tflite" for name in ("digits", "sine")}
LARGE = {
    "ad": "ad01_int8.tflite",
    "kws": "kws_ref_model.tflite",
    "ic": "pretrainedResnet_quant.tflite",
    "vww": "vww_96_int8.tflite",
}
"""The MLPerf Tiny models, where a folder of further models has them."""
PLATFORMIO = {
    "bbcmicrobit": ["digits", "sine"],
    "bluepill_f103c8": ["digits", "kws"],
    "nano33ble": ["digits", "ad", "kws", "ic", "vww"],
    "netduinoplus2": ["digits", "ad", "kws", "ic", "vww"],
    "nucleo_f446re": ["digits", "ad", "kws", "ic", "vww"],
    "nucleo_h743zi": ["digits", "ad", "kws", "ic", "vww"],
    "nucleo_l4r5zi": ["digits", "ad", "kws", "ic", "vww"],
    "pico": ["digits", "ad", "kws", "ic", "vww"],
    "stm32vldiscovery": ["digits", "sine"],
    "uno": ["digits", "sine"],
    "megaatmega2560": ["digits", "sine"],
}
"""Boards, each with the models that fit; PlatformIO has all of them."""
CMAKE = {
    "mps2-an385": ["digits", *LARGE],
    "mps2-an386": ["digits", *LARGE],
    "mps2-an500": ["digits", *LARGE],
    "mps2-an505": ["digits", *LARGE],
    "mps3-an547": ["digits", *LARGE],
}
"""Machines of QEMU that PlatformIO does not have: Cortex-M3, M4F, M7, M33, M55."""
SAMPLES = 2
LIMIT_SECONDS = 120
GARBAGE = 10_000


def cases(boards: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(board, model) for board, models in boards.items() for model in models]


def model_file(name: str) -> Path:
    """The model; skips where it is not at hand."""
    if name in EXAMPLES:
        return EXAMPLES[name]
    path = Path(os.environ.get("TINYGEN_MODELS", "/nowhere")) / LARGE[name]
    if not path.is_file():
        pytest.skip("TINYGEN_MODELS names no folder with this model")
    return path


def write_project(board: str, name: str, form: str, folder: Path) -> Path:
    compile_model(load(model_file(name)), target.load(board), name, form=form).write(folder)
    return folder


def tried(folder: Path, elf: Path) -> Trial:
    compiled = compile_again(read_project(folder))
    with emulated_firmware(read_project(folder), elf, None, LIMIT_SECONDS) as firmware:
        session = Session(firmware.link, firmware.where, LIMIT_SECONDS)
        session.greet(is_reset=True)
        return try_out(session, compiled, random_samples(compiled.model.graph, 2 + SAMPLES)[2:])


def assert_equal(trial: Trial) -> None:
    assert trial.difference is None, str(trial.difference)
    assert trial.samples == SAMPLES and trial.elements > 0


@pytest.fixture(scope="module")
def core_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_core_folder(tmp_path_factory.mktemp("core"))


def pio_elf(board: str, folder: Path, core_folder: Path) -> Path:
    """The firmware that PlatformIO builds of a project: without a framework, or on AVR under Arduino."""
    place = target.load(board)
    environment = f"{place.platformio.board}_bare" if place.bare else place.platformio.board
    pio(core_folder, folder, "run", "-e", environment)
    return folder / ".pio" / "build" / environment / "firmware.elf"


def cmake_elf(folder: Path) -> Path:
    """The firmware that CMake builds of a project."""
    configure = ["cmake", "-S", ".", "-B", "build", "-DCMAKE_TOOLCHAIN_FILE=toolchain.cmake"]
    for command in (configure, ["cmake", "--build", "build"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "build" / "firmware.elf"


@pytest.mark.parametrize(("board", "name"), cases(PLATFORMIO))
def test_platformio_builds_firmware_equal_to_the_reference(
    board: str, name: str, core_folder: Path, tmp_path: Path
) -> None:
    folder = write_project(board, name, "platformio", tmp_path / "project")
    assert_equal(tried(folder, pio_elf(board, folder, core_folder)))


@pytest.mark.parametrize(("board", "name"), cases(CMAKE))
def test_cmake_builds_firmware_equal_to_the_reference(board: str, name: str, tmp_path: Path) -> None:
    folder = write_project(board, name, "cmake", tmp_path / "project")
    assert_equal(tried(folder, cmake_elf(folder)))


def garbage(rng: random.Random) -> bytes:
    """Bytes of any kind, or words of the protocol in a wrong order, without the sign that ends a command."""
    if rng.random() < 0.5:
        return rng.randbytes(rng.choice((0, 1, 7, 80, 81, 300))).replace(b"%", b"")
    words = (b"db", b"load", b"print", b"infer", b"results", b"outputs", b"cycles", b"1", b"-1", b"99999999999", b"f0")
    return b" ".join(rng.choice(words) for _ in range(rng.randrange(1, 5)))


def answer(link: Link, command: bytes) -> bytes:
    """All that the board says to a command, to the line that ends every answer."""
    link.write(command + b"%")
    said, deadline = b"", time.monotonic() + LIMIT_SECONDS
    while not said.endswith(b"m-ready\r\n"):
        assert time.monotonic() < deadline, (command, said)
        said += link.read(1)
    return said


def test_garbage_neither_hangs_nor_breaks_an_emulated_board(tmp_path: Path) -> None:
    """Every command gets one answer, and now and then one of the firmware's own is asked for."""
    folder, rng = write_project("mps2-an386", "sine", "cmake", tmp_path / "project"), random.Random(0)
    with emulated_firmware(read_project(folder), cmake_elf(folder), None, LIMIT_SECONDS) as firmware:
        Session(firmware.link, firmware.where, LIMIT_SECONDS).greet(is_reset=True)
        for number in range(GARBAGE):
            assert answer(firmware.link, garbage(rng)).count(b"m-ready") == 1
            if number % 500 == 0:
                assert answer(firmware.link, b"name") == b"m-name-dut-[tinygen]\r\nm-ready\r\n"
