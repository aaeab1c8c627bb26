"""Replays one inference of a compiled model for its board, into what each layer of it takes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tinygen import ops
from tinygen.budget import Budget, model_code_bytes
from tinygen.driver import Compiled, compile_model
from tinygen.errors import TargetError, ToolError
from tinygen.footprint.build import is_firmware
from tinygen.footprint.toolchain import Toolchain, find
from tinygen.ir import DTYPES
from tinygen.ops.spec import context_of
from tinygen.profile import cortex_m, qemu
from tinygen.profile.avr import CountedBoard
from tinygen.profile.counts import Replay
from tinygen.profile.facts import QEMU, SIMAVR, UNICORN, LayerProfile, Profile
from tinygen.program import Call
from tinygen.project import PLATFORMIO
from tinygen.quant import Numerics
from tinygen.target import Core, Target
from tinygen.variants import Optimize
from tinygen.verify.board_unicorn import MODELS
from tinygen.verify.cross import PACKAGES
from tinygen.verify.samples import random_samples

RANDOM_SAMPLE = 3
"""The first of the random samples that is not at the ends of the range."""


def profile(compiled: Compiled, board: Target, budget: Budget, seed: int) -> Profile:
    """One inference of `compiled`, which fits its board, with random input; raises TargetError and ToolError.

    A model that is given its input row by row is built alone, with a loop that feeds it.
    """
    emulator = choose(board)
    tools = _tools(compiled, board.core)
    firmware = emulator == UNICORN and is_firmware(compiled) and compiled.program.fed is None
    built = compiled if firmware else _alone(compiled, board)
    sample = random_samples(compiled.graph, RANDOM_SAMPLE + 1, seed)[RANDOM_SAMPLE]
    ports = zip(built.program.inputs, sample, strict=True)
    inputs = [np.ascontiguousarray(value, DTYPES[port.tensor.dtype]).tobytes() for port, value in ports]
    with tempfile.TemporaryDirectory(prefix="tinygen-") as folder:
        found = _replay(emulator, built, board, tools, inputs, Path(folder))
    program = "firmware" if firmware else "model"
    layers = tuple(_layers(built, found))
    code = model_code_bytes(compiled, budget.footprint)
    return Profile(compiled.model.path, board, emulator, program, seed, layers, found.stack_bytes, code, budget)


def choose(board: Target) -> str:
    """The emulator for a board's core; raises TargetError when there is none."""
    if board.core.name in MODELS:
        return UNICORN
    if board.name == qemu.BOARD:
        return QEMU
    if "avr" in board.core.features:
        return SIMAVR
    what, expected = "no emulator for this board's core", ", ".join(["avr", *MODELS, qemu.BOARD])
    remedy = "`tinygen run` shows the cycles that a real board counts"
    raise TargetError(what, where=board.name, found=board.core.name, expected=expected, remedy=remedy)


def _tools(compiled: Compiled, core: Core) -> Toolchain:
    tools = find(core, compiled.manifest["format"] == PLATFORMIO)
    if tools is None:
        remedy = f"install it, on Debian: apt-get install {PACKAGES.get(core.compiler, core.compiler)}"
        raise ToolError("cross-compiler not found", found=core.compiler, remedy=remedy)
    return tools


def _alone(compiled: Compiled, board: Target) -> Compiled:
    """The same model as C alone."""
    numerics, goal = Numerics(compiled.manifest["numerics"]), Optimize(compiled.manifest["optimize"])
    feed = int(compiled.manifest["feed_times"])
    copied = compiled.manifest["ram_constant_bytes"]
    name = compiled.program.name
    return compile_model(compiled.model, board, name, numerics, optimize=goal, feed=feed, ram_weights=copied)


def _replay(
    emulator: str, compiled: Compiled, board: Target, tools: Toolchain, inputs: Sequence[bytes], folder: Path
) -> Replay:
    if emulator == UNICORN:
        return cortex_m.replay(compiled, board, tools, inputs, folder)
    if emulator == QEMU:
        return qemu.replay(compiled, board, inputs, folder)
    return CountedBoard(compiled, board, folder).replay(inputs)


def _layers(compiled: Compiled, found: Replay) -> Iterator[LayerProfile]:
    graph, program = compiled.graph, compiled.program
    numerics = Numerics(compiled.manifest["numerics"])
    templates = {function.name: function.template for function in program.functions}
    nodes = [node for node in graph.nodes if not ops.SPECS[node.op].alias]
    for node, call, counts in zip(nodes, program.calls, found.layers, strict=True):
        macs = ops.SPECS[node.op].cost(context_of(graph, node, numerics)).macs
        kernel = Path(templates[call.function]).name.removesuffix(".c.j2")
        yield LayerProfile(call.layer, ops.SPECS[node.op].tflite, _shapes(call), kernel, call.function, macs, counts)


def _shapes(call: Call) -> str:
    """Of the tensors that a layer reads and writes, as the comment of its call has them."""
    return call.comment.partition(": ")[2]
