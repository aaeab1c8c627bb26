"""Whole models on whole boards: the firmware of PlatformIO or CMake, in an emulator, equal to the reference.

Large models run on one board of each core; on all of them in the long form: pytest --long -n 2 tests/test_firmware.py
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serial

from tests.pio import make_core_folder, pio
from tests.test_run import terminal
from tinygen import reference, target
from tinygen.driver import Model, compile_model, load
from tinygen.quant import Numerics
from tinygen.run.firmware import emulated_firmware
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
    "nano33ble": ["digits", "kws"],
    "netduinoplus2": ["digits", "kws"],
    "nucleo_f446re": ["digits", "kws"],
    "nucleo_h743zi": ["digits", *LARGE],
    "nucleo_l4r5zi": ["digits", *LARGE],
    "pico": ["digits", *LARGE],
    "stm32vldiscovery": ["digits", "sine"],
    "uno": ["digits", "sine"],
    "megaatmega2560": ["digits", "sine"],
}
"""Boards, each with models that fit; PlatformIO has all of them."""
CMAKE = {
    "mps2-an385": ["digits", *LARGE],
    "mps2-an386": ["digits", "kws"],
    "mps2-an500": ["digits", "kws"],
    "mps2-an505": ["digits", *LARGE],
    "mps3-an547": ["digits", *LARGE],
}
"""Machines of QEMU that PlatformIO does not have: Cortex-M3, M4F, M7, M33, M55."""
SAMPLES = 2
LIMIT_SECONDS = 120
GARBAGE, BATCH = 10_000, 20


def cases(boards: dict[str, list[str]]) -> list[Any]:
    """Those of the suite, and in the long form all large models on all boards that have room for them."""
    short = [(board, model) for board, models in boards.items() for model in models]
    others = [(board, model) for board, models in boards.items() if "kws" in models for model in LARGE]
    small = "bluepill_f103c8"
    long = [case for case in others if case not in short and case[0] != small]
    return [*short, *(pytest.param(*case, marks=pytest.mark.long) for case in long)]


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


def reply(port: serial.Serial, command: bytes) -> bytes:
    """All that the board says to a command, to the line that ends every answer; what varies are times and cycles."""
    port.write(command + b"%")
    said = bytes(port.read_until(b"m-ready\r\n"))
    return re.sub(rb"(m-lap-us|m-layer-\d+|m-cycles)-\d+", rb"\1-N", said)


def wrong(argument: str, most: int, found: str, least: int = 1) -> list[str]:
    return [f"e-[{argument}: expected a number from {least} to {most}, found {found}]"]


def conversation(model: Model) -> list[tuple[str, list[str]]]:
    """Every command, good and bad, with the lines that answer it but for the last."""
    sample = random_samples(model.graph, 4)[3]
    tensor = model.graph.tensors[model.graph.outputs[0]]
    output = reference.run(model.graph, sample, Numerics.TFLITE)[tensor.id]
    values = (np.float32(tensor.scale) * (output.ravel() - np.float32(tensor.zero_point))).astype(np.float32)
    results = f"m-results-[{','.join(f'{value:.3f}' for value in values)}]"
    data = sample[0].tobytes()
    rows = ["-".join(f"{byte:02x}" for byte in data[i : i + 8]) for i in range(0, len(data), 8)]
    laps = ["m-lap-us-N", "m-lap-us-N", "m-infer-done", results]
    most, early, idle = 2**32 - 1, ["e-[db load N comes first]"], ["e-[infer comes first]"]
    return [
        ("name", ["m-name-dut-[tinygen]"]),
        ("profile", ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[digits]"]),
        ("timestamp", ["m-lap-us-N"]),
        ("", ["e-[Unknown command: ]"]),
        ("names", ["e-[Unknown command: names]"]),
        ("x" * 81, ["e-[Command longer than 80 characters]"]),
        ("db 00", early),
        ("db print", early),
        ("results", idle),
        ("outputs", idle),
        ("cycles", idle),
        ("db load 0", wrong("db load", 64, "0")),
        ("db load 65", wrong("db load", 64, "65")),
        ("db load", wrong("db load", 64, "nothing")),
        ("db load 64", ["m-[Expecting 64 bytes]"]),
        ("db 0", ["e-[Odd number of hex digits: 1]"]),
        ("db 0g", ["e-[Not a hex digit: g]"]),
        (f"db {data[:31].hex()}", []),
        ("infer", ["e-[Input incomplete: 31 of 64 bytes]"]),
        (f"db {data[31:62].hex().upper()}", []),
        (f"db {data[62:].hex()}ff", ["m-load-done"]),
        ("db print", [f"m-buffer-{row}" for row in rows]),
        ("infer 0", wrong("infer N", most, "0")),
        ("infer 1 -1", wrong("infer W", most, "-1", 0)),
        ("infer 2 1", ["m-warmup-start-1", "m-warmup-done", "m-infer-start-2", *laps]),
        ("infer", ["m-warmup-start-10", "m-warmup-done", "m-infer-start-1", *laps]),
        ("results", [results]),
        ("outputs", [f"m-output-0-{output.tobytes().hex()}"]),
        ("cycles", [*(f"m-layer-{layer}-N" for layer in range(7)), "m-cycles-N"]),
    ]


def good(lines: list[str]) -> bool:
    return not any(line.startswith("e-") for line in lines)


def test_a_conversation_through_the_pseudo_terminal(tmp_path: Path) -> None:
    """Byte for byte; then garbage, which neither hangs nor breaks the board: each command gets one answer."""
    folder, rng = write_project("mps2-an386", "digits", "cmake", tmp_path / "project"), random.Random(0)
    with terminal(folder) as (path, _), serial.Serial(path, 115200, timeout=LIMIT_SECONDS) as port:
        assert port.read_until(b"m-init-done\r\nm-ready\r\n").startswith(b"m-timestamp-mode-performance\r\nm-lap-us-")
        for command, lines in conversation(load(model_file("digits"))):
            expected = "".join(f"{line}\r\n" for line in [*lines, "m-ready"])
            assert reply(port, command.encode("ascii")) == expected.encode("ascii"), command
        helped = reply(port, b"help").decode("ascii")
        assert all(
            command.split()[0] in helped for command, lines in conversation(load(model_file("digits"))) if good(lines)
        )
        for _ in range(GARBAGE // BATCH):
            port.write(b"".join(garbage(rng) + b"%" for _ in range(BATCH)))
            said = b""
            while said.count(b"m-ready\r\n") < BATCH:
                more = port.read(port.in_waiting or 1)
                assert more, said
                said += more
            assert reply(port, b"name") == b"m-name-dut-[tinygen]\r\nm-ready\r\n"
