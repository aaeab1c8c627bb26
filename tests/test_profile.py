"""What profile counts: instruction costs, layers that add up, reads from flash, the emulators against each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import unicorn

from tests.modelbuilder import ModelBuilder
from tests.small_models import convolution, two_convolutions
from tests.test_cli import as_json, complaint, tinygen
from tinygen import reference, target
from tinygen.budget import weigh
from tinygen.driver import Compiled, Model, compile_model, load
from tinygen.emit import STACK_BYTES
from tinygen.errors import TargetError, ToolError
from tinygen.footprint.listing import Instruction, read_instructions
from tinygen.footprint.measure import measure
from tinygen.footprint.toolchain import Toolchain, find
from tinygen.frontend import tflite
from tinygen.ir import DTYPES
from tinygen.profile import avr, cortex_m, facts, qemu
from tinygen.profile.avr import CountedBoard
from tinygen.profile.costs import TABLES, block_cycles
from tinygen.profile.counts import Counts, Replay
from tinygen.profile.facts import Profile
from tinygen.profile.profile import choose, profile
from tinygen.profile.replay import RUNNER, Replayer
from tinygen.project import default_format
from tinygen.quant import Numerics
from tinygen.target import Target
from tinygen.verify.samples import random_samples

ROOT = Path(__file__).parent.parent
DIGITS, SINE = (ROOT / "examples" / name / f"{name}.tflite" for name in ("digits", "sine"))
BOARDS = ("bbcmicrobit", "pico", "bluepill_f103c8", "nucleo_l4r5zi", "nucleo_h743zi", "nucleo_l552ze_q")
"""One of each core that Unicorn runs: M0, M0+, M3, M4F, M7, M33."""
HOOK = "tg_layer_done"

INSTRUCTIONS: dict[str, tuple[int | None, int | None, int | None]] = {
    "adds r0, r1, r2": (1, 1, 1),
    "muls r0, r1, r0": (1, 1, 1),
    "mov r0, r1; lsls r0, r0, #3": (2, 2, 2),
    "ldr r0, [r1]": (2, 2, 2),
    "ldr r0, [r1]; ldr r2, [r1, #4]; ldr r3, [r1, #8]": (6, 4, 4),
    "ldrb r0, [r1]; adds r0, #1; ldrh r2, [r1]": (5, 5, 5),
    "ldrsb r0, [r1, r2]": (2, 2, 2),
    "ldr r0, [pc, #4]": (2, 2, 2),
    "str r0, [r1]; ldr r2, [r1]": (4, 2, 2),
    "strb r0, [r1]; strh r0, [r2]": (4, 2, 2),
    "push {r4, lr}": (3, 3, 3),
    "push {r4}": (2, 2, 2),
    "pop {r4, r5, r6, pc}": (5, 5, 5),
    "ldmia r0!, {r1, r2, r3}; ldr r4, [r0]": (6, 5, 5),
    "stmia r0!, {r1, r2}": (3, 3, 3),
    "bl .": (1, 1, 1),
    "bx lr": (1, 1, 1),
    "cmp r0, r1; bne .": (2, 2, 2),
    "mla r0, r1, r2, r3": (None, 2, 1),
    "mls r0, r1, r2, r3": (None, 2, 1),
    "smull r0, r1, r2, r3": (None, 4, 1),
    "umlal r0, r1, r2, r3": (None, 4, 1),
    "smlal r0, r1, r2, r3; umull r0, r1, r2, r3": (None, 8, 2),
    "sdiv r0, r1, r2": (None, 7, 7),
    "udiv r0, r1, r2": (None, 7, 7),
    "ldrd r0, r1, [r2]; ldr r3, [r2]": (None, 4, 4),
    "strd r0, r1, [r2]": (None, 3, 3),
    "tbb [pc, r0]": (None, 2, 2),
    "tbh [pc, r0, lsl #1]": (None, 2, 2),
    "it eq; ldreq r0, [r1]": (None, 3, 3),
    "ldr pc, [sp], #4": (None, 2, 2),
    "str lr, [sp, #-4]!": (None, 1, 1),
    "stmdb sp!, {r4-r11, lr}": (None, 10, 10),
    "ldmia.w sp!, {r4-r11, pc}": (None, 10, 10),
    "ssat r0, #8, r1, asr #4": (None, 1, 1),
    "smlad r0, r1, r2, r3; smlald r0, r1, r2, r3": (None, None, 2),
    "smmla r0, r1, r2, r3; smlalbb r0, r1, r2, r3": (None, None, 2),
    "sxtb16 r0, r1, ror #8; pkhbt r0, r1, r2, lsl #16": (None, None, 2),
    "vmov s0, r0; vadd.f32 s0, s1, s2": (None, None, 2),
    "vldr s0, [r0]": (None, None, 2),
    "ldr r1, [r0]; vldr s0, [r0]; vstr s0, [r0]": (None, None, 4),
    "vstr s0, [r0]": (None, None, 2),
    "vldmia r0!, {s0-s7}": (None, None, 9),
    "vpush {d8-d10}": (None, None, 4),
    "vpop {s16}": (None, None, 2),
    "vmla.f32 s0, s1, s2; vfma.f32 s0, s1, s2": (None, None, 6),
    "vdiv.f32 s0, s1, s2; vsqrt.f32 s0, s1": (None, None, 28),
}
"""Instructions -> their cycles on M0+, M3 and M4F; None where the core does not have them."""
CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4f")
LOOP = """\
.syntax unified
.thumb
.global tg_vectors, count, tg_layer_done, table
.type count, %function
.type tg_layer_done, %function
count:
    push {r4, lr}
    movs r4, #10
again:
    subs r4, #1
    bne again
    movs r0, #0
    bl tg_layer_done
    ldr r0, =table
    ldrb r1, [r0]
    ldrb r1, [r0, #1]
    ldr r1, [r0, #32]
    pop {r4, pc}
    .ltorg
    .size count, . - count
tg_layer_done:
    ldr r3, [r3]
    bx lr
    .size tg_layer_done, . - tg_layer_done
    .balign 16
table:
    .space 64
"""


def model(data: bytes) -> Model:
    return Model("net.tflite", data, tflite.read(data, "net"))


def compiled_for(source: Model, board: Target) -> Compiled:
    return compile_model(source, board, form=default_format(board))


def profiled(source: Model, board: Target, seed: int = 0) -> Profile:
    """What the command does between the file and its table."""
    compiled = compiled_for(source, board)
    return profile(compiled, board, weigh(compiled, board, measure(compiled, board)), seed)


@cache
def digits_on(name: str) -> Profile:
    """Of the digits example, on the board of that name."""
    return profiled(load(DIGITS), target.load(name))


def tools(board: Target) -> Toolchain:
    found = find(board.core, False)
    assert found is not None
    return found


def sample(compiled: Compiled) -> list[np.ndarray[Any, Any]]:
    """The input that the profile takes with seed 0."""
    return random_samples(compiled.graph, 4, 0)[3]


def expected(compiled: Compiled) -> tuple[bytes, ...]:
    """The reference's outputs for that input."""
    values = reference.run(compiled.graph, sample(compiled), Numerics.TFLITE)
    return tuple(np.ascontiguousarray(values[i]).tobytes() for i in compiled.graph.outputs)


def raw(compiled: Compiled) -> list[bytes]:
    ports = zip(compiled.program.inputs, sample(compiled), strict=True)
    return [np.ascontiguousarray(value, DTYPES[port.tensor.dtype]).tobytes() for port, value in ports]


def fully_connected() -> bytes:
    """16 inputs, 8 outputs, each weight and each constant read once."""
    build = ModelBuilder(np.random.default_rng(5))
    x = build.input((1, 16), "int8", 0.02, 4)
    weights = build.constant(build.rng.integers(-127, 128, (8, 16)), "int8", 0.01, 0)
    bias = build.constant(build.rng.integers(-500, 500, 8), "int32", np.float32(0.02) * np.float32(0.01), 0)
    y = build.tensor((1, 8), "int8", 0.05, -3)
    build.op("FULLY_CONNECTED", [x, weights, bias], [y], "FullyConnected")
    return build.finish()


def wide(folder: Path) -> Path:
    """A model whose input alone is larger than the RAM of an Arduino Uno."""
    build = ModelBuilder()
    convolution(build, build.input((1, 32, 32, 4), "int8", 0.02, 4))
    (folder / "wide.tflite").write_bytes(build.finish())
    return folder / "wide.tflite"


def assemble(folder: Path, core: target.Core, text: str, *options: str) -> Path:
    (folder / "code.s").write_text(text)
    command = [core.compiler, *core.cflags, *options, "code.s", "-o", "code.elf"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "code.elf"


@pytest.mark.parametrize(("number", "name"), list(enumerate(CORES)), ids=list(CORES))
def test_what_each_kind_of_instruction_costs(number: int, name: str, tmp_path: Path) -> None:
    core = target.load_core(name)
    there = {text: cost[number] for text, cost in INSTRUCTIONS.items() if cost[number] is not None}
    labels = [f".global f{i}\n.type f{i}, %function\nf{i}:\n{text}\n" for i, text in enumerate(there)]
    elf = assemble(tmp_path, core, ".syntax unified\n.thumb\n" + "".join(labels).replace("; ", "\n"), "-c")
    listing = read_instructions(
        subprocess.run(
            ["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", str(elf)], check=True, capture_output=True, text=True
        ).stdout
    )
    starts = sorted(listing.labels)
    assert len(starts) == len(there)
    found = {}
    for text, start, end in zip(there, starts, [*starts[1:], max(listing.instructions) + 1], strict=True):
        block = [instruction for at, instruction in sorted(listing.instructions.items()) if start <= at < end]
        found[text] = block_cycles(block, TABLES[name])
    assert found == there


def test_a_list_of_registers_as_any_disassembler_writes_it() -> None:
    for operands in ("sp!, {r4-r7, pc}", "{r4, r5, r6, r7, pc}", "r0!, {s0, s1, s2-s4}"):
        assert block_cycles([Instruction("ldmia.w", operands, 4)], TABLES["cortex-m4"]) == 6


@pytest.mark.parametrize("name, loop", [("pico", 10 * 2 + 9), ("nucleo_l4r5zi", 10 * 2 + 9 * 2)])
def test_a_program_counted_by_hand(name: str, loop: int, tmp_path: Path) -> None:
    """Blocks, taken branches, reads from flash; nothing of the function that ends a layer."""
    board = target.load(name)
    place = f"-Wl,-Ttext={board.flash[0].origin:#x},-e,count"
    elf = assemble(tmp_path, board.core, LOOP, "-nostdlib", place)
    replayer = Replayer(board, cortex_m.read_program(elf, tools(board), board), tmp_path)
    first, rest = replayer.count("count", board.ram[0].origin + 1024, HOOK, 1)
    taken, load, next_load = (1, 2, 2) if name == "pico" else (2, 2, 1)
    assert first.instructions == 2 + 2 * 10 + 2
    assert first.cycles == 3 + 1 + loop + 1 + (1 + taken)
    assert rest.instructions == 5
    assert rest.cycles == load + 3 * next_load + 3 + taken
    assert (first.constant_read_bytes, first.literal_read_bytes) == (0, 0)
    assert (rest.constant_read_bytes, rest.literal_read_bytes) == (1 + 1 + 4, 4)


def test_waiting_for_the_flash(tmp_path: Path) -> None:
    """Three lines of code of which one is jumped to, then three lines of data: the literals, and two of the table."""
    board = replace(target.load("nucleo_l4r5zi"), flash_wait_states=7)
    elf = assemble(tmp_path, board.core, LOOP, "-nostdlib", f"-Wl,-Ttext={board.flash[0].origin:#x},-e,count")
    program = cortex_m.read_program(elf, tools(board), board)
    found = Replayer(board, program, tmp_path).count("count", board.ram[0].origin + 1024, HOOK, 1)
    total = found[0] + found[1]
    count, end = program.image.symbol("count") & ~1, program.image.symbol(HOOK) & ~1
    code_lines = (end - 1) // 16 - count // 16
    assert code_lines == 1  # the literals are in the last line
    assert total.stall_cycles == 7 * (1 + 3)
    assert total.unaided_stall_cycles == 7 * (2 + 3)
    again = Replayer(replace(board, flash_wait_states=None), program, tmp_path).count(
        "count", board.ram[0].origin + 64, HOOK, 1
    )
    assert [counts.stall_cycles for counts in again] == [None, None]


@pytest.mark.parametrize("name", BOARDS)
def test_layers_add_up(name: str, tmp_path: Path) -> None:
    """Cut into layers or not, an inference takes the same; it computes what the reference does, on no more stack than
    proven.
    """
    board = target.load(name)
    source = load(DIGITS) if name == "nucleo_l4r5zi" else model(two_convolutions())
    found = digits_on(name) if name == "nucleo_l4r5zi" else profiled(source, board)
    compiled = compiled_for(source, board)
    replay = cortex_m.replay(compiled, board, tools(board), raw(compiled), tmp_path)
    assert replay.outputs == expected(compiled)
    assert tuple(layer.counts for layer in found.layers) == replay.layers
    program = cortex_m.read_program(tmp_path / "measured.elf", tools(board), board)
    hook, top = program.image.symbol(HOOK) & ~1, program.image.symbol("tg_stack_top")
    instructions = {**program.listing.instructions, hook: Instruction("bx", "lr", hook + 2)}
    program = replace(program, listing=replace(program.listing, instructions=instructions))
    replayer = Replayer(board, program, tmp_path)
    for port, data in zip(compiled.program.inputs, raw(compiled), strict=True):
        replayer.write(replayer.call(port.symbol, top), data)
    replayer.write(hook, bytes.fromhex("7047"))
    whole = replayer.count(f"{compiled.program.name}_invoke", top, None, 0)[0]
    calls = len(compiled.program.calls)
    assert found.total.instructions == whole.instructions - calls
    assert found.total.cycles == (whole.cycles or 0) - calls * (1 + TABLES[board.core.name].taken_branch)
    assert found.macs == compiled.program.macs
    assert sum(found.share(layer.counts) for layer in found.layers) == pytest.approx(1)
    bound = found.budget.footprint.inference_stack.bytes
    assert bound is not None and 0 < found.stack_bytes <= bound


def test_a_board_without_our_firmware(tmp_path: Path) -> None:
    """The model alone, whose kernels are the same."""
    due, blue = target.load("due"), target.load("bluepill_f103c8")
    alone, firmware = profiled(load(SINE), due), profiled(load(SINE), blue)
    assert (alone.program, firmware.program) == ("model", "firmware")
    assert [layer.kernel for layer in alone.layers] == [layer.kernel for layer in firmware.layers]
    assert alone.total.constant_read_bytes == firmware.total.constant_read_bytes
    row = next(
        row for row in target.known_boards().values() if row.core == "cortex-m4" and row.id not in target.names()
    )
    found = profiled(model(two_convolutions()), target.load(row.id))
    assert found.milliseconds(found.total.stall_cycles) is None and found.milliseconds() is not None
    assert any("not known" in line for line in found.assumptions)


@pytest.mark.parametrize("name", ["bluepill_f103c8", "uno"])
def test_a_fully_connected_layer_reads_its_constants_once(name: str) -> None:
    board = target.load(name)
    found = profiled(model(fully_connected()), board)
    (layer,) = found.layers
    assert layer.counts.constant_read_bytes == found.budget.need.constant_bytes
    assert layer.macs == 8 * 16


def test_avr_counts_what_the_chip_would(tmp_path: Path) -> None:
    """With a jump to more than 128 kB a call takes a cycle more, and nothing else differs."""
    layers = {}
    for name in ("uno", "megaatmega2560"):
        board = target.load(name)
        compiled = compile_model(load(SINE), board)
        (tmp_path / name).mkdir()
        replay = CountedBoard(compiled, board, tmp_path / name).replay(raw(compiled))
        assert replay.outputs == expected(compiled)
        layers[name] = replay
    small, large = layers["uno"].layers, layers["megaatmega2560"].layers
    assert [layer.instructions for layer in small] == [layer.instructions for layer in large]
    assert all((a.cycles or 0) < (b.cycles or 0) for a, b in zip(small, large, strict=True))
    found = profiled(load(SINE), target.load("uno"))
    assert tuple(layer.counts for layer in found.layers) == small
    bound = found.budget.footprint.inference_stack.bytes
    assert bound is not None and found.stack_bytes == layers["uno"].stack_bytes <= bound
    assert found.milliseconds() == pytest.approx(1000 * (found.total.cycles or 0) / 16e6)
    assert avr.FLAGS == ("-Os",) and "-Os" in found.assumptions[0]


def test_qemu_and_unicorn_count_the_same(tmp_path: Path) -> None:
    """The machine of the M55 with the code of an M33, which both run: the same program, to the instruction."""
    board = replace(target.load("mps3-an547"), core=target.load_core("cortex-m33"))
    compiled = compile_model(load(DIGITS), board)
    found = qemu.replay(compiled, board, [bytes(port.tensor.bytes) for port in compiled.program.inputs], tmp_path)
    program = cortex_m.read_program(tmp_path / "board.elf", tools(board), board)
    top = program.image.symbol("tg_stack_top")
    calls = len(compiled.program.calls)
    counts = Replayer(board, program, tmp_path).count(f"{compiled.program.name}_invoke", top, HOOK, calls)
    assert [layer.instructions for layer in found.layers[:-1]] == [part.instructions for part in counts[:-2]]
    assert found.layers[-1].instructions == (counts[-2] + counts[-1]).instructions


def test_m55_tells_instructions(tmp_path: Path) -> None:
    board = target.load("mps3-an547")
    compiled = compile_model(load(DIGITS), board)
    replay = qemu.replay(compiled, board, raw(compiled), tmp_path)
    assert replay.outputs == expected(compiled)
    found = profiled(load(DIGITS), board)
    assert tuple(layer.counts for layer in found.layers) == replay.layers
    assert found.total.cycles is None and found.milliseconds() is None
    assert 0 < found.stack_bytes <= (found.budget.footprint.inference_stack.bytes or STACK_BYTES)
    shown = tinygen("profile", DIGITS, "--board", "mps3-an547").stdout
    assert "instructions/MAC" in shown and "cycles/MAC" not in shown and "QEMU" in shown


@pytest.mark.parametrize("name", ["nucleo_l4r5zi", "uno", "mps3-an547"])
def test_a_model_without_layers(name: str) -> None:
    """The output is the input under another shape."""
    build = ModelBuilder()
    x = build.input((1, 6), "int8", 0.02, 4)
    shape = build.constant([2, 3], "int32")
    build.op("RESHAPE", [x, shape], [build.tensor((2, 3), "int8", 0.02, 4)], "Reshape", newShape=[2, 3])
    found = profiled(model(build.finish()), target.load(name))
    assert found.layers == () and found.macs == 0 and found.as_json()["total"]["cycles_per_mac"] is None


def test_json() -> None:
    found = as_json("profile", DIGITS, "--board", "nucleo_l4r5zi")
    assert found == json.loads(json.dumps(digits_on("nucleo_l4r5zi").as_json()))
    assert set(found) == {
        *("model", "board", "core", "clock_hz", "flash_wait_states", "emulator", "program", "seed", "layers", "total"),
        *("flash", "ram_bytes", "stack_bytes", "stack_bound_bytes", "budget", "assumptions"),
    }
    facts_of_layer = {"layer", "operator", "shapes", "kernel", "function", "macs", "share"}
    counted = {
        *("instructions", "cycles", "constant_read_bytes", "literal_read_bytes", "flash_read_bytes", "stall_cycles"),
        *("unaided_stall_cycles", "cycles_per_mac", "instructions_per_mac"),
    }
    assert all(set(layer) == facts_of_layer | counted for layer in found["layers"])
    times = {"milliseconds", "milliseconds_zero_wait", "milliseconds_without_prefetch"}
    assert set(found["total"]) == counted | times | {"macs"}
    assert [layer["layer"] for layer in found["layers"]] == list(range(7))
    assert [layer["kernel"] for layer in found["layers"]][-2:] == ["matrix.words.dsp", "softmax"]
    total, flash = found["total"], found["flash"]
    for key in ("macs", "cycles", "instructions", "flash_read_bytes", "stall_cycles", "unaided_stall_cycles"):
        assert total[key] == sum(layer[key] for layer in found["layers"])
    assert total["milliseconds_zero_wait"] == total["cycles"] / 120_000
    assert total["milliseconds"] == (total["cycles"] + total["stall_cycles"]) / 120_000
    assert total["milliseconds_zero_wait"] < total["milliseconds"] < total["milliseconds_without_prefetch"]
    assert flash["bytes"] == flash["constant_bytes"] + flash["layer_code_bytes"] + flash["other_bytes"]


def test_the_table() -> None:
    lines = tinygen("profile", DIGITS, "--board", "nucleo_l4r5zi", "--top", 2).stdout.splitlines()
    found = json.loads(json.dumps(digits_on("nucleo_l4r5zi").as_json(top=2)))
    columns = ("layer", "operator", "kernel", "shapes", "MACs", "cycles", "instructions", "cycles/MAC", "share")
    assert all(column in lines[0] for column in columns)
    first, second = found["layers"]
    assert first["cycles"] >= second["cycles"]
    for line, layer in zip(lines[1:3], found["layers"], strict=True):
        assert f"{layer['cycles']:,}" in line and layer["kernel"] in line and f"{100 * layer['share']:.1f} %" in line
    assert lines[3].split()[0] == "all" and f"{found['total']['cycles']:,}" in lines[3]
    text = "\n".join(lines)
    total = found["total"]
    assert f"{total['milliseconds']:.3f} ms to {total['milliseconds_without_prefetch']:.3f} ms at 120 MHz" in text
    assert f"{total['milliseconds_zero_wait']:.3f} ms without any" in text
    assert f"one inference took {found['stack_bytes']} B" in text
    assert all(line in text for line in found["assumptions"])
    assert "feeds it" not in text


def test_a_model_that_is_fed() -> None:
    text = tinygen("profile", DIGITS, "--board", "nucleo_l4r5zi", "--feed").stdout
    assert "model alone" in text and " B, with the loop that feeds it" in text


def test_requests_that_cannot_be_met(tmp_path: Path) -> None:
    small = tmp_path / "net.tflite"
    small.write_bytes(two_convolutions())
    found = complaint("profile", small, "--board", "esp32dev")
    assert found.startswith("esp32dev: no emulator for this board's core, found xtensa-lx6, expected avr, cortex-m0,")
    assert "Missing option '--board'." in tinygen("profile", small, code=2).stderr
    assert "DOES NOT FIT" in tinygen("profile", wide(tmp_path), "--board", "uno", code=1).stdout
    assert as_json("profile", wide(tmp_path), "--board", "uno", code=1)["fits"] is False


def test_missing_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, board = model(two_convolutions()), target.load("bluepill_f103c8")
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ToolError, match=r"^C compiler not found, found no-such-compiler; install gcc or clang"):
        profiled(source, board)
    monkeypatch.setenv("CC", "cc -nostdinc")
    with pytest.raises(ToolError, match=r"^Unicorn cannot be linked with, found .*error.*; pip install"):
        profiled(source, board)
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    gcc = shutil.which("arm-none-eabi-gcc")
    assert gcc is not None
    (tmp_path / "arm-none-eabi-gcc").symlink_to(gcc)
    (tmp_path / "arm-none-eabi-objdump").symlink_to(gcc.replace("gcc", "objdump"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"^qemu-system-arm not found; install it, on Debian: apt-get"):
        profiled(source, target.load("mps3-an547"))
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(ToolError, match=r"^cross-compiler not found, found arm-none-eabi-gcc; install it, on Debian"):
        profiled(source, board)


def test_a_program_that_faults_is_told_with_its_place(tmp_path: Path) -> None:
    board = target.load("nucleo_l4r5zi")
    text = LOOP.replace("ldr r0, =table", "ldr r0, =0x60000000")
    elf = assemble(tmp_path, board.core, text, "-nostdlib", f"-Wl,-Ttext={board.flash[0].origin:#x},-e,count")
    replayer = Replayer(board, cortex_m.read_program(elf, tools(board), board), tmp_path)
    message = r"^nucleo_l4r5zi: the emulated program faulted, found .*READ_UNMAPPED\), at 0x080000.. in count\(\)$"
    with pytest.raises(ToolError, match=message):
        replayer.count("count", board.ram[0].origin + 1024, HOOK, 1)


def test_which_emulator() -> None:
    assert [choose(target.load(name)) for name in (*BOARDS, "leonardo", "mps3-an547")] == [
        *[facts.UNICORN] * len(BOARDS),
        facts.SIMAVR,
        facts.QEMU,
    ]
    with pytest.raises(TargetError, match="no emulator for this board's core"):
        choose(target.load("esp32-c3-devkitm-1"))
    assert set(TABLES) == set(cortex_m.TABLES) and Replay((Counts(1),), (), 0).layers[0].cycles is None


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_runner_has_no_warnings(compiler: str, tmp_path: Path) -> None:
    include = Path(unicorn.__file__).parent / "include"
    strict = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fPIC", "-isystem", str(include)]
    subprocess.run([compiler, *strict, "-c", str(RUNNER), "-o", str(tmp_path / "replay.o")], check=True)
