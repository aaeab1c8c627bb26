"""The pipeline on one screen: model file to C sources. This is the public Python API."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen import passes, project
from tinygen.emit import emit, emit_firmware, emit_project
from tinygen.frontend import tflite
from tinygen.ir import Graph
from tinygen.lower import lower
from tinygen.memory.order import in_best_order
from tinygen.memory.plan import Plan
from tinygen.program import Program, identifier
from tinygen.quant import Numerics
from tinygen.ram_weights import NO_RAM_WEIGHTS, RamWeights, in_ram
from tinygen.regions import in_regions, rooms
from tinygen.selftest import self_test
from tinygen.stepping import planned
from tinygen.target import Core, Target, load_core
from tinygen.variants import ANY_ROOM, Choices, Optimize, Room, without

PORTABLE = "portable"


@dataclass(frozen=True, eq=False)
class Model:
    """A model file as read: its bytes and its graph before any pass."""

    path: str
    data: bytes
    graph: Graph


@dataclass(frozen=True, eq=False)
class Compiled:
    """A compiled model: its graph after the passes, its plan and program, the files of its project, and the kernels."""

    model: Model
    graph: Graph
    plan: Plan
    program: Program
    manifest: dict[str, Any]
    files: dict[str, str]
    binaries: dict[str, bytes]
    choices: Choices = ()
    ram_weights: RamWeights = NO_RAM_WEIGHTS

    def write(self, folder: Path) -> None:
        """Write the project; raises OutputError."""
        project.write({**self.files, **self.binaries}, folder)


def load(path: str | Path, subgraph: int = 0) -> Model:
    """Read a .tflite file; raises ModelError. `data` then holds the chosen subgraph as its first."""
    data = tflite.load_bytes(Path(path))
    graph = tflite.read(data, str(path), subgraph)
    return Model(str(path), tflite.with_first_subgraph(data, subgraph), graph)


def compile_model(
    model: Model,
    target: Target | None = None,
    name: str | None = None,
    numerics: Numerics = Numerics.TFLITE,
    form: str = "c",
    optimize: Optimize = Optimize.SPEED,
    feed: int = 0,
    room: Room = ANY_ROOM,
    ram_weights: int = 0,
) -> Compiled:
    """Compile `model` for a board, or as portable C without one, as a project of format `form`.

    With `feed`, the caller gives the input row by row, that many times, and it never lies in RAM as a whole; given
    several times, the first layers are computed in strips, if that takes less RAM. The fastest kernels fill the
    board, or `room` where that is less.
    So many bytes of weights, or AUTO, are copied to RAM at the start.
    Raises ModelError, and TargetError when there can be no such project for that board.
    """
    project.check_board(target, form)
    core: Core = target.core if target else load_core(PORTABLE)
    symbol = identifier(name or Path(model.path).stem)
    graph = in_best_order(passes.run(model.graph, (numerics,)))
    graph, choices, arena = planned(graph, numerics, core, optimize, feed, room.within(target) if target else room)
    regions = rooms(target, form, graph)
    arena = in_regions(graph, choices, arena, regions, core.alignment_bytes)
    called = without(choices, arena.moved)
    program, copied = lower(graph, called, arena, symbol), NO_RAM_WEIGHTS
    if ram_weights:
        program, copied = in_ram(program, called, target, ram_weights, regions, room.ram_bytes)
    digest = hashlib.sha256(model.data).hexdigest()
    facts = project.manifest(program, core, target, digest, numerics.value, form, optimize.value, int(feed))
    runs = facts["environments"]
    files = emit(program) | (emit_firmware(program, target, runs) if target and runs else {})
    laid_out = project.lay_out(files, form, symbol)
    beside = emit_project(program, form, facts, target, self_test(graph, numerics) if runs else None)
    binaries = {facts["model"]: model.data} if facts["model"] else {}
    text = project.with_manifest(laid_out | beside, binaries, facts)
    return Compiled(model, graph, arena, program, facts, text, binaries, choices, copied)
