"""The command as its user meets it: wrong requests told before TensorFlow is waited for, and a model made to fit."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.optimize.test_model_file import CONV, DENSE, FLATTEN, INPUT, keras_file
from tests.pio import make_core_folder
from tests.small_models import two_convolutions
from tests.test_cli import as_json, complaint, tinygen
from tinygen.commands.optimize import optimize_command
from tinygen.errors import DataError, DataErrors, TinygenError

ROOT = Path(__file__).parents[2]
LATE = ("tensorflow", "keras", "joblib", "distributed", "matplotlib", "yaml", "tinygen.optimize", "tinygen.quantize")
SETS = {"--train": 30, "--calib": 20, "--val": 120, "--test": 120}


def sets(folder: Path, shape: tuple[int, ...] = (8, 8, 1), classes: int = 10) -> list[str]:
    """Options with files of samples."""
    rng = np.random.default_rng(0)
    options = []
    for option, count in SETS.items():
        path = folder / f"{option.removeprefix('--')}.npz"
        np.savez(path, x=rng.random((count, *shape)), y=rng.integers(0, classes, count))
        options += [option, str(path)]
    return options


@pytest.fixture
def request_(tmp_path: Path) -> list[str]:
    """Arguments that are right as far as can be said without TensorFlow."""
    return [str(keras_file(tmp_path / "m.keras", [INPUT, CONV, FLATTEN, DENSE])), *sets(tmp_path)]


def modules_after(*arguments: object, blocked: tuple[str, ...] = ()) -> set[str]:
    """The modules that a command has imported by its end; importing a blocked one fails."""
    script = (
        "import sys, json\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        "from tinygen.cli import main\n"
        "code = 0\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "print(json.dumps([name for name, module in sys.modules.items() if module]), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return set(json.loads(done.stderr.splitlines()[-1])) | {f"exit {done.returncode}"}


@pytest.mark.parametrize("command", [("compile", "--output", "c"), ("inspect",), ("verify", "--samples", "1")])
def test_other_commands_import_nothing_of_it(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.tflite").write_bytes(two_convolutions())
    found = modules_after(command[0], "net.tflite", *command[1:])
    assert "exit 0" in found
    assert not [name for name in found if name.startswith(LATE)]


def test_wrong_data_is_told_before_tensorflow_is_imported(request_: list[str], tmp_path: Path) -> None:
    path = tmp_path / "val.npz"
    np.savez(path, x=np.zeros((5, 8, 8, 1)), y=np.full(5, 10))
    blocked = ("tensorflow", "keras", "joblib", "matplotlib", "distributed")
    assert "exit 2" in modules_after("optimize", *request_, blocked=blocked)
    lines = tinygen("optimize", *request_, code=2).stderr.splitlines()
    why = "with fewer, one sample weighs more than the allowed loss of accuracy"
    assert lines == [
        f"tinygen: {path} [x]: too few validation samples, found 5, expected at least 100; {why}",
        f"tinygen: {path} [y]: labels out of range, found 10 in row 0, expected 0 to 9",
    ]


def refused(*arguments: object) -> str:
    """The one line that a wrong request gets."""
    with pytest.raises(TinygenError) as caught:
        optimize_command.main(list(map(str, arguments)), standalone_mode=False)
    (line,) = caught.value.lines
    return line


def test_wrong_requests(request_: list[str], tmp_path: Path) -> None:
    assert complaint("optimize", *request_, "--target-ms", "5") == (
        "a limit of time is for a board; add --board BOARD; `tinygen boards` lists them"
    )
    assert refused(*request_, "--max-drop", "much").startswith("--max-drop: no share, found 'much'")
    assert refused(*request_, "--target-ram", "lots").startswith("not a memory size, found 'lots'")
    assert refused(*request_, "--board", "unno").startswith("unknown board, found 'unno'; did you mean uno")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("techniques:\n  - int3\n")
    assert refused(*request_, "--recipe", recipe).startswith(f"{recipe}:2: unknown technique, found int3")
    recipe.write_text("layers: {conv9: {weights: 4}}")
    assert refused(*request_, "--recipe", recipe).startswith(f"{recipe}:1: no layer has such a name, found conv9")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.tflite").write_text("mine")
    assert "tinygen did not write" in refused(*request_, "--output", tmp_path / "out")
    quantised = tmp_path / "q.tflite"
    quantised.write_bytes(two_convolutions())
    assert "it is quantised already" in refused(quantised, *request_[1:])


def test_without_its_packages_it_says_what_to_install(request_: list[str]) -> None:
    script = "import sys; sys.modules['joblib'] = None; from tinygen.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "optimize", *request_], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "tinygen: joblib is not installed; pip install 'tinygen[train]'\n"


def test_problems_come_whole_out_of_another_process() -> None:
    problems = DataErrors([DataError("too few", where="x.npz", found="3"), DataError("NaN", remedy="drop them")])
    assert pickle.loads(pickle.dumps(problems)).lines == ("x.npz: too few, found 3", "NaN; drop them")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's model, trained shortly, and its sets."""
    folder = tmp_path_factory.mktemp("fit")
    script = [sys.executable, str(ROOT / "examples" / "fit" / "train.py"), "--output", str(folder), "--epochs", "4"]
    subprocess.run(script, check=True, capture_output=True)
    return folder


def arguments(folder: Path, *others: object) -> list[str]:
    """The command for the model and sets in a folder, with a loss that so short a training can keep to."""
    options = [part for name in ("train", "calib", "val", "test") for part in (f"--{name}", folder / f"{name}.npz")]
    return list(map(str, ["optimize", folder / "model.keras", *options, "--max-drop", "10%", *others]))


def emulated(folder: Path, report: Any, count: int, form: str = "cmake") -> tuple[int, int]:
    """How many of the first test samples the emulated board, and this computer, get right."""
    with np.load(folder / "test.npz") as file:
        np.savez(folder / "some.npz", x=file["x"][:count], y=file["y"][:count])
    (compiled,) = [command for command in report["next"] if " compile " in command]
    project = folder / "project"
    tinygen(*compiled.split()[1:], "--format", form, "--output", project)
    ran = as_json("run", project, "--emulator", "--inputs", folder / "some.npz")
    checked = as_json("verify", folder / "model.tflite", "--inputs", folder / "some.npz")
    assert ran["same"] and checked["same"] and ran["samples"] == count
    return ran["correct"], checked["correct"]


def stopped(command: list[str], cache: Path) -> str:
    """What the command says when Ctrl+C is pressed after the first candidate."""
    start = [sys.executable, "-c", "from tinygen.cli import main; main()", *command]
    pipe = subprocess.PIPE
    with subprocess.Popen(start, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        while process.poll() is None and not list(cache.glob("outcome-*")):
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        printed, said = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, ""), said
    return said


def test_a_model_too_large_for_a_blue_pill_is_made_to_fit(trained: Path, tmp_path: Path) -> None:
    """Stopped on the way and started again; then compiled, and run on the whole test set in the emulator."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text("techniques: [int8, int8_qat, channels: {share: 0.3, epochs: 2}]")
    out = tmp_path / "out"
    command = arguments(trained, "--board", "bluepill_f103c8", "--recipe", recipe, "--output", out)
    kept = f"what was finished is kept in {out}/.cache"
    assert stopped(command, out / ".cache") == f"tinygen: stopped; {kept}: the same command goes on from there\n"
    assert [path.name for path in out.iterdir()] == [".cache"]
    before = {path.name: path.stat().st_mtime_ns for path in (out / ".cache").iterdir()}

    report = as_json(*command)
    after = {path.name: path.stat().st_mtime_ns for path in (out / ".cache").iterdir()}
    assert before and before.items() < after.items(), "what was known was used, not made again"
    assert [each["state"] for each in report["candidates"]] == ["lacks", "unknown", "chosen"]
    notes = [each["note"] for each in report["candidates"]]
    assert notes == ["", "left out: saves no flash", ""]
    board, host = emulated(out, report, report["test"]["chosen"]["total"])
    assert board == host == report["test"]["chosen"]["correct"]
    assert report["float"]["accuracy"] > 0.9 and report["test"]["chosen"]["accuracy"] > 0.85


def test_and_for_an_uno(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A student with a quarter of the channels, hardly trained, in 2 kB of RAM; it runs as PlatformIO builds it."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text("techniques: [distill: {width: 0.25, epochs: 12}]")
    out = tmp_path / "out"
    report = as_json(*arguments(trained, "--board", "uno", "--max-drop", "30%", "--recipe", recipe, "--output", out))
    assert [each["state"] for each in report["candidates"]] == ["chosen"]
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(make_core_folder(tmp_path / "core")))
    board, host = emulated(out, report, 5, "platformio")
    assert board == host
