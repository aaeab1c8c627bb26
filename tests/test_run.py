"""`tinygen run`: real projects, built with their own tools, in every emulator and over a serial port."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serial

from tests.pio import make_core_folder
from tinygen import reference, target
from tinygen.cli import main
from tinygen.driver import compile_model, load
from tinygen.errors import FirmwareError, TargetError, ToolError
from tinygen.quant import Numerics
from tinygen.run import build, cortex_m, emulator, image, qemu, serial_port, session
from tinygen.run.link import Link
from tinygen.run.project_folder import read_project
from tinygen.run.registers import Registers
from tinygen.run.session import Session
from tinygen.run.uarts import UARTS
from tinygen.target import Region, Step, Target
from tinygen.verify.samples import random_samples

EXAMPLES = Path(__file__).parent.parent / "examples"
QEMU, UNICORN = "mps2-an386", "bluepill_f103c8"
MAIN = """\
#include "tg_board.h"
#include "tg_protocol.h"
static volatile uint32_t sink;
int main(void);
{head}
int main(void)
{{
    tg_board_start();
    tg_protocol_start();
    {body}
    for (;;) {{
        tg_protocol_poll();
    }}
}}
"""
RECURSION = "uint32_t deeper(uint32_t n); uint32_t deeper(uint32_t n) { sink = n; return deeper(n + 1) + sink; }"


class Projects:
    """CMake projects of the digits example, one a board; a test may change a file, which it then gets back."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, board: str) -> Path:
        """The project for `board`, made when it is first asked for."""
        folder = self._root / board
        if not folder.exists():
            model = load(EXAMPLES / "digits" / "digits.tflite")
            compile_model(model, target.load(board), form="cmake").write(folder)
        return folder

    def elf(self, board: str) -> Path:
        """Its firmware, up to date."""
        return build.build(read_project(self.folder(board)), "bare")

    @contextmanager
    def changed(self, board: str, path: str, *edits: tuple[str, str]) -> Iterator[Path]:
        """The project with the first of each pair replaced by the second, or the file by `edits` of one empty text."""
        file = self.folder(board) / path
        before = text = file.read_text("utf-8")
        for old, new in edits:
            assert not old or text.count(old) == 1, old
            text = text.replace(old, new) if old else new
        try:
            file.write_text(text, "utf-8")
            yield self.folder(board)
        finally:
            file.write_text(before, "utf-8")

    def doing(self, board: str, body: str, head: str = "") -> Any:
        """The project whose program does `body` after it has greeted."""
        return self.changed(board, "firmware/main.c", ("", MAIN.format(head=head, body=body)))


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Projects:
    return Projects(tmp_path_factory.mktemp("projects"))


@pytest.fixture(scope="module")
def core_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_core_folder(tmp_path_factory.mktemp("core"))


@pytest.fixture
def platformio(core_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PlatformIO works in a folder of its own, without a network."""
    for name, value in (
        ("CORE_DIR", str(core_folder)),
        ("SETTING_ENABLE_TELEMETRY", "no"),
        ("DISABLE_UPGRADE_CHECK", "true"),
    ):
        monkeypatch.setenv(f"PLATFORMIO_{name}", value)


def tinygen(*arguments: object, code: int = 0) -> tuple[str, str]:
    """What the command line prints in this process, on both outputs; it must end with `code`."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["tinygen", *map(str, arguments)])
        try:
            main()
            found: object = 0
        except SystemExit as done:
            found = done.code
    assert found == code, out.getvalue() + err.getvalue()
    return out.getvalue(), err.getvalue()


def as_json(*arguments: object, code: int = 0) -> Any:
    """The JSON object that a command prints, the only thing on standard output."""
    return json.loads(tinygen(*arguments, "--json", code=code)[0])


def says_no(*arguments: object, code: int = 1) -> str:
    """The one line, the same in JSON, with which a run ends whose answer is no."""
    said, complained = tinygen(*arguments, "--json", code=code)
    (line,) = complained.splitlines()
    assert json.loads(said) == {"errors": [line.removeprefix("tinygen: ")]}
    return line.removeprefix("tinygen: ")


def complaint(*arguments: object) -> str:
    """The one line that a wrong request gets."""
    return says_no(*arguments, code=2)


def start(board: Target, elf: Path, limit_seconds: float = 10) -> Link:
    """The program in the emulator of that board."""
    return emulator.start(emulator.choose(board), board, elf, limit_seconds)


def left_over(word: str) -> list[str]:
    """The command lines of running processes with that word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if word in text and int(path.parent.name) != os.getpid():
            found.append(text)
    return found


# ---- It works ----


@pytest.mark.parametrize(
    ("board", "name"), [(QEMU, "QEMU"), ("bbcmicrobit", "QEMU"), (UNICORN, "Unicorn"), ("nucleo_f446re", "Unicorn")]
)
def test_the_firmware_equals_the_reference(board: str, name: str, projects: Projects) -> None:
    folder = projects.folder(board)
    found = as_json("run", folder, "--samples", 3)
    assert found["same"] and found["difference"] is None
    assert (found["samples"], found["elements"], found["board"], found["emulator"]) == (3, 30, board, name)
    assert (
        found["vendor"] == "tinygen"
        and found["port"] is None
        and found["correct"] is None
        and found["accuracy"] is None
    )
    assert len(found["microseconds"]) == 3 and 0 < found["microseconds_min"] <= found["microseconds_median"]
    assert len(found["layers"]) == 7 and all(layer["cycles"] > 0 for layer in found["layers"])
    assert found["layers"][0]["layer"] == "operator 0 CONV_2D: 1x8x8x1 -> 1x8x8x8"
    assert sum(layer["cycles"] for layer in found["layers"]) <= found["cycles"]
    assert left_over(str(folder)) == []


def test_data_of_ones_own(projects: Projects, tmp_path: Path) -> None:
    with np.load(EXAMPLES / "digits" / "test.npz") as file:
        np.savez(tmp_path / "some.npz", x=file["x"][:40], y=file["y"][:40])
    done, _ = tinygen("run", projects.folder(UNICORN), "--emulator", "--inputs", tmp_path / "some.npz")
    lines = done.splitlines()
    assert lines[0] == f"bit-exact: the firmware for {UNICORN} in Unicorn = NumPy reference"
    assert lines[1] == "40 samples, 400 elements compared"
    correct = int(lines[2].split("(")[1].split()[0])
    assert lines[2] == f"accuracy {correct / 40:.4f} ({correct} of 40 labels)" and correct > 35
    assert lines[3].endswith("; times and cycles are those of Unicorn on this computer, not the board's")
    assert [line.split(":")[0] for line in lines if line.startswith("operator")][-1] == "operator 7 SOFTMAX"


def test_the_real_chips_cycles_on_an_uno(platformio: None, tmp_path: Path) -> None:
    tinygen("compile", EXAMPLES / "sine" / "sine.tflite", "--board", "uno", "--output", tmp_path / "p")
    first, second = (as_json("run", tmp_path / "p") for _ in range(2))
    assert first["same"] and first["emulator"] == "simavr" and first["elements"] == 5
    assert first["cycles"] == second["cycles"] and first["microseconds"] == second["microseconds"]
    assert abs(first["microseconds"][-1] * 16 - first["cycles"]) < 1000
    assert "simavr counts the cycles of the real chip" in tinygen("run", tmp_path / "p")[0]


def test_a_bare_environment_of_platformio(platformio: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = EXAMPLES / "digits" / "digits.tflite"
    tinygen("compile", model, "--board", "nucleo_l4r5zi", "--output", tmp_path / "p")
    monkeypatch.chdir(tmp_path)
    assert as_json("run", "p", "--samples", 1)["same"], "a folder named from where one is"
    assert (tmp_path / "p" / ".pio" / "build" / "nucleo_l4r5zi_bare" / "firmware.elf").is_file()
    message = complaint("run", tmp_path / "p", "--env", "elsewhere")
    assert message.startswith(f"{tmp_path / 'p'}: the project does not build, found UnknownEnvNamesError: ")


def test_a_program_of_ones_own_is_not_built(projects: Projects, tmp_path: Path) -> None:
    elf = tmp_path / "mine.elf"
    elf.write_bytes(projects.elf(QEMU).read_bytes())
    with projects.changed(QEMU, "firmware/main.c", ("", "#error never compiled\n")) as folder:
        assert as_json("run", folder, "--elf", elf, "--samples", 1)["same"]
        message = complaint("run", folder)
    assert message.startswith(f"{folder}: the project does not build, found ") and "never compiled" in message


def test_platformio_without_a_network(tmp_path: Path) -> None:
    says = "Processing board_bare\nPlatform Manager: Installing ststm32 @ ^19.0.0\nHTTPClientError: \n"
    with pytest.raises(
        ToolError, match=r"cannot download .*, found Platform Manager: Installing ststm32 .* --format cmake"
    ):
        build._run([sys.executable, "-c", f"print({says!r}); raise SystemExit(1)"], tmp_path)


# ---- The answer is no ----


def test_outputs_that_differ(projects: Projects) -> None:
    change = ("digits_invoke();\n}", "digits_invoke();\n    ((int8_t *)(uintptr_t)digits_output_0())[3] ^= 1;\n}")
    with projects.changed(UNICORN, "firmware/tg_model.h", change) as folder:
        done, _ = tinygen("run", folder, code=1)
        found = as_json("run", folder, code=1)
    difference = found["difference"]
    assert not found["same"] and found["samples"] == 1 and found["elements"] == 0
    assert (difference["sample"], difference["output"], difference["element"]) == (0, 0, [0, 3])
    assert int(difference["found"]) == int(difference["expected"]) ^ 1 and difference["differing"] == 1
    assert done.splitlines()[:2] == [
        "DIFFERENT",
        f"the firmware for {UNICORN} in Unicorn: the firmware differs from the NumPy reference in sample 0, output "
        f"0[0][3]: found {difference['found']}, expected {difference['expected']} (1 of 10 elements differ)",
    ]


def test_answers_that_are_wrong(projects: Projects) -> None:
    with projects.changed(QEMU, "firmware/tg_protocol.c", ('"m-output-#-"', '"m-outptu-#-"')) as folder:
        message = says_no("run", folder)
    assert message.startswith(f"{QEMU}: wrong answer to outputs, found 'm-outptu-0-")
    assert message.endswith("', expected lines m-output-I-HEX")


@pytest.mark.parametrize("board", [QEMU, UNICORN])
def test_a_firmware_that_hangs(board: str, projects: Projects) -> None:
    with projects.doing(board, "while (tg_board_read() < 0) { } for (;;) { ++sink; }") as folder:
        begin = time.monotonic()
        message = says_no("run", folder, "--timeout", 4)
        assert time.monotonic() - begin < 30
        assert left_over(str(folder)) == []
    if board == QEMU:
        assert message == f"{QEMU}: no answer to 'name' within 4 s, found nothing"
    else:
        assert message == f"{UNICORN}: the emulated firmware hangs, found no look at its serial port for 4 s"


def test_a_firmware_that_says_nothing(projects: Projects) -> None:
    start = ("    tg_protocol_start();\n", "")
    with projects.changed(UNICORN, "firmware/main.c", start) as folder:
        message = says_no("run", folder, "--timeout", 1)
    assert message == f"{UNICORN}: no answer to the reset within 1 s, found nothing"


ENDS = (
    (UNICORN, "*(volatile uint8_t *)0x20005000 = 1;", "write of 1 bytes to 0x20005000, which is not RAM, at 0x0800"),
    (UNICORN, "*(volatile uint8_t *)0x08000000 = 1;", "write of 1 bytes to 0x08000000, which is not RAM, at 0x0800"),
    (UNICORN, "sink = *(volatile uint16_t *)0x08010000;", "read of 2 bytes from 0x08010000, which is no memory, at 0x"),
    (UNICORN, "((void (*)(void))0x20000101)();", "execution of 0x20000100, which is not flash, at 0x20000100"),
    (UNICORN, "sink = deeper(1);", "stack overflow, at 0x0800"),
    (UNICORN, "__builtin_trap();", "Invalid instruction (UC_ERR_INSN_INVALID), at 0x0800"),
)


@pytest.mark.parametrize(("board", "body", "message"), ENDS, ids=lambda value: value[:30])
def test_a_fault_ends_the_emulated_run(board: str, body: str, message: str, projects: Projects) -> None:
    with projects.doing(board, body, RECURSION) as folder:
        said = says_no("run", folder)
    assert said.startswith(f"{board}: the emulated firmware faulted, found {message}"), said
    assert said.endswith((" in main()", " in deeper()")) != body.startswith("((void"), said


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("*(volatile uint32_t *)0x30000000 = 1;", "at 0x"),
        ("sink = deeper(1);", "stack overflow, status 0x"),
        ("__builtin_trap();", "at 0x"),
    ],
    ids=["wild access", "stack overflow", "undefined instruction"],
)
def test_a_fault_that_the_firmware_reports(body: str, message: str, projects: Projects) -> None:
    with projects.doing(QEMU, body, RECURSION) as folder:
        assert says_no("run", folder).startswith(f"{QEMU}: the firmware faulted, found {message}")
        assert left_over(str(folder)) == []


def test_an_emulator_that_ends(projects: Projects) -> None:
    """A fault in a fault's handler is a lockup, and QEMU gives up."""
    vectors = "*(volatile uint32_t *)0xE000ED08 = 0x30000000; __builtin_trap();"
    with projects.doing(QEMU, vectors) as folder:
        message = says_no("run", folder)
        assert left_over(str(folder)) == []
    assert message.startswith(f"{QEMU}: the emulator ended, found exit code -6: qemu"), message


# ---- The request is wrong ----


def test_folders_that_are_no_projects(projects: Projects, tmp_path: Path) -> None:
    assert complaint("run", tmp_path / "none") == f"{tmp_path / 'none'}: no such folder"
    assert complaint("run", tmp_path).startswith(f"{tmp_path}: not a project of tinygen: it has no tinygen.json; make")
    (tmp_path / "tinygen.json").write_text('{"name": "digits"}')
    expected = f"{tmp_path / 'tinygen.json'}: cannot be read, found KeyError: 'format'; generate the project anew"
    assert complaint("run", tmp_path) == expected


def test_projects_that_cannot_be_run(tmp_path: Path) -> None:
    model = EXAMPLES / "digits" / "digits.tflite"
    for name, options in {
        "c": ["--format", "c", "--board", UNICORN],
        "boardless": ["--format", "cmake"],
        "xtensa": ["--format", "cmake", "--board", "esp32dev"],
        "usb": ["--board", "leonardo"],
    }.items():
        tinygen("compile", model, *options, "--output", tmp_path / name)
    keeps = "the project keeps no model to compare with, found a project of format c"
    board = "make one for a board with --format platformio or cmake"
    assert complaint("run", tmp_path / "c") == f"{tmp_path / 'c' / 'tinygen.json'}: {keeps}; {board}"
    remedy = "make one with --format platformio or cmake, or give --elf FILE"
    has_none = f"{tmp_path / 'c'}: a project of format c has no firmware; {remedy}"
    assert complaint("run", tmp_path / "c", "--pty") == has_none
    boardless = f"{tmp_path / 'boardless'}: the project is for no board; make one for a board: tinygen compile MODEL"
    assert complaint("run", tmp_path / "boardless", "--pty").startswith(boardless)
    with_port = "run it on a board, with --port PORT"
    none = "esp32dev: no emulator for this board, found none has its core, xtensa-lx6"
    assert complaint("run", tmp_path / "xtensa", "--pty") == f"{none}; {with_port}"
    usb = "leonardo: no emulator for this board: simavr lacks USB, which is its serial port under Arduino"
    assert complaint("run", tmp_path / "usb") == f"{usb}; {with_port}"


def test_another_model(projects: Projects) -> None:
    folder = projects.folder(QEMU)
    model = folder / "model" / "digits.tflite"
    before = model.read_bytes()
    try:
        model.write_bytes((EXAMPLES / "sine" / "sine.tflite").read_bytes())
        message = complaint("run", folder)
    finally:
        model.write_bytes(before)
    assert message.startswith(f"{model}: not the model that the project was made from, found SHA-256 ")
    assert message.endswith("...; generate the project anew")


def test_options_that_contradict_each_other(projects: Projects) -> None:
    folder = projects.folder(QEMU)
    for options in (["--emulator"], ["--pty"], ["--elf", "x"], ["--env", "x"]):
        assert complaint("run", folder, "--port", "/dev/null", *options).startswith("--port is for a real board; ")
    expected = f"{folder}: --env is for projects of PlatformIO, found a project of format cmake"
    assert complaint("run", folder, "--env", "x") == expected
    expected = "--elf names a program, so there is none to build, found --env x"
    assert complaint("run", folder, "--elf", "x", "--env", "x") == expected


def test_files_and_ports_that_are_not_there(projects: Projects, tmp_path: Path) -> None:
    folder = projects.folder(QEMU)
    assert complaint("run", folder, "--elf", tmp_path / "no.elf") == f"{tmp_path / 'no.elf'}: no such file"
    text = tmp_path / "text.elf"
    text.write_text("text")
    assert complaint("run", folder, "--elf", text) == f"{text}: not an ELF file"
    message = complaint("run", folder, "--port", tmp_path / "tty")
    assert message.startswith(f"{tmp_path / 'tty'}: cannot open the port, found ") and "lists the ports" in message


def test_a_firmware_of_another_board(projects: Projects) -> None:
    elf, folder = projects.elf(QEMU), projects.folder(UNICORN)
    message = complaint("run", folder, "--elf", elf)
    assert message.startswith(f"{elf}: the firmware does not lie in the flash of the board, found ")


def test_tools_that_are_missing(projects: Projects, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elf = {board: projects.elf(board) for board in (QEMU, UNICORN)}
    monkeypatch.setattr(cortex_m, "unicorn", None)
    with pytest.raises(ToolError, match=r"emulation is not installed; pip install 'tinygen\[emulate\]'"):
        start(target.load(UNICORN), elf[UNICORN])
    monkeypatch.setattr(image, "ELFFile", None)
    with pytest.raises(ToolError, match=r"emulation is not installed; pip install 'tinygen\[emulate\]'"):
        image.read_image(elf[UNICORN])
    monkeypatch.setattr(serial_port, "serial", None)
    with pytest.raises(ToolError, match=r"pyserial is not installed; pip install 'tinygen\[serial\]'"):
        serial_port.SerialPort("/dev/null")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="qemu-system-arm not found; install it, on Debian: apt-get install qemu"):
        qemu.Qemu(target.load(QEMU), elf[QEMU])
    with pytest.raises(ToolError, match="cmake not found; install it, on Debian: apt-get install cmake make"):
        projects.elf(QEMU)


# ---- The serial port for other programs ----


@contextmanager
def terminal(folder: Path, *options: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The path of the pseudo-terminal of an emulated board, and the process behind it."""
    arguments = ["run", str(folder), "--pty", *map(str, options)]
    command = [sys.executable, "-c", "from tinygen.cli import main; main()", *arguments, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], 60)[0]
            yield json.loads(process.stdout.readline())["pty"], process
        finally:
            process.kill()


def ask(port: serial.Serial, command: bytes) -> bytes:
    """The whole reply to `command`."""
    port.write(command)
    return bytes(port.read_until(b"m-ready\r\n"))


@pytest.mark.parametrize(("board", "ended_by"), [(QEMU, signal.SIGTERM), (UNICORN, signal.SIGINT)])
def test_a_session_on_the_terminal(board: str, ended_by: signal.Signals, projects: Projects) -> None:
    with terminal(projects.folder(board)) as (path, process), serial.Serial(path, 115200, timeout=20) as port:
        port.write(b"%")
        port.timeout = 0.5
        while port.read(1000):  # the greeting, if it came after the port was opened, and the error
            pass
        port.timeout = 20
        assert ask(port, b"name%") == b"m-name-dut-[tinygen]\r\nm-ready\r\n"
        assert ask(port, b"db load 64%") == b"m-[Expecting 64 bytes]\r\nm-ready\r\n"
        assert ask(port, b"db " + b"80" * 31 + b"%") == b"m-ready\r\n"
        assert ask(port, b"db " + b"80" * 33 + b"%") == b"m-load-done\r\nm-ready\r\n"
        assert ask(port, b"infer 1 0%").startswith(b"m-warmup-start-0\r\nm-warmup-done\r\nm-infer-start-1\r\nm-lap-us-")
        graph = load(EXAMPLES / "digits" / "digits.tflite").graph
        expected = reference.run(graph, random_samples(graph, 1)[0], Numerics.TFLITE)[graph.outputs[0]]
        assert ask(port, b"outputs%") == f"m-output-0-{expected.tobytes().hex()}\r\nm-ready\r\n".encode()
        process.send_signal(ended_by)
        assert process.wait(20) == 0
    assert left_over(str(projects.folder(board))) == []


def test_no_emulator_outlives_a_killed_run(projects: Projects) -> None:
    folder = projects.folder(QEMU)
    with terminal(folder) as (path, process):
        with serial.Serial(path, 115200, timeout=20) as port:
            assert ask(port, b"name%").endswith(b"m-ready\r\n")
        assert any("qemu" in line for line in left_over(str(folder)))
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while left_over(str(folder)) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert left_over(str(folder)) == []


def test_a_board_at_a_serial_port(projects: Projects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "BOOT_SECONDS", 0.3)
    folder = projects.folder(UNICORN)
    with terminal(folder) as (path, _process):
        found = as_json("run", folder, "--port", path, "--samples", 2)
        assert found["same"] and found["emulator"] is None and found["port"] == path
        again, _ = tinygen("run", folder, "--port", path, "--samples", 1)
    assert again.startswith(f"bit-exact: the board at {path} = NumPy reference\n1 samples, 10 elements")


def test_a_terminal_ends_with_its_board(projects: Projects) -> None:
    with projects.doing(QEMU, "while (tg_board_read() != 'f') { } __builtin_trap();") as folder:
        with terminal(folder) as (path, process), serial.Serial(path, 115200, timeout=20) as port:
            port.write(b"f")
            assert process.wait(20) == 1
            assert process.stderr is not None
            assert process.stderr.read().startswith(f"tinygen: {QEMU}: the firmware faulted, found at 0x")
        assert left_over(str(folder)) == []


# ---- The parts ----


class Script:
    """A link that says what is written down, a piece at a time, whatever it is asked."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces, self.written = list(pieces), b""

    def read(self, timeout: float) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        if not piece:
            time.sleep(timeout)
        return piece

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None: ...


GREETING = b"m-timestamp-mode-performance\r\nm-lap-us-1\r\nm-init-done\r\nm-ready\r\n"


def test_lines_come_in_pieces() -> None:
    link = Script(b"\x00\xff\r\n", GREETING[:40], GREETING[40:] + b"m-name-", b"dut-[me]\r", b"\nm-ready\r\nm-x")
    talk = Session(link, "here", 1)
    talk.greet(is_reset=True)
    assert talk.name() == "me" and link.written == b"name%"


def test_inputs_go_in_parts_of_31_bytes() -> None:
    ready = b"m-ready\r\n"
    link = Script(b"m-[Expecting 70 bytes]\r\n" + ready, ready, ready, b"m-load-done\r\n" + ready)
    Session(link, "here", 1).load(bytes(range(70)))
    parts = [bytes(range(start, min(start + 31, 70))).hex() for start in (0, 31, 62)]
    assert link.written.decode() == "db load 70%" + "".join(f"db {part}%" for part in parts)


def test_times_and_cycles() -> None:
    laps = b"m-infer-start-1\r\nm-lap-us-4294967290\r\nm-lap-us-10\r\nm-infer-done\r\nm-results-[1]\r\nm-ready\r\n"
    talk = Session(Script(laps, b"m-layer-0-5\r\nm-layer-1-7\r\nm-cycles-14\r\nm-ready\r\n"), "here", 1)
    assert talk.infer() == 16
    assert talk.cycles() == session.Cycles(14, (5, 7))


WRONG = (
    (
        b"m-ready\r\n",
        lambda talk: talk.greet(is_reset=True),
        "wrong answer to the reset, found nothing, expected m-init",
    ),
    (
        b"e-[No]\r\nm-ready\r\n",
        Session.name,
        r"wrong answer to name, found 'e-\[No\]', expected m-name-dut-\[\(\.\*\)\]",
    ),
    (
        b"e-[Big]\r\nm-ready\r\n",
        lambda talk: talk.load(b"1"),
        r"wrong answer to db load, found 'e-\[Big\]', expected m-\[",
    ),
    (b"m-lap-us-1\r\nm-ready\r\n", Session.infer, "wrong answer to infer, found 'm-lap-us-1', expected two lines"),
    (b"m-output-1-00\r\nm-ready\r\n", lambda talk: talk.outputs([1]), "wrong answer to outputs, found 'm-output-1-00'"),
    (b"m-output-0-00\r\nm-ready\r\n", lambda talk: talk.outputs([2]), "found '1 bytes', expected 2 bytes"),
    (b"m-layer-1-7\r\nm-cycles-9\r\nm-ready\r\n", Session.cycles, "wrong answer to cycles, found 'm-layer-1-7 | m-cyc"),
    (b"\r\ne-[Fault: at 0x2]\r\n", Session.name, "here: the firmware faulted, found at 0x2"),
    (b"m-name-dut-[me]\r\nm-rea", Session.name, r"no answer to 'name' within 0.1 s, found 'm-name-dut-\[me\] | m-rea'"),
)


@pytest.mark.parametrize(("said", "action", "message"), WRONG, ids=[message[:30] for _, _, message in WRONG])
def test_replies_that_are_wrong(said: bytes, action: Any, message: str) -> None:
    with pytest.raises(FirmwareError, match=message.replace("|", r"\|")):
        action(Session(Script(said), "here", 0.1))


def test_a_reply_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_REPLY_BYTES", 1000)
    with pytest.raises(FirmwareError, match=r"here: a line without end, found 'x{120}'"):
        Session(Script(b"x" * 1001), "here", 1).name()
    with pytest.raises(FirmwareError, match=r"here: no end of the answer to 'name', found 'x{120}'"):
        Session(Script(*[b"x" * 300 + b"\n"] * 4), "here", 1).name()


def test_a_board_that_was_on_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "BOOT_SECONDS", 0.05)
    link = Script(b"", b"e-[Unknown command: half]\r\nm-ready\r\n", GREETING, b"", b"m-name-dut-[me]\r\nm-ready\r\n")
    talk = Session(link, "here", 1)
    talk.greet(is_reset=False)
    assert talk.name() == "me" and link.written == b"%name%"


def test_registers_keep_what_is_written() -> None:
    steps = [
        Step("A", 0x40000000, "on", wait=0x6),
        Step("B", 0x40000005, "ready", wait=0x80, value=0, bits=8),
        Step("C", 0x40000008, "there", wait=0x1),
        Step("C", 0x40000008, "and back", wait=0x1, value=0),
    ]
    sent: list[int] = []
    registers = Registers(steps, {0x40000010: lambda: 0x1FF}, {0x40000014: sent.append})
    registers.write(0x40000100, 4, 0x11223344)
    registers.write(0x40000101, 1, 0xAA)
    registers.write(0x40000102, 2, 0xBBCC)
    assert registers.read(0x40000100, 4) == 0xBBCCAA44 and registers.read(0x40000103, 1) == 0xBB
    registers.write(0x40000000, 4, 0x11)
    assert registers.read(0x40000000, 4) == 0x17
    registers.write(0x40000004, 4, 0xFFFFFFFF)
    assert registers.read(0x40000005, 1) == 0x7F and registers.read(0x40000004, 4) == 0xFFFF7FFF
    assert {registers.read(0x40000008, 4) for _ in range(2)} == {0, 1}
    assert registers.read(0x40000010, 1) == 0xFF
    registers.write(0x40000014, 1, 0x41)
    assert sent == [0x41]


def test_every_driver_has_its_uart() -> None:
    assert {board.bare.driver for board in target.load_all() if board.bare} <= set(UARTS)
    board = target.load(UNICORN)
    assert board.bare
    with pytest.raises(
        TargetError, match=f"{UNICORN}: the emulator lacks this UART, found abacus, expected cmsdk_uart"
    ):
        cortex_m.CortexM(board, replace(board.bare, driver="abacus"), image.Image(Path("x"), (), {}, ()), 1)


def greeting_of(board: Target, elf: Path) -> bytes:
    """What the firmware says in the emulator of that board."""
    said = b""
    with closing(start(board, elf)) as link:
        while not said.endswith(b"m-ready\r\n"):
            data = link.read(10)
            assert data, said
            said += data
    return said


def test_memory_ends_within_a_page(projects: Projects) -> None:
    """RAM of a few bytes less than whole pages: one byte more is none."""
    (ram,) = target.load(UNICORN).ram
    board = replace(target.load(UNICORN), ram=(replace(ram, bytes=ram.bytes - 256),))
    assert greeting_of(board, projects.elf(UNICORN)).endswith(GREETING[-24:])
    for address, message in ((0x20004EFF, ""), (0x20004F00, "write of 1 bytes to 0x20004f00, which is not RAM")):
        with projects.doing(UNICORN, f"*(volatile uint8_t *){address:#x} = 1; tg_protocol_start();"):
            elf = projects.elf(UNICORN)
        if message:
            with pytest.raises(FirmwareError, match=message):
                twice(board, elf)
        else:
            twice(board, elf)


def twice(board: Target, elf: Path) -> None:
    """The firmware greets two times."""
    with closing(start(board, elf)) as link:
        said = b""
        while said.count(b"m-ready") < 2:
            said += link.read(10)


def test_regions_that_touch_are_one() -> None:
    parts = [Region("b", 0x1800, 0x800), Region("a", 0x1000, 0x800), Region("c", 0x4000, 16)]
    assert cortex_m.joined(parts) == [Region("a", 0x1000, 0x1000), Region("c", 0x4000, 16)]


@pytest.mark.parametrize("board", ["nucleo_f030r8", "nucleo_h743zi"])
def test_time_goes_on_through_interrupts(board: str, projects: Projects) -> None:
    """Over many periods of SysTick."""
    place = target.load(board)
    assert place.bare
    period_seconds = (1 << 24) / place.bare.clock_hz
    with closing(start(place, projects.elf(board))) as link:
        clock = link._clock  # type: ignore[attr-defined]
        talk = Session(link, board, 10)
        talk.greet(is_reset=True)
        last = -1
        for _ in range(12):
            now = int(talk.ask("timestamp")[0].removeprefix("m-lap-us-"))
            seconds = clock.cycles() / place.bare.clock_hz
            assert last < now <= seconds * 1e6 and now > (seconds - 0.5) * 1e6
            last = now
            clock._worked_seconds += 0.7 * period_seconds
