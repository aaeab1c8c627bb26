"""The command line as its user meets it: output, exit codes, JSON, messages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder
from tests.small_models import convolution, two_convolutions


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file in a folder of its own."""
    path = tmp_path / "net.tflite"
    path.write_bytes(two_convolutions())
    return path


def tinygen(*arguments: object, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line; it must end with `code` and never show a traceback."""
    command = [sys.executable, "-m", "tinygen", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


def as_json(*arguments: object, code: int = 0) -> Any:
    """The JSON object that a command prints, the only thing on standard output."""
    return json.loads(tinygen(*arguments, "--json", code=code).stdout)


def complaint(*arguments: object) -> str:
    """The one line that a wrong request gets."""
    done = tinygen(*arguments, code=2)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, lines
    assert as_json(*arguments, code=2) == {"errors": [lines[0].removeprefix("tinygen: ")]}
    return lines[0].removeprefix("tinygen: ")


def test_compile_writes_a_folder(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "net"
    done = tinygen("compile", model, "--board", "bluepill_f103c8", "--format", "c", "--output", output)
    assert "net_invoke()" in done.stdout and "Blue Pill" in done.stdout
    names = sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
    expected = [
        "include/net.h",
        "include/tg_runtime.h",
        "src/net.c",
        "src/net_data.c",
        "src/net_data.h",
        "tinygen.json",
    ]
    assert names == expected
    manifest = json.loads((output / "tinygen.json").read_text("utf-8"))
    assert manifest["board"] == "bluepill_f103c8"
    assert manifest["cflags"] == ["-mcpu=cortex-m3", "-mthumb"]
    assert manifest["inputs"][0] | {"name": ""} == {
        "symbol": "net_input_0",
        "name": "",
        "shape": [1, 6, 5, 2],
        "dtype": "int8",
        "ctype": "int8_t",
        "bytes": 60,
        "scale": float(np.float32(0.02)),
        "zero_point": 4,
    }


@pytest.mark.parametrize(
    ("board", "form", "source"),
    [
        ((), "c", "src/my_net.c"),
        (("--board", "uno"), "platformio", "lib/my_net/src/my_net.c"),
        (("--board", "mps2-an386"), "cmake", "src/my_net.c"),
    ],
)
def test_compile_json_and_what_is_written_by_default(
    board: tuple[str, ...], form: str, source: str, model: Path
) -> None:
    done = tinygen("compile", model.name, "--json", "--name", "My Net!", *board, cwd=model.parent)
    facts = json.loads(done.stdout)
    assert facts["name"] == "my_net" and facts["output"] == f"my_net_{form}" and facts["format"] == form
    folder = model.parent / f"my_net_{form}"
    assert sorted(facts["files"]) == facts["files"] and (folder / source).is_file()
    if facts["model"]:
        assert (folder / facts["model"]).read_bytes() == model.read_bytes()


def test_compile_again_replaces_its_own_output(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    tinygen("compile", model, "--output", output, "--name", "first")
    tinygen("compile", model, "--output", output, "--name", "second")
    assert not (output / "src" / "first.c").exists() and (output / "src" / "second.c").exists()


def test_foreign_files_are_never_deleted(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    tinygen("compile", model, "--output", output)
    (output / "src" / "notes.txt").write_text("mine")
    message = complaint("compile", model, "--output", output)
    assert message == (
        f"{output}: output folder holds files that tinygen did not write, or that were changed since, "
        "found src/notes.txt; choose another folder with --output, or move them away"
    )
    assert (output / "src" / "notes.txt").read_text() == "mine"


def test_a_file_that_its_user_changed_is_never_overwritten(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    tinygen("compile", model, "--output", output)
    (output / "src" / "net.c").write_text("/* mine now */\n")
    message = complaint("compile", model, "--output", output)
    assert "or that were changed since, found src/net.c; choose another folder" in message
    assert (output / "src" / "net.c").read_text() == "/* mine now */\n"


def test_output_is_a_file(model: Path) -> None:
    assert complaint("compile", model, "--output", model) == (
        f"{model}: output is not a folder; choose another with --output"
    )


def test_unwritable_output(model: Path) -> None:
    message = complaint("compile", model, "--output", "/proc/nowhere/out")
    assert message.startswith("/proc/nowhere/out: cannot write the output, found ")


def test_missing_model(tmp_path: Path) -> None:
    message = complaint("compile", tmp_path / "no.tflite")
    assert message == f"{tmp_path}/no.tflite: cannot read the model, found No such file or directory"


def test_nothing_is_written_for_a_bad_model(tmp_path: Path) -> None:
    build = ModelBuilder()
    convolution(build, build.input((1, 4, 4, 1), "int8", 0.02, 0), bias_scale=3.0)
    (tmp_path / "bad.tflite").write_bytes(build.finish())
    message = complaint("compile", tmp_path / "bad.tflite", "--output", tmp_path / "out")
    assert "has the wrong scale" in message
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_not_fit_is_refused_with_a_table(tmp_path: Path) -> None:
    build = ModelBuilder()
    convolution(build, build.input((1, 24, 24, 2), "int8", 0.02, 0))
    (tmp_path / "wide.tflite").write_bytes(build.finish())
    arguments = ("compile", tmp_path / "wide.tflite", "--board", "uno", "--output", tmp_path / "out")
    text = tinygen(*arguments, code=1).stdout
    assert "DOES NOT FIT" in text and "RAM with the stack" in text and "too much" in text
    assert "tinygen boards --fits MODEL" in text
    facts = as_json(*arguments, code=1)
    assert facts["fits"] is False and 24 * 24 * 4 <= facts["need"]["arena_bytes"] <= 24 * 24 * 6
    assert facts["memories"][-1]["there_bytes"] == 2048 and facts["tensors"][0]["bytes"] == 24 * 24 * 4
    assert not (tmp_path / "out").exists()


def test_unknown_board_suggests_the_nearest(model: Path) -> None:
    message = complaint("compile", model, "--board", "nucleo_l4r5")
    assert message.startswith("unknown board, found 'nucleo_l4r5'; did you mean nucleo_l4r5zi")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["compile"], "Missing argument 'MODEL'"),
        (["compil"], "No such command 'compil'"),
        (["compile", "m.tflite", "--format", "zip"], "'zip' is not one of 'platformio', 'arduino', 'cmake', 'c'"),
        (["verify", "m.tflite", "--samples", "0"], "0 is not in the range x>=1"),
    ],
)
def test_wrong_arguments(arguments: list[str], part: str) -> None:
    assert part in complaint(*arguments)


def test_help_names_every_command() -> None:
    text = tinygen("--help").stdout
    assert all(command in text for command in ("compile", "inspect", "verify", "ops", "boards"))
    assert "tinygen, version" in tinygen("--version").stdout


def test_inspect(model: Path) -> None:
    text = tinygen("inspect", model).stdout
    assert "0 CONV_2D" in text and "int8 1x6x5x2" in text
    facts = as_json("inspect", model)
    assert facts["macs"] == 6 * 5 * 9 * (2 * 4 + 4 * 3)
    assert 6 * 5 * 4 <= facts["arena_bytes"] == facts["memory"]["bytes"] <= 6 * 5 * 7 and facts["problems"] == []
    assert facts["memory"]["peak_at"].endswith("CONV_2D") and facts["memory"]["is_optimal"]


def test_inspect_lists_all_problems(tmp_path: Path) -> None:
    build = ModelBuilder()
    x = build.input((1, 4, 4, 1), "int8", 0.02, 0)
    y = convolution(build, x, bias_scale=3.0)
    z = build.random_output(y.shape)
    build.op("HASHTABLE_LOOKUP", [y], [z])
    (tmp_path / "bad.tflite").write_bytes(build.finish())
    facts = as_json("inspect", tmp_path / "bad.tflite", code=1)
    assert [line.split(":")[0] for line in facts["problems"]] == ["operator 1 HASHTABLE_LOOKUP", "operator 0 CONV_2D"]
    assert "cannot be compiled:" in tinygen("inspect", tmp_path / "bad.tflite", code=1).stdout


def test_verify(model: Path) -> None:
    text = tinygen("verify", model, "--samples", 4).stdout
    assert "bit-exact: generated C = NumPy reference (tflite numerics)" in text
    assert "bit-exact: NumPy reference = reference interpreter (tflite numerics)" in text
    facts = as_json("verify", model, "--samples", 4, "--numerics", "tflm", "--board", "uno")
    assert facts["same"] and facts["samples"] == 4 and facts["layers"] == 2 and facts["elements"] > 0


def test_verify_in_the_emulator(model: Path) -> None:
    text = tinygen("verify", model, "--samples", 4, "--board", "bluepill_f103c8", "--emulate").stdout
    assert "bit-exact: firmware for bluepill_f103c8 in the emulator = NumPy reference" in text
    assert complaint("verify", model, "--emulate") == "--emulate needs a board; add --board BOARD"
    text = tinygen("verify", model, "--samples", 4, "--board", "uno", "--emulate").stdout
    assert "bit-exact: firmware for uno in the emulator = NumPy reference" in text
    assert "esp32dev: no emulator for this core" in complaint("verify", model, "--board", "esp32dev", "--emulate")


def test_verify_with_own_samples(model: Path, tmp_path: Path) -> None:
    x = np.zeros((5, 6, 5, 2), np.int8)
    np.savez(tmp_path / "x.npz", x=x, y=np.zeros(5, np.int64))
    facts = as_json("verify", model, "--inputs", tmp_path / "x.npz")
    assert facts["samples"] == 5 and 0 <= facts["correct"] <= 5


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((5, 6, 5, 3), np.int8)}, "wrong shape, found [5, 6, 5, 3], expected [samples, 6, 5, 2]"),
        ({"x": np.zeros((5, 6, 5, 2), np.float64)}, "wrong type, found float64, expected int8; quantise it first"),
        ({"x": np.zeros((0, 6, 5, 2), np.int8)}, "no samples"),
        ({"x": np.zeros((5, 6, 5, 2), np.int8), "y": np.zeros(4)}, "labels do not fit, found (4,), expected (5,)"),
        ({"a": np.zeros(3), "b": np.zeros(3)}, "array x is missing, found a, b, expected x"),
    ],
)
def test_wrong_samples(model: Path, tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    assert message in complaint("verify", model, "--inputs", tmp_path / "x.npz")


def test_samples_in_an_npy_file(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 6, 5, 2), np.int8))
    assert as_json("verify", model, "--inputs", tmp_path / "x.npy")["samples"] == 3


def test_samples_that_are_no_npz(model: Path, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_text("not an archive")
    assert "cannot read the samples" in complaint("verify", model, "--inputs", tmp_path / "x.npz")
    assert "cannot read the samples" in complaint("verify", model, "--inputs", tmp_path / "missing.npz")


def test_no_compiler(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    message = complaint("verify", model)
    assert message == ("C compiler not found, found no-such-compiler; install gcc or clang, or set CC to your compiler")


def test_ops() -> None:
    assert "CONV_2D" in tinygen("ops").stdout
    assert {"operator", "kernels", "summary"} == set(as_json("ops")["operators"][0])


def test_boards() -> None:
    text = tinygen("boards").stdout
    assert "nucleo_g0b1re" in text and "tested" in text and "known" not in text
    assert "genericSTM32F103C8" in tinygen("boards", "--known", "--core", "cortex-m3").stdout
    chosen = as_json("boards", "--core", "cortex-m0plus", "--min-ram", "64K", "--min-flash", "256K")["boards"]
    assert [board["name"] for board in chosen] == ["nanorp2040connect", "nucleo_g0b1re", "pico"]
    assert "no such board" in tinygen("boards", "--min-ram", "1000M", code=1).stdout
    assert as_json("boards", "uno", "--min-ram", "4K", code=1) == {"boards": []}


def test_boards_that_a_model_fits(model: Path) -> None:
    done = tinygen("boards", "--fits", model, "--core", "cortex-m0")
    assert "bbcmicrobit" in done.stdout and re.search("cortex-m0: arena 1.. B, constants ", done.stdout)
    facts = as_json("boards", "attiny13", "--fits", model, code=1)
    assert facts["boards"] == [] and 6 * 5 * 4 <= facts["needs"]["avr"]["arena_bytes"] <= 6 * 5 * 7


def test_one_board() -> None:
    board = as_json("boards", "uno")["boards"][0]
    assert board["ram_bytes"] == 2048 and board["core"]["compiler"] == "avr-gcc" and board["status"] == "tested"
    text = tinygen("boards", "nucleo_f429zi").stdout
    for part in ("USART3, TX PD8, RX PD9, at the USB plug", "board nucleo_f429zi, platform ststm32", "ccm at 0x1000"):
        assert part in text
    assert "unlike PlatformIO" in text and "168 MHz" in text and "RM0090; DS9405" in text
    assert "does not have this board" in tinygen("boards", "mps2-an385").stdout
    known = tinygen("boards", "genericSTM32F103C8").stdout
    assert "known" in known and "flash wait states" not in known and "UART" not in known


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nucleo_f44re"], "unknown board, found 'nucleo_f44re'; did you mean nucleo_f446re or "),
        (["genericSTM32F103CX"], "unknown board, found 'genericSTM32F103CX'; did you mean genericSTM32F103C"),
        (["--core", "m4"], "unknown core, found 'm4', expected avr, cortex-m0"),
        (["--min-ram", "lots"], "not a memory size, found 'lots', expected a number of bytes such as 65536, 64K or 1M"),
        (["--fits", "missing.tflite"], "missing.tflite: cannot read the model"),
    ],
)
def test_wrong_wishes_for_boards(arguments: list[str], message: str) -> None:
    assert complaint("boards", *arguments).startswith(message)


def test_compile_does_not_import_the_interpreter_or_tensorflow(model: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['tinygen', 'compile', sys.argv[1], '--output', sys.argv[2]]\n"
        "from tinygen.cli import main; main()\n"
        "assert not {'tensorflow', 'ai_edge_litert.interpreter'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(model), str(tmp_path / "out")], check=True, capture_output=True)
