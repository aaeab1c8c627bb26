"""Prints what RAM plans take and cost: models for a board, for each goal, with the input whole and fed by rows.

python -m scripts.memory [--board nucleo_l4r5zi] [MODEL.tflite ...]

Without models it is networks with random weights that are too large for small boards. Cycles are those of the replay,
where the first of the board's RAM has the room.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.tuning.families import LARGE_NETWORKS
from tinygen import driver, target
from tinygen.budget import weigh
from tinygen.driver import Compiled, Model, compile_model
from tinygen.errors import TinygenError
from tinygen.footprint.measure import measure
from tinygen.frontend import tflite
from tinygen.profile.profile import profile
from tinygen.target import Target
from tinygen.variants import Optimize

GOALS = (Optimize.SPEED, Optimize.RAM, Optimize.LEAST_RAM)
SPARE_BYTES = 4096
"""For the stack, and an input that is fed from RAM."""
HEADER = """\
| network | goal | arena B | bound B | layers by rows | cycles | stack B |
|---|---|---:|---:|---:|---:|---:|"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="nucleo_l4r5zi")
    parser.add_argument("models", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    print(HEADER)
    try:
        board = target.load(options.board)
        for model in _models(options.models):
            for goal, feed in [*((goal, False) for goal in GOALS), (Optimize.RAM, True)]:
                compiled = compile_model(model, board, "model", optimize=goal, feed=feed)
                print(_row(model.path, f"{goal.value}{', fed' if feed else ''}", compiled, board), flush=True)
    except TinygenError as error:
        parser.exit(1, f"error: {error}\n")
    return 0


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
    budget = weigh(compiled, board, measure(compiled, board))
    fits = compiled.plan.arena_bytes + SPARE_BYTES <= board.ram[0].bytes and budget.fits
    found = profile(compiled, board, budget, 0) if fits else None
    by_rows = sum(run.last - run.first + 1 for run in plan.runs)
    figures = (plan.arena_bytes, plan.lower_bound, by_rows)
    run = (found.total.cycles or found.total.instructions, found.stack_bytes) if found else ()
    cells = [Path(name).stem, goal, *(f"{figure:,}" for figure in (*figures, *run)), *([] if run else ["", ""])]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
