"""What compile says of flash, RAM and stack, held against what the project's own build makes and does in emulators."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cffi
import pytest
import unicorn
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from unicorn import arm_const

from tests.pio import make_core_folder
from tests.random_models import random_model
from tests.small_models import two_convolutions
from tests.test_firmware import cmake_elf, pio_elf
from tests.test_generated_c import run
from tinygen import target
from tinygen.driver import Compiled, Model, compile_model, load
from tinygen.emit import STACK_BYTES
from tinygen.footprint import estimate, toolchain
from tinygen.footprint.build import MODEL_FLAGS
from tinygen.footprint.elf import Elf
from tinygen.footprint.measure import Footprint, measure
from tinygen.footprint.toolchain import Toolchain
from tinygen.frontend import tflite
from tinygen.run.cortex_m import CortexM
from tinygen.run.image import read_image
from tinygen.run.session import Session
from tinygen.target import Target
from tinygen.verify.board_simavr import DATA_SPACE, INTERFACE, build_runner
from tinygen.verify.board_unicorn import MODELS

ROOT = Path(__file__).parent.parent
BOARDS = ("bbcmicrobit", "pico", "bluepill_f103c8", "mps2-an386", "nucleo_h743zi", "nucleo_l552ze_q", "mps3-an547")
"""One of each core: M0, M0+, M3, M4F, M7, M33, M55."""
REAL = sorted(Path(os.environ["TINYGEN_MODELS"]).glob("*.tflite")) if os.environ.get("TINYGEN_MODELS") else []
CASES = [(board, "digits") for board in BOARDS]
CASES += [("nucleo_f446re", "sine"), ("nucleo_f446re", "random_9")]
CASES += [("nucleo_l4r5zi", str(path)) for path in REAL]
WRITTEN = SH_FLAGS.SHF_ALLOC | SH_FLAGS.SHF_WRITE
PAINT = 0xA5
PAGE = 4096
RETURN = 0x1E000000
LIMIT_SECONDS = 60
COMMANDS = (
    "name",
    "profile",
    "timestamp",
    "help",
    "db load 4",
    "db 01020304",
    "db print",
    "db 0g",
    "infer 1 1",
    "infer 0",
)
COMMANDS += ("results", "outputs", "cycles", "nonsense", "x" * 90)


def model(name: str) -> Model:
    """The example, random model or file of that name."""
    if name.startswith("random_"):
        data = random_model(int(name.removeprefix("random_")))
        return Model(f"{name}.tflite", data, tflite.read(data, name))
    path = ROOT / "examples" / name / f"{name}.tflite"
    return load(path if path.is_file() else name)


def small(board: Target, form: str = "c") -> Compiled:
    """Two convolutions for that board."""
    data = two_convolutions()
    return compile_model(Model("net.tflite", data, tflite.read(data, "net")), board, "net", form=form)


def sizes(elf: Path) -> tuple[int, int]:
    """(flash, RAM) of a firmware: its segments, between symbols of its linker script, and sections in other regions."""
    file = ELFFile(io.BytesIO(elf.read_bytes()))
    loaded = sum(s["p_filesz"] for s in file.iter_segments() if s["p_type"] == "PT_LOAD")
    symbols = read_image(elf).symbols
    start, end = symbols["tg_ram_start"], symbols["tg_bss_end"]
    written = [s for s in file.iter_sections() if s["sh_flags"] & WRITTEN == WRITTEN]
    return loaded, end - start + sum(s["sh_size"] for s in written if not start <= s["sh_addr"] < end)


def painted_depth(before: int, read: bytes) -> int:
    """How far below its start, the end of `read`, a stack went."""
    untouched = next((i for i, byte in enumerate(read) if byte != PAINT), len(read))
    return before + len(read) - untouched


def inference_depth(elf: Path, board: Target, name: str) -> int:
    """The most stack that one inference takes in the emulator; its inputs are zeros."""
    image = read_image(elf)
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    uc.ctl_set_cpu_model(getattr(arm_const, MODELS[board.core.name]))
    system = target.Region("system control space", 0xE0000000, 0x100000)
    for region in (board.main_flash, *board.ram_pieces, system, target.Region("return", RETURN, PAGE)):
        uc.mem_map(region.origin // PAGE * PAGE, -(-region.bytes // PAGE) * PAGE)
    for address, data in image.segments:
        uc.mem_write(address, data)
    uc.reg_write(arm_const.UC_ARM_REG_C1_C0_2, 0xF << 20)
    uc.reg_write(arm_const.UC_ARM_REG_FPEXC, 0x40000000)
    start, top = image.symbol("tg_ram_start"), image.symbol("tg_stack_top")
    uc.mem_write(start, bytes([PAINT]) * (top - start))
    uc.reg_write(arm_const.UC_ARM_REG_SP, top)
    uc.reg_write(arm_const.UC_ARM_REG_LR, RETURN | 1)
    uc.emu_start(image.symbol(f"{name}_invoke") | 1, RETURN, timeout=LIMIT_SECONDS * 1_000_000)
    assert uc.reg_read(arm_const.UC_ARM_REG_PC) == RETURN
    return painted_depth(0, bytes(uc.mem_read(start, top - start)))


def program_depth(elf: Path, board: Target) -> int:
    """The most stack that the firmware took while it answered all commands, its SysTick handler included."""
    assert board.bare
    machine = CortexM(board, board.bare, read_image(elf), LIMIT_SECONDS)
    start, top = (read_image(elf).symbol(name) for name in ("tg_ram_start", "tg_stack_top"))
    machine._uc.mem_write(start, bytes([PAINT]) * (top - start))
    session = Session(machine, board.name, LIMIT_SECONDS)
    session.greet(is_reset=True)
    for command in COMMANDS:
        session.ask(command)
    return painted_depth(0, bytes(machine._uc.mem_read(start, top - start)))


@pytest.mark.parametrize(("board", "name"), CASES, ids=lambda value: Path(value).stem)
def test_the_firmware_is_as_large_and_its_stack_as_deep_as_compile_says(board: str, name: str, tmp_path: Path) -> None:
    place = target.load(board)
    compiled = compile_model(model(name), place, form="cmake")
    found = measure(compiled, place)
    assert found.firmware and found.compiler == "arm-none-eabi-gcc 12.2.1", found.note
    compiled.write(tmp_path / "project")
    elf = cmake_elf(tmp_path / "project")
    flash, ram = sizes(elf)
    assert abs(found.flash_bytes - flash) <= 0.02 * flash
    assert found.ram_bytes == ram
    if place.core.name not in MODELS:
        return
    assert found.inference_stack.bytes is not None and found.program_stack.bytes is not None
    depth = inference_depth(elf, place, compiled.program.name)
    assert depth <= found.inference_stack.bytes <= 1.5 * depth
    depth = program_depth(elf, place)
    assert depth <= found.program_stack.bytes <= STACK_BYTES
    frame = 27 * 4 if "fpu" in place.core.features else 9 * 4
    assert found.program_stack.bytes <= 1.5 * depth + frame


@pytest.mark.parametrize("board", ["nucleo_f446re", "bluepill_f103c8"])
def test_platformio_builds_what_compile_says(board: str, tmp_path: Path) -> None:
    place = target.load(board)
    compiled = compile_model(model("digits"), place, form="platformio")
    found = measure(compiled, place)
    compiled.write(tmp_path / "project")
    flash, ram = sizes(pio_elf(board, tmp_path / "project", make_core_folder(tmp_path / "core")))
    assert abs(found.flash_bytes - flash) <= 0.02 * flash
    assert found.ram_bytes == ram


AVR_MAIN = """\
#include <stdint.h>
#include "{name}.h"
void board_stop(void);
__attribute__((noinline, noclone)) void board_stop(void)
{{
    __asm volatile("" : : : "memory");
}}
static void (*volatile invoke)(void) = {name}_invoke;
int main(void)
{{
    board_stop();
    invoke();
    for (;;) {{
        board_stop();
    }}
}}
"""
STACK_POINTER = 0x5D


def avr_depths(elf: Path, board: Target, folder: Path, return_bytes: int) -> int:
    """The most stack that one inference takes in simavr, with its return address."""
    symbols = read_image(elf).symbols
    ffi = cffi.FFI()
    ffi.cdef(INTERFACE)
    library: Any = ffi.dlopen(str(build_runner(folder)))
    machine = ffi.gc(library.board_open(board.mcu.lower().encode(), board.clock_hz, bytes(elf)), library.board_close)
    end_of_data = symbols["_end"] - DATA_SPACE
    library.board_watch(machine, symbols["board_stop"], end_of_data)
    assert library.board_run(machine, 1_000_000) == 0
    data = ffi.buffer(library.board_data(machine), board.ram[0].origin + board.ram[0].bytes)
    # Both functions are called from main: at the first instruction of either the stack pointer is the same.
    free = int.from_bytes(data[STACK_POINTER : STACK_POINTER + 2], "little") + 1
    data[end_of_data:free] = bytes([PAINT]) * (free - end_of_data)
    assert library.board_run(machine, 100_000_000) == 0
    return painted_depth(return_bytes, data[end_of_data:free])


@pytest.mark.parametrize(("board", "return_bytes"), [("uno", 2), ("megaatmega2560", 3)])
@pytest.mark.parametrize("name", ["digits", "sine", "random_3006"])
def test_the_stack_of_an_inference_on_avr(board: str, name: str, return_bytes: int, tmp_path: Path) -> None:
    place = target.load(board)
    compiled = compile_model(model(name), place)
    compiled.write(tmp_path / "project")
    (tmp_path / "project" / "main.c").write_text(AVR_MAIN.format(name=compiled.program.name))
    flags = [*place.core.cflags, *MODEL_FLAGS["avr-gcc"], "-Iinclude", "main.c", *compiled.manifest["sources"]]
    run(["avr-gcc", *flags, "-Wl,--gc-sections", "-o", "board.elf"], tmp_path / "project")
    tools = toolchain.find(place.core, platformio_first=False)
    assert tools
    elf = Elf(tmp_path / "project" / "board.elf", tools, place)
    bound = elf.stack(f"{compiled.program.name}_invoke").bytes
    assert bound == measure(compiled, place).inference_stack.bytes
    depth = avr_depths(tmp_path / "project" / "board.elf", place, tmp_path, return_bytes)
    assert bound is not None and depth <= bound <= depth + 16


CALLED = "static __attribute__((noinline)) int g(int x) { volatile char room[200]; room[x] = 1; return room[0]; }"
POINTER = f"{CALLED} extern int (*volatile p)(int); int (*volatile p)(int) = g;"
CODE = {
    "plain": "int f(int x) { volatile char room[200]; room[x] = 1; return room[0]; }",
    "calls": "static __attribute__((noinline)) int g(int x) { volatile char room[90]; room[x] = 1; return room[0]; }"
    "int f(int x) { volatile char room[90]; room[x] = 1; return g(x) + room[0]; }",
    "tail": f"{CALLED} int f(int x) {{ return g(x + 1); }}",
    "switch": "extern volatile int v; volatile int v; int f(int x) { volatile char room[190]; room[x] = 1; switch (x) {"
    "case 0: v = 7; break; case 1: v = x * 5; break; case 2: v += 9; break; case 3: v -= x; break;"
    "case 4: v ^= 77; break; case 5: v = room[1]; break; case 6: v |= 64; break; case 7: v = v / 3; }"
    "return room[0]; }",
    "large": "int f(int x) { volatile char room[1500]; room[x] = 1; return room[0]; }",
    "pointer": f"{POINTER} int f(int x) {{ return p(x) + 1; }}",
    "tail_pointer": f"{POINTER} int f(int x) {{ return p(x); }}",
    "loop": '__attribute__((naked)) int f(int x) { (void)x; __asm volatile("1: push {r0}\\n b 1b"); }',
    "wild": "int f(int (*p)(int)) { volatile char room[9]; room[1] = 1; return p(1) + room[1]; }",
    "recursion": "int f(int x) { volatile char room[9]; room[x] = 1; return x ? f(x - 1) + room[0] : 0; }",
    "variable": "int f(int x) { volatile char room[x]; room[0] = 1; return room[x - 1]; }",
}
"""Functions f whose arrays are about 200 bytes altogether, but where their name says more."""
CORES = ("cortex-m0", "cortex-m3", "cortex-m4f", "cortex-m55", "avr", "rv32imc")


def stack_of(core: str, name: str, folder: Path) -> tuple[int | None, str]:
    """The bound of the function f of that code, or why there is none."""
    board = replace(target.load("uno"), core=target.load_core(core, "ATmega328P"))
    tools = toolchain.find(board.core, platformio_first=False)
    assert tools
    (folder / "code.c").write_text(CODE[name])
    link = ["-nostartfiles", "-Wl,--emit-relocs", "-Wl,-e,f", "-Wl,-Ttext=0", "-Wl,--gc-sections"]
    link += [] if core == "avr" else ["-nostdlib", "-Tcode.ld"]
    (folder / "code.ld").write_text(
        "SECTIONS { .text : { *(.text*) *(.rodata*) } .data 0x20000000 : { *(.data* .bss*) } }"
    )
    run([tools.gcc, *board.core.cflags, "-O2", "-std=c99", "code.c", *link, "-lgcc", "-o", "code.elf"], folder)
    bound = Elf(folder / "code.elf", tools, board).stack("f")
    return bound.bytes, bound.why


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", ["plain", "calls", "tail", "switch", "large", "pointer", "tail_pointer"])
def test_the_bound_of_a_function(core: str, name: str, tmp_path: Path) -> None:
    found, why = stack_of(core, name, tmp_path)
    arrays = {"calls": 180, "switch": 190, "large": 1500}.get(name, 200)
    assert found is not None, why
    assert arrays <= found <= arrays + 60


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize(
    ("name", "expected"),
    [("recursion", "f calls itself"), ("variable", "f has "), ("wild", "f calls through a pointer")],
)
def test_what_has_no_bound_is_unknown(core: str, name: str, expected: str, tmp_path: Path) -> None:
    found, why = stack_of(core, name, tmp_path)
    assert found is None and why.startswith(expected), why


def test_the_stack_of_vector_code_is_known() -> None:
    """Helium's instructions are read as what they are, its loops included."""
    place = target.load("mps3-an547")
    compiled = compile_model(model("digits"), place, form="cmake")
    assert any("mve" in call.function for call in compiled.program.calls)
    found = measure(compiled, place)
    assert found.inference_stack.bytes is not None and found.program_stack.bytes is not None, found
    assert 100 < found.inference_stack.bytes < found.program_stack.bytes <= STACK_BYTES


def test_a_stack_that_grows_in_a_loop(tmp_path: Path) -> None:
    found, why = stack_of("cortex-m0", "loop", tmp_path)
    assert found is None and why == "f takes more than 131072 bytes, or more with each round of a loop"


def test_a_core_whose_instructions_are_not_read() -> None:
    board = target.load("esp32dev")
    arm = target.load_core("cortex-m3")
    odd = replace(board, core=replace(arm, name="odd", title="Odd", features=frozenset()))
    found = measure(small(odd), odd)
    assert found.measured and found.inference_stack.bytes is None
    assert found.inference_stack.why == "the instructions of Odd are not read"


def hide_compilers(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """No compiler on the path, none of PlatformIO's."""
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(folder))


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_platformio_s_compiler_builds_platformio_s_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    core = target.load_core("cortex-m3")
    on_path = toolchain.find(core, platformio_first=True)
    assert on_path and on_path.title == "arm-none-eabi-gcc 12.2.1"
    folder = tmp_path / "packages" / "toolchain-gccarmnoneeabi" / "bin"
    for tool in ("gcc", "objdump"):
        script(folder / f"arm-none-eabi-{tool}", f'exec /usr/bin/arm-none-eabi-{tool} "$@"')
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    packaged = Toolchain(folder / "arm-none-eabi-gcc", folder / "arm-none-eabi-objdump")
    assert toolchain.find(core, platformio_first=True) == packaged
    assert toolchain.find(core, platformio_first=False) == on_path
    monkeypatch.setenv("PATH", "/nowhere")
    assert toolchain.find(core, platformio_first=False) == packaged


def test_without_a_compiler_it_is_an_estimate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    board = target.load("nucleo_f446re")
    compiled = small(board, "platformio")
    measured = measure(compiled, board)
    hide_compilers(monkeypatch, tmp_path)
    found = measure(compiled, board)
    assert found.note == "arm-none-eabi-gcc is neither on the path nor among PlatformIO's packages"
    assert not found.measured and found.inference_stack.bytes is None and found.program_stack.bytes is None
    assert abs(found.flash_bytes - measured.flash_bytes) <= found.margin_bytes
    assert abs(found.ram_bytes - measured.ram_bytes) <= 100


@pytest.mark.parametrize(
    "board", ["nucleo_g0b1re", "nucleo_f446re", "mps3-an547", "megaatmega2560", "esp32-c3-devkitm-1"]
)
@pytest.mark.parametrize("name", ["digits", "sine", "random_3009", "random_3014"])
def test_the_estimate_keeps_its_margin(board: str, name: str) -> None:
    place = target.load(board)
    compiled = compile_model(model(name), place)
    measured = measure(compiled, place)
    assert measured.measured, measured.note
    code = estimate.code_bytes(compiled, place.core)
    found = measured.flash_bytes - compiled.manifest["constant_bytes"]
    assert abs(code - found) <= estimate.margin_bytes(code, firmware=False)


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    board = target.load("nucleo_f446re")
    hide_compilers(monkeypatch, tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin/nowhere")
    script(tmp_path / "arm-none-eabi-gcc", "echo 'x.c: note: one' >&2; echo 'x.c: error: no string.h' >&2; exit 1")
    script(tmp_path / "arm-none-eabi-objdump", "exit 0")
    found: Footprint = measure(small(board), board)
    assert not found.measured
    assert found.note == "arm-none-eabi-gcc: failed, found x.c: error: no string.h"


def test_what_is_written_does_not_depend_on_the_compilers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    board = target.load("nucleo_f446re")
    before = small(board, "platformio")
    measure(before, board)
    hide_compilers(monkeypatch, tmp_path)
    assert small(board, "platformio").files == before.files
