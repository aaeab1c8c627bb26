"""Replays one inference of a board that only QEMU models, into the instructions of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from tinygen.driver import Compiled
from tinygen.emit import STACK_BYTES
from tinygen.profile.counts import PAINT, Counts, Replay, by_layer, painted
from tinygen.resources import FIRMWARE
from tinygen.target import Target
from tinygen.verify.board_qemu import LINKER_SCRIPT, run_machine
from tinygen.verify.cross import cross_compile, linker_script
from tinygen.verify.feeding import feeding

BOARD = "mps3-an547"
SHIFT = 10
OPTIONS = ("-icount", f"shift={SHIFT},sleep=off")
"""Time in the machine is instructions: each takes 2 to the power of SHIFT nanoseconds."""
TICKS = 32_000_000 * 2**SHIFT / 10**9
"""Of the machine's system counter for each instruction. Its 32 bits are enough for 131 million."""
HARNESS = """\
#include "cortex_m.c"
static void tg_layer_done(int32_t layer);
#define TG_LAYER_DONE(layer) tg_layer_done(layer)
#include "src/{name}.c"
{feeding}/* The system counter of the Corstone SSE-300. */
#define TG_COUNTER 0x58100000u
#define TG_COUNTER_CONTROL TG_REGISTER(TG_COUNTER)
#define TG_COUNTER_LOW TG_REGISTER(TG_COUNTER + 8)
#define TG_STACK_BOTTOM ((uint8_t *)((uint32_t)tg_stack_top - {stack}u))
static uint32_t tg_counts[{stops}], *tg_next = tg_counts;
static __attribute__((noipa)) void tg_layer_done(int32_t layer) {{ (void)layer; *tg_next++ = TG_COUNTER_LOW; }}
/* Two calls of tg_layer_done in a row, the inference, and one more; where the stack then was. */
static __attribute__((noinline)) uint8_t *tg_count(void)
{{
    uint8_t *here;
    __asm volatile("mov %0, sp" : "=r"(here));
    for (volatile uint8_t *at = TG_STACK_BOTTOM; at < here; ++at) {{
        *at = {paint};
    }}
    tg_layer_done(0);
    tg_layer_done(0);
    {name}_invoke();
    tg_layer_done(0);
    return here;
}}
static void tg_main(void)
{{
    const uint32_t inputs = tg_open("inputs.bin", TG_READ_BINARY);
    const uint32_t results = tg_open("results.bin", TG_WRITE_BINARY);
    uint32_t used;
{reads}
    tg_allow(2, TG_COUNTER, 4096, 1);
    TG_COUNTER_CONTROL = 1;
    used = (uint32_t)tg_stack_top - (uint32_t)tg_count();
    tg_write(results, tg_counts, sizeof tg_counts);
    tg_write(results, &used, sizeof used);
    tg_write(results, TG_STACK_BOTTOM, {stack});
{writes}
    tg_close(results);
}}
"""
CALL, INVOKE = 2, 1
"""Instructions that call tg_layer_done, and those that call the inference."""


def replay(compiled: Compiled, target: Target, inputs: Sequence[bytes], folder: Path) -> Replay:
    """One inference of the model alone, built as the board's firmware builds it."""
    _build(compiled, target, folder)
    (folder / "inputs.bin").write_bytes(b"".join(inputs))
    run_machine(target, folder, OPTIONS)
    data = (folder / "results.bin").read_bytes()
    stops = _stops(compiled)
    used, *_ = np.frombuffer(data, "<u4", 1, 4 * stops)
    stack = data[4 * (stops + 1) :][:STACK_BYTES]
    layers = _layers(compiled, np.frombuffer(data, "<u4", stops).tolist())
    outputs, start = [], 4 * (stops + 1) + STACK_BYTES
    for port in compiled.program.outputs:
        outputs.append(data[start : start + port.tensor.bytes])
        start += port.tensor.bytes
    return Replay(layers, tuple(outputs), STACK_BYTES - int(used) - painted(stack))


def _stops(compiled: Compiled) -> int:
    """How often the counter is read: twice before the inference, at each stop, after it."""
    return len(compiled.program.stops) + 3


def _layers(compiled: Compiled, counts: Sequence[int]) -> tuple[Counts, ...]:
    """The instructions of each layer. Calling tg_layer_done counts, what it takes itself does not."""
    hook, *found = [round((after - before) % (1 << 32) / TICKS) for before, after in pairwise(counts)]
    *parts, rest = [Counts(count - (hook - CALL)) for count in found]
    if parts:
        parts[0] += Counts(-INVOKE)
    return by_layer(compiled.program, parts, rest + Counts(-CALL))


def _build(compiled: Compiled, target: Target, folder: Path) -> None:
    program = compiled.program
    reads = [f"    tg_read(inputs, {port.symbol}(), {port.tensor.bytes});" for port in program.inputs]
    writes = [f"    tg_write(results, {port.symbol}(), {port.tensor.bytes});" for port in program.outputs]
    blocks = {"reads": "\n".join(reads), "writes": "\n".join(writes), "stack": STACK_BYTES, "paint": PAINT}
    files = {
        "board.c": HARNESS.format(name=program.name, feeding=feeding(program), **blocks, stops=_stops(compiled)),
        "cortex_m.c": (FIRMWARE / "emulator" / "cortex_m.c").read_text("utf-8"),
        "board.ld": linker_script(LINKER_SCRIPT, target),
    }
    link = ["-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-Wl,-T,board.ld", "-Wl,-e,tg_vectors"]
    cross_compile(compiled, target, folder, files, link)
