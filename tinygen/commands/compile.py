"""`tinygen compile`: a model becomes a folder of C, or a line that says why not."""

from __future__ import annotations

from pathlib import Path

import click

from tinygen import driver, target
from tinygen.arena import arena
from tinygen.commands.options import (
    BOARD,
    FEED,
    JSON,
    MODEL,
    NUMERICS,
    OPTIMIZE,
    RAM_WEIGHTS,
    SUBGRAPH,
    ram_weight_bytes,
)
from tinygen.commands.output import print_json, refuse
from tinygen.limits import Limits, Refusal, compile_within, nearest
from tinygen.project import FORMATS, default_format
from tinygen.quant import Numerics
from tinygen.report import compiled as compiled_tables
from tinygen.report.layout import show
from tinygen.selection import memory_size
from tinygen.variants import Optimize, goals


@click.command("compile", short_help="Turn a model into C.")
@MODEL
@BOARD
@click.option("--output", type=click.Path(path_type=Path), help="Folder to write.  [default: NAME_FORMAT]")
@click.option("--name", help="Prefix of every symbol.  [default: the model file's name]")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    help="What to write.  [default: platformio; cmake for a board that PlatformIO does not have; c without a board]",
)
@OPTIMIZE
@click.option("--max-ram", metavar="BYTES", help="Most RAM for the model, its arena: 20000 or 64K.")
@click.option("--max-flash", metavar="BYTES", help="Most flash for the model: constants, with a board code too.")
@RAM_WEIGHTS
@FEED
@NUMERICS
@SUBGRAPH
@JSON
def compile_command(
    model: Path,
    board: str | None,
    output: Path | None,
    name: str | None,
    form: str | None,
    optimize: str | None,
    max_ram: str | None,
    max_flash: str | None,
    ram_weights: str | None,
    feed: int,
    numerics: str,
    subgraph: int,
    as_json: bool,
) -> None:
    """Turn MODEL (.tflite, int8) into C (exit code 1 when board or limits do not allow it: nothing is written then)."""
    board_target = target.load(board) if board else None
    form = form or default_format(board_target)
    loaded = driver.load(model, subgraph)

    limits = Limits(*(memory_size(text) if text else None for text in (max_ram, max_flash)))
    wanted = goals(Optimize(optimize) if optimize else None)
    copied = ram_weight_bytes(ram_weights)
    attempts = compile_within(loaded, board_target, name, Numerics(numerics), form, wanted, limits, feed, copied)
    compiled, budget = attempts[-1].compiled, attempts[-1].budget
    if not attempts[-1].fits:
        refuse(Refusal(attempts) if any(attempt.over for attempt in attempts) else nearest(attempts).budget, as_json)
    folder = output or Path(f"{compiled.program.name}_{form}")
    compiled.write(folder)
    if as_json:
        facts = {"memory": arena(compiled.graph, compiled.plan).as_json()}
        facts |= {"budget": budget.as_json()} if budget else {}
        print_json({"output": str(folder), **compiled.manifest, "files": sorted(compiled.files), **facts})
    else:
        show(compiled_tables.compiled(compiled, folder, board_target, budget))
