"""What fits a board and what does not, and what is said then."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder
from tests.small_models import convolution, two_convolutions
from tests.test_cli import as_json, tinygen
from tinygen import target
from tinygen.budget import Budget, weigh
from tinygen.driver import Model, compile_model
from tinygen.emit import STACK_BYTES
from tinygen.footprint.measure import measure
from tinygen.footprint.stack import Bound
from tinygen.frontend import tflite
from tinygen.target import Target

ALONE = "an application of your own with less beside the model: --format c writes the model alone"
LARGER = "a larger board: `tinygen boards --fits MODEL` lists those that have the room"


def budget(data: bytes, board: str | Target, form: str = "c") -> Budget:
    """The budget of a model on a board."""
    place = target.load(board) if isinstance(board, str) else board
    model = Model("net.tflite", data, tflite.read(data, "net.tflite"))
    compiled = compile_model(model, place, form=form)
    return weigh(compiled, place, measure(compiled, place))


def with_memory(board: str, flash_bytes: int, ram_bytes: int) -> Target:
    """The board with that much memory."""
    place = target.load(board)
    flash, ram = replace(place.flash[0], bytes=flash_bytes), replace(place.ram[0], bytes=ram_bytes)
    return replace(place, flash=(flash,), ram=(ram,))


def over(found: Budget) -> dict[str, int]:
    """What there is too little of, and by how much."""
    return {memory.name: memory.over_bytes for memory in found.memories if memory.over_bytes}


def dense(units: int) -> bytes:
    """One dense layer of 300 inputs."""
    build = ModelBuilder(np.random.default_rng(0))
    x, y = build.input((1, 300), "int8", 0.02, 0), build.tensor((1, units), "int8", 0.5, 0)
    weights = build.constant(build.rng.integers(-127, 128, (units, 300)), "int8", 0.01, 0)
    build.op("FULLY_CONNECTED", [x, weights, None], [y], "FullyConnected")
    return build.finish()


def wide(side: int, filters: int) -> bytes:
    """One convolution with a large output."""
    build = ModelBuilder()
    convolution(build, build.input((1, side, side, 1), "int8", 0.02, 0), filters=filters)
    return build.finish()


def test_a_small_model_fits() -> None:
    found = budget(two_convolutions(), "uno")
    assert found.fits and found.remedies == () and found.warnings == ()
    assert 6 * 5 * 4 <= found.need.arena_bytes == found.footprint.ram_bytes <= 6 * 5 * 7
    assert {memory.name: memory.there_bytes for memory in found.memories} == {
        "constants in flash": 32256,
        "flash": 32256,
        "RAM with the stack": 2048,
    }


def test_too_much_flash() -> None:
    found = budget(dense(250), "bluepill_f103c8")
    assert not found.fits and 75_000 <= found.need.constant_bytes <= 82_000
    assert over(found) == {"flash": found.footprint.flash_bytes - 65536}
    layer = found.layers[0]
    assert layer.name == "layer 0, operator 0 FULLY_CONNECTED"
    assert layer.bytes == found.need.constant_bytes and layer.code_bytes > 100
    assert found.remedies == ("fewer or narrower layers, the largest first", LARGER)


def test_an_avr_reaches_no_more_than_its_addresses() -> None:
    """256 kB of program memory, of which constants may take what 16-bit addresses reach."""
    found = budget(dense(250), "megaatmega2560")
    assert target.load("megaatmega2560").largest_flash_bytes > 200_000
    assert over(found) == {"constants in flash": 75_000 - (2**16 - 1024)}
    assert found.footprint.note.startswith("avr-gcc: failed, found ") and "is too large" in found.footprint.note


def test_too_much_code_alone() -> None:
    """Constants and arena have the room."""
    data = two_convolutions()
    roomy = budget(data, "nucleo_f446re", "cmake")
    needed = roomy.footprint.flash_bytes
    assert budget(data, with_memory("nucleo_f446re", needed, 65536), "cmake").fits
    found = budget(data, with_memory("nucleo_f446re", needed - 1, 65536), "cmake")
    assert found.need.fits(with_memory("nucleo_f446re", needed - 1, 65536)) and over(found) == {"flash": 1}
    assert found.layers[-1].name == "application, start-up and C library" and found.layers[-1].code_bytes > 3000
    assert sum(part.bytes + part.code_bytes for part in found.layers) == needed
    assert found.remedies == ("fewer or narrower layers, the largest first", ALONE, LARGER)


def test_too_little_room_for_the_stack_alone() -> None:
    data = two_convolutions()
    needed = budget(data, "nucleo_f446re", "cmake").footprint.ram_bytes
    assert budget(data, with_memory("nucleo_f446re", 65536, needed), "cmake").fits
    found = budget(data, with_memory("nucleo_f446re", 65536, needed - 4), "cmake")
    assert over(found) == {"RAM with the stack": 4} and found.remedies[1] == ALONE
    assert found.need.arena_bytes + STACK_BYTES < needed < found.need.arena_bytes + STACK_BYTES + 400
    assert found.tensors[-1].bytes == needed - found.need.arena_bytes


def test_the_model_alone_needs_its_own_stack() -> None:
    found = budget(two_convolutions(), "uno")
    stack = found.footprint.inference_stack.bytes
    assert stack is not None and 50 < stack < 150
    needed = found.need.arena_bytes + stack
    assert over(budget(two_convolutions(), with_memory("uno", 32256, needed))) == {}
    assert over(budget(two_convolutions(), with_memory("uno", 32256, needed - 1))) == {"RAM with the stack": 1}


def test_a_stack_deeper_than_what_is_kept() -> None:
    place = target.load("nucleo_f446re")
    data = two_convolutions()
    compiled = compile_model(Model("net.tflite", data, tflite.read(data, "net")), place, form="cmake")
    deep = replace(measure(compiled, place), program_stack=Bound(STACK_BYTES + 8))
    found = weigh(compiled, place, deep)
    assert over(found) == {"stack": 8}
    assert found.remedies[0] == "an application of your own (--format c): this one's linker script keeps 1024 bytes"


def test_an_estimate_warns_and_does_not_refuse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    data = two_convolutions()
    roomy = budget(data, "nucleo_f446re", "cmake")
    ram_bytes = roomy.need.arena_bytes + STACK_BYTES
    assert roomy.warnings == ()
    found = budget(data, with_memory("nucleo_f446re", roomy.footprint.flash_bytes, ram_bytes), "cmake")
    assert found.fits and found.warnings == (
        "it may not fit the flash: its code is only estimated",
        "it may not fit the RAM: its variables are only estimated",
    )
    refused = budget(data, with_memory("nucleo_f446re", roomy.need.constant_bytes - 1, ram_bytes - 1), "cmake")
    assert over(refused) == {"constants in flash": 1, "arena and stack in RAM": 1}


def test_the_command_refuses_what_only_the_code_makes_too_large(tmp_path: Path) -> None:
    """106 units: 31,800 bytes of constants in 32,256 bytes of flash."""
    model, output = tmp_path / "net.tflite", tmp_path / "out"
    model.write_bytes(dense(106))
    arguments = ("compile", model, "--board", "uno", "--output", output)
    text = tinygen(*arguments, code=1).stdout
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "DOES NOT FIT"
    assert "on uno needed there" in lines and "constants in flash 31.1 kB 31.5 kB fits" in lines
    flash = next(line for line in lines if line.startswith("flash "))
    assert " 31.5 kB " in flash and flash.endswith(" B too much")
    assert "(--optimize speed; the model alone, built with avr-gcc 5.4.0)" in lines
    assert any(line.startswith("layer 0, operator 0 FULLY_CONNECTED 31,800 ") for line in lines)
    assert "nothing was written; what can be done:" in lines
    facts = as_json(*arguments, code=1)
    assert facts["fits"] is False and facts["footprint"]["flash_bytes"] > 32256
    assert not output.exists()


def test_the_command_refuses_what_only_the_stack_makes_too_large(tmp_path: Path) -> None:
    """An arena of about 14,000 bytes in 16,384 bytes of RAM."""
    model, output = tmp_path / "net.tflite", tmp_path / "out"
    model.write_bytes(wide(side=48, filters=6))
    facts = as_json("compile", model, "--board", "bbcmicrobit", "--output", output, code=1)
    assert facts["need"]["arena_bytes"] < 16384 and not output.exists()
    ram = next(memory for memory in facts["memories"] if memory["kind"] == "RAM")
    assert ram["needed_bytes"] > 16384 == ram["there_bytes"]
    assert ALONE in facts["remedies"]
    tinygen("compile", model, "--board", "bbcmicrobit", "--output", output, "--format", "c")


def test_the_command_says_what_a_model_takes(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(two_convolutions())
    arguments = ("compile", tmp_path / "net.tflite", "--board", "nucleo_f446re", "--output", tmp_path / "out")
    lines = [" ".join(line.split()) for line in tinygen(*arguments).stdout.splitlines()]
    facts = as_json(*arguments)["budget"]
    footprint = facts["footprint"]
    assert facts["fits"] and footprint["program"] == "firmware" and footprint["stack_unknown"] == ""
    one, program = footprint["inference_stack_bytes"], footprint["program_stack_bytes"]
    assert f"stack one inference at most {one} B; the program at most {program} B of the 1,024 B kept for it" in lines
    share = 100 * footprint["ram_bytes"] / 131072
    arena = facts["need"]["arena_bytes"]
    ram = f"RAM {footprint['ram_bytes']:,} B of 128.0 kB ({share:.1f} %): arena {arena} B, stack 1,024 B, the rest "
    assert any(line.startswith(ram) for line in lines), lines
    built = "known from the firmware without a framework, built with arm-none-eabi-gcc 12.2.1; "
    assert f"{built}the Arduino core comes on top in the other environment" in lines
    manifest = json.loads((tmp_path / "out" / "tinygen.json").read_text("utf-8"))
    assert "budget" not in manifest and "footprint" not in manifest


def test_the_command_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    (tmp_path / "net.tflite").write_bytes(two_convolutions())
    done = tinygen("compile", tmp_path / "net.tflite", "--board", "uno", "--output", tmp_path / "out")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "stack not known: it takes the compiler" in lines
    assert any(line.startswith("flash about ") for line in lines)
    estimated = next(line for line in lines if line.startswith("estimated the model alone, "))
    assert " B more or less; the application and the Arduino core come on top " in estimated
    assert estimated.endswith("(avr-gcc is neither on the path nor among PlatformIO's packages)")


def test_of_several_goals_the_nearest_is_said(tmp_path: Path) -> None:
    """Not the last one: it takes the least flash, and the RAM of tensors that lie there as wholes."""
    model = tmp_path / "net.tflite"
    build = ModelBuilder()
    wide_one = convolution(build, build.input((1, 64, 64, 1), "int8", 0.02, 0), filters=8)
    convolution(build, wide_one, filters=4)
    model.write_bytes(build.finish())
    arguments = ("compile", model, "--board", "bbcmicrobit", "--output", tmp_path / "out")
    facts = as_json(*arguments, code=1)
    last = as_json(*arguments, "--optimize", "flash", code=1)
    assert facts["need"]["arena_bytes"] < last["need"]["arena_bytes"] and facts["goal"] != last["goal"] == "flash"
    assert any(remedy.startswith("--format c --feed") for remedy in facts["remedies"])
