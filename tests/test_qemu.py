"""The third oracle in QEMU: the Cortex-M55, which Unicorn does not have, and a stricter opinion on some others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.random_models import emitters, random_model
from tests.small_models import two_convolutions
from tests.test_emulated import ROOT, check_on_boards, compiled
from tests.test_generated_c import operator_model
from tinygen import reference, target
from tinygen.driver import load
from tinygen.errors import ToolError
from tinygen.quant import Numerics
from tinygen.target import Target
from tinygen.verify import board_qemu
from tinygen.verify.board import emulate
from tinygen.verify.board_qemu import MACHINES, QemuBoard
from tinygen.verify.board_unicorn import UnicornBoard
from tinygen.verify.samples import random_samples

M55 = "mps3-an547"


def check_in_qemu(data: bytes, place: Target, folder: Path) -> None:
    """Every layer against the NumPy reference."""
    result = compiled(data, place)
    model, graph = QemuBoard(result, place, folder), result.model.graph
    for sample in random_samples(graph, 2):
        expected = reference.run(graph, sample, Numerics.TFLITE)
        layers, outputs = model.run(sample)
        assert len(layers) == sum(len(call.outputs) for call in result.program.calls)
        for tensor, value in [*layers.items(), *zip(result.graph.outputs, outputs, strict=True)]:
            held = result.graph.tensors[tensor].part_of(expected[tensor])
            assert value.dtype == held.dtype
            assert value.tobytes() == held.tobytes(), tensor


def patched(text: str, place: Target, folder: Path, head: str = "") -> QemuBoard:
    """A small model with `text` at the end of its last layer, and `head` before all else."""
    result = compiled(two_convolutions(), place)
    source = result.files["src/net.c"]
    assert source.count("    TG_LAYER_DONE(1);") == 1
    source = head + source.replace("    TG_LAYER_DONE(1);", f"    {text}\n    TG_LAYER_DONE(1);")
    return QemuBoard(replace(result, files={**result.files, "src/net.c": source}), place, folder)


def run(model: QemuBoard) -> None:
    """One inference."""
    model.run(random_samples(compiled(two_convolutions(), target.load(M55)).model.graph, 1)[0])


@pytest.mark.parametrize("board", ("bbcmicrobit", "mps2-an386", M55))
@pytest.mark.parametrize("name", sorted(emitters()))
def test_every_operator(name: str, board: str, tmp_path: Path) -> None:
    """On an M0, where every unaligned access is a fault; an M4F, where those of LDRD and LDM are; and an M55."""
    check_in_qemu(operator_model(name, seed=22), target.load(board), tmp_path)


@pytest.mark.parametrize("seed", (710, 711, 712))
def test_random_models_on_the_m55(seed: int) -> None:
    check_on_boards(random_model(seed), (M55,))


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*/*.tflite")), ids=lambda path: path.stem)
def test_examples_on_the_m55(example: Path) -> None:
    check_on_boards(load(example).data, (M55,), samples=2)


@pytest.mark.parametrize("board", sorted(MACHINES))
def test_every_machine(board: str, tmp_path: Path) -> None:
    check_in_qemu(two_convolutions(), target.load(board), tmp_path)


@pytest.mark.parametrize("seed", (720, 721))
def test_two_emulators_agree(seed: int, tmp_path: Path) -> None:
    place = target.load("mps2-an386")
    result = compiled(random_model(seed), place)
    models = [kind(result, place, tmp_path / kind.__name__) for kind in (QemuBoard, UnicornBoard)]
    for sample in random_samples(result.model.graph, 2):
        (qemu, qemu_outputs), (unicorn, unicorn_outputs) = [model.run(sample) for model in models]
        assert qemu.keys() == unicorn.keys()
        for tensor in qemu:
            np.testing.assert_array_equal(qemu[tensor], unicorn[tensor])
        for ours, theirs in zip(qemu_outputs, unicorn_outputs, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_m55_runs_vector_instructions(tmp_path: Path) -> None:
    """The compiler makes none of its own from today's kernels at -O2, so this is what shows that they are on."""
    text = "if (vaddvq_s8(vmulq_s8(vdupq_n_s8(-3), vdupq_n_s8((int8_t)arena[0]))) != (int8_t)(-3 * arena[0]) * 16) {"
    run(patched(f"{text} __builtin_trap(); }}", target.load(M55), tmp_path, "#include <arm_mve.h>\n"))


FAULTS = (
    (M55, "*(volatile int8_t *)0x20080000 = 1;", "access outside memory, address 0x20080000, at 0x"),
    (M55, "*(volatile int8_t *)0x21400000 = 1;", "access outside memory, address 0x21400000, at 0x"),
    (M55, "*(volatile int8_t *)net_1_conv_2d_words = 1;", "access outside memory, address 0x"),
    (M55, "((void (*)(void))(net_arena.bytes + 1))();", "instruction fetch outside flash, at 0x20000"),
    (M55, '__asm volatile("sub sp, sp, #0x100000\\n push {r0}");', "access outside memory, stack outside memory"),
    (M55, "__builtin_trap();", "undefined instruction, at 0x"),
    ("mps2-an505", "*(volatile int8_t *)0x38400000 = 1;", "access outside memory, address 0x38400000, at 0x"),
    ("mps2-an386", "*(volatile int8_t *)0x20400000 = 1;", "access outside memory, address 0x20400000, at 0x"),
    ("mps2-an386", "*(volatile int8_t *)net_1_conv_2d_words = 1;", "access outside memory, address 0x"),
    ("stm32vldiscovery", "*(volatile int8_t *)0x20002000 = 1;", "access outside memory, address 0x20002000, at 0x"),
    ("bbcmicrobit", '__asm volatile("ldr r0, [%0]" : : "r"(arena + 1) : "r0");', "hard fault, at 0x"),
    ("mps2-an386", '__asm volatile("ldrd r0, r1, [%0]" : : "r"(arena + 1) : "r0", "r1");', "unaligned access, at 0x"),
    ("bbcmicrobit", "*(volatile int8_t *)0x20004000 = 1;", "hard fault, at 0x"),
)


@pytest.mark.parametrize(("board", "text", "message"), FAULTS, ids=lambda value: value[:40])
def test_a_fault_ends_the_run(board: str, text: str, message: str, tmp_path: Path) -> None:
    model = patched(text, target.load(board), tmp_path)
    with pytest.raises(ToolError) as error:
        run(model)
    assert str(error.value).startswith(f"{board}: the emulated program faulted, found {message}")


def test_a_hung_program_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = patched("for (;;) { }", target.load(M55), tmp_path)
    monkeypatch.setattr(board_qemu, "LIMIT_SECONDS", 1)
    with pytest.raises(ToolError, match="mps3-an547: the emulated program hung, found still running after 1 s"):
        run(model)


def test_results_that_are_cut_short(tmp_path: Path) -> None:
    model = patched("tg_exit(0);", target.load(M55), tmp_path)
    with pytest.raises(ToolError, match="the emulated program's results are incomplete, found 120 bytes, expected 300"):
        run(model)


def test_inputs_that_are_cut_short(tmp_path: Path) -> None:
    model = patched('tg_read(tg_open("inputs.bin", TG_READ_BINARY), arena, 61);', target.load(M55), tmp_path)
    with pytest.raises(ToolError, match="the emulator failed, found exit code 101"):
        run(model)


def test_the_emulators_own_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = patched("", target.load(M55), tmp_path)
    monkeypatch.setattr(board_qemu, "MACHINES", {M55: "abacus"})
    with pytest.raises(ToolError, match="the emulator failed, found exit code 1: qemu-system-arm: unsupported machine"):
        run(model)


def test_no_emulator_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = patched("", target.load(M55), tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ToolError, match="qemu-system-arm not found; install it, on Debian: apt-get install qemu-system"
    ):
        run(model)


def test_a_board_that_is_no_machine(tmp_path: Path) -> None:
    place = target.load("nucleo_l4r5zi")
    with pytest.raises(ToolError, match="nucleo_l4r5zi: QEMU has no such board, expected bbcmicrobit, mps2-an385"):
        QemuBoard(compiled(two_convolutions(), place), place, tmp_path)


def test_which_emulator_a_board_gets(tmp_path: Path) -> None:
    for name, kind in ((M55, QemuBoard), ("mps2-an386", UnicornBoard)):
        place = target.load(name)
        assert isinstance(emulate(compiled(two_convolutions(), place), place, tmp_path), kind)
