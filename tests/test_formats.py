"""The project formats, built with the tools that their users have: CMake, and the Arduino core for AVR."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.random_models import random_model
from tests.sketches import Sketch, assert_prints_the_reference
from tests.test_generated_c import run
from tinygen import target
from tinygen.driver import Compiled, Model, compile_model, load
from tinygen.frontend import tflite
from tinygen.project import FORMATS

ROOT = Path(__file__).parent.parent
ARDUINO = Path("/usr/share/arduino/hardware/arduino/avr")
"""Where Debian's arduino-core-avr is."""


def compiled(data: bytes, name: str, form: str, board: str | None = None) -> Compiled:
    """A model as a project of that format."""
    model = Model(f"{name}.tflite", data, tflite.read(data, name))
    return compile_model(model, target.load(board) if board else None, name, form=form)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_the_manifest_finds_the_files(form: str) -> None:
    result = compiled(random_model(5), "net", form, "nucleo_f446re")
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


@pytest.mark.parametrize("name", ["digits", "sine"])
def test_arduino_example_runs_on_an_emulated_uno(name: str, tmp_path: Path) -> None:
    """The sketch as generated prints the NumPy reference's outputs."""
    model = load(ROOT / "examples" / name / f"{name}.tflite")
    result = compile_model(model, target.load("uno"), name, form="arduino")
    result.write(tmp_path / "library")
    assert_prints_the_reference(Sketch(build_sketch(tmp_path / "library")), model)
