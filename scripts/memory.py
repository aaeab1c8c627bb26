"""Prints what RAM plans take and cost: models for a board, for each goal, with the input whole and fed by rows.

python -m scripts.memory [--board nucleo_l4r5zi] [--prices] [MODEL.tflite ...]

Without models it is networks with random weights that are too large for small boards. Cycles are those of the replay,
where the first of the board's RAM has the room. With --prices: what the planner takes less RAM to cost, against what it
costs, for a board of each kind of core.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.tuning.families import LARGE_NETWORKS
from tinygen import driver, target
from tinygen.budget import weigh
from tinygen.driver import Compiled, Model, compile_model
from tinygen.errors import TinygenError
from tinygen.footprint.measure import measure
from tinygen.frontend import tflite
from tinygen.planning import whole_cycles
from tinygen.profile.facts import Profile
from tinygen.profile.profile import profile
from tinygen.target import Target
from tinygen.variants import Optimize

PRICED = ("nucleo_l4r5zi", "mps2-an385", "pico")
"""The boards for which prices are compared."""
GOALS = (Optimize.SPEED, Optimize.RAM, Optimize.LEAST_RAM)
SPARE_BYTES = 4096
"""For the stack, and an input that is fed from RAM."""
HEADER = """\
| network | goal | arena B | bound B | layers by rows | cycles | stack B |
|---|---|---:|---:|---:|---:|---:|"""
PRICES_HEADER = """\
| network | board | goal | said | found |
|---|---|---|---:|---:|"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="nucleo_l4r5zi")
    parser.add_argument("--prices", action="store_true")
    parser.add_argument("models", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    print(PRICES_HEADER if options.prices else HEADER)
    try:
        boards = [target.load(name) for name in (PRICED if options.prices else [options.board])]
        lines = _prices if options.prices else _plans
        for model, board in itertools.product(_models(options.models), boards):
            for line in lines(model, board):
                print(line, flush=True)
    except TinygenError as error:
        parser.exit(1, f"error: {error}\n")
    return 0


def _plans(model: Model, board: Target) -> Iterator[str]:
    """A line for each goal."""
    for goal, feed in [*((goal, False) for goal in GOALS), (Optimize.RAM, True)]:
        compiled = compile_model(model, board, "model", optimize=goal, feed=feed)
        yield _row(model.path, f"{goal.value}{', fed' if feed else ''}", compiled, board)


def _prices(model: Model, board: Target) -> Iterator[str]:
    """A line for each goal but speed, where the board has the room: its cycles against those of speed."""
    base: tuple[float, int] | None = None
    for goal in GOALS:
        compiled = compile_model(model, board, "model", optimize=goal)
        found = _profile(compiled, board)
        if found is None:
            continue
        extra = sum(priced.extra_cycles for priced in compiled.plan.priced)
        cycles = whole_cycles(compiled.choices, board.core) + extra, found.total.cycles or found.total.instructions
        if goal is Optimize.SPEED:
            base = cycles
        elif base is not None:
            said, profiled = (value / other for value, other in zip(cycles, base, strict=True))
            yield f"| {Path(model.path).stem} | {board.name} | {goal.value} | {said:.3f} | {profiled:.3f} |"


def _profile(compiled: Compiled, board: Target) -> Profile | None:
    """What an inference takes, where the first of the board's RAM has the room."""
    budget = weigh(compiled, board, measure(compiled, board))
    fits = compiled.plan.arena_bytes + SPARE_BYTES <= board.ram[0].bytes and budget.fits
    return profile(compiled, board, budget, 0) if fits else None


def _models(paths: Sequence[Path]) -> Iterator[Model]:
    """The files, or the networks of our own."""
    if paths:
        yield from (driver.load(path) for path in paths)
        return
    for name, make in LARGE_NETWORKS.items():
        data = make()
        yield Model(name, data, tflite.read(data, name))


def _row(name: str, goal: str, compiled: Compiled, board: Target) -> str:
    plan = compiled.plan
    found = _profile(compiled, board)
    by_rows = sum(run.last - run.first + 1 for run in plan.runs)
    figures = (plan.arena_bytes, plan.lower_bound, by_rows)
    run = (found.total.cycles or found.total.instructions, found.stack_bytes) if found else ()
    cells = [Path(name).stem, goal, *(f"{figure:,}" for figure in (*figures, *run)), *([] if run else ["", ""])]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
