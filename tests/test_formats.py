"""The project formats, built with the tools that their users have: CMake, and the Arduino core for AVR."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.random_models import random_model
from tests.test_generated_c import run
from tinygen import target
from tinygen.driver import Compiled, Model, compile_model, load
from tinygen.frontend import tflite
from tinygen.project import FORMATS
from tinygen.quant import Numerics
from tinygen.verify import reference

ROOT = Path(__file__).parent.parent
ARDUINO = Path("/usr/share/arduino/hardware/arduino/avr")
"""Where Debian's arduino-core-avr is."""


def compiled(data: bytes, name: str, form: str, board: str | None = None) -> Compiled:
    """A model as a project of that format."""
    model = Model(f"{name}.tflite", data, tflite.read(data, name))
    return compile_model(model, target.load(board) if board else None, name, form=form)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_the_manifest_finds_the_files(form: str) -> None:
    result = compiled(random_model(5), "net", form)
    facts = result.manifest
    assert facts["format"] == form
    assert set(facts["sources"]) <= set(result.files)
    assert any(f"{folder}/net.h" in result.files for folder in facts["include_dirs"])


def test_cmake_builds_two_models_into_one_program(tmp_path: Path) -> None:
    for seed, name in ((4, "first"), (5, "second")):
        compiled(random_model(seed), name, "cmake").write(tmp_path / name)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(both LANGUAGES C)\n"
        "add_subdirectory(first)\nadd_subdirectory(second)\n"
        "add_executable(both main.c)\ntarget_link_libraries(both PRIVATE first second)\n"
    )
    (tmp_path / "main.c").write_text(
        '#include "first.h"\n#include "second.h"\nint main(void) { first_invoke(); second_invoke(); return 0; }\n'
    )
    run(["cmake", "-S", ".", "-B", "build", "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror"], tmp_path)
    run(["cmake", "--build", "build"], tmp_path)
    run([tmp_path / "build" / "both"], tmp_path)


def test_cmake_builds_a_model_by_itself(tmp_path: Path) -> None:
    compiled(random_model(4), "net", "cmake").write(tmp_path)
    run(["cmake", "-S", ".", "-B", "build"], tmp_path)
    run(["cmake", "--build", "build"], tmp_path)
    assert (tmp_path / "build" / "libnet.a").is_file()


def build_sketch(folder: Path) -> Path:
    """The library's example for an Uno, built as the Arduino IDE does: the core, the library, the sketch."""
    flags = ["-Os", "-mmcu=atmega328p", "-DF_CPU=16000000L", "-DARDUINO=10819", "-DARDUINO_ARCH_AVR", "-w"]
    flags += ["-ffunction-sections", "-fdata-sections", "-DDECIMAL_DIG=__DECIMAL_DIG__"]
    includes = [f"-I{ARDUINO}/cores/arduino", f"-I{ARDUINO}/variants/standard", f"-I{folder}/src"]
    sketch = folder / "sketch.cpp"
    sketch.write_text("#include <Arduino.h>\n" + next(folder.rglob("*.ino")).read_text("utf-8"))
    sources = [sketch, *sorted((folder / "src").glob("*.c"))]
    sources += sorted(path for path in (ARDUINO / "cores/arduino").iterdir() if path.suffix in (".c", ".cpp", ".S"))
    (folder / "obj").mkdir()
    objects = []
    for source in sources:
        compiler = ["avr-g++", "-std=gnu++11"] if source.suffix == ".cpp" else ["avr-gcc"]
        objects.append(folder / "obj" / f"{source.name}.o")
        run([*compiler, *flags, *includes, "-c", source, "-o", objects[-1]], folder)
    run(["avr-gcc", "-mmcu=atmega328p", "-Os", "-Wl,--gc-sections", *objects, "-lm", "-o", "sketch.elf"], folder)
    return folder / "sketch.elf"


def serial_output(elf: Path, seconds: float = 20) -> str:
    """What an emulated Uno says on its serial port until its first line ends."""
    command = ["stdbuf", "-o0", "-e0", "simavr", "-m", "atmega328p", "-f", "16000000", str(elf)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        timer = subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill {process.pid} 2>/dev/null"])
        try:
            for line in process.stdout:
                if "in us" in line:
                    return line
        finally:
            timer.kill()
            timer.wait()
            process.kill()
    raise AssertionError("the sketch printed nothing")


@pytest.mark.parametrize("name", ["digits", "sine"])
def test_arduino_example_runs_on_an_emulated_uno(name: str, tmp_path: Path) -> None:
    """The sketch as generated prints the NumPy reference's outputs, in decimals that tell all stored values apart."""
    model = load(ROOT / "examples" / name / f"{name}.tflite")
    result = compile_model(model, target.load("uno"), name, form="arduino")
    result.write(tmp_path / "library")
    line = serial_output(build_sketch(tmp_path / "library"))
    printed = [float(text) for text in re.findall(r"-?\d+\.\d{4}", line)]
    source, output = (model.graph.tensors[i] for i in (model.graph.inputs[0], model.graph.outputs[0]))
    zeros = np.full(source.shape, source.zero_point, np.int8)
    expected = reference.run(model.graph, [zeros], Numerics.TFLITE)[output.id].ravel()
    assert output.scale > 0.001
    assert [round(value / output.scale) + output.zero_point for value in printed] == expected.tolist()
