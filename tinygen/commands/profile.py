"""`tinygen profile`: a model and a board become what each layer takes."""

from __future__ import annotations

from pathlib import Path

import click

from tinygen import driver, target
from tinygen.budget import weigh
from tinygen.commands.options import FEED, GOAL, JSON, MODEL, NUMERICS, RAM_WEIGHTS, SUBGRAPH, ram_weight_bytes
from tinygen.commands.output import print_json, refuse
from tinygen.footprint.measure import measure
from tinygen.profile.profile import choose as choose_emulator
from tinygen.profile.profile import profile
from tinygen.project import default_format
from tinygen.quant import Numerics
from tinygen.report import profile as profile_tables
from tinygen.report.layout import show
from tinygen.variants import Optimize


@click.command("profile", short_help="Show what each layer takes on a board.")
@MODEL
@click.option("--board", metavar="BOARD", required=True, help="Board to profile for; `tinygen boards` lists them.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random input.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="Show the N costliest layers only.")
@GOAL
@RAM_WEIGHTS
@FEED
@NUMERICS
@SUBGRAPH
@JSON
def profile_command(
    model: Path,
    board: str,
    seed: int,
    top: int | None,
    optimize: str,
    ram_weights: str | None,
    feed: int,
    numerics: str,
    subgraph: int,
    as_json: bool,
) -> None:
    """Replay one inference of MODEL for the board, layer by layer (exit code 1 when it does not fit)."""
    place = target.load(board)
    choose_emulator(place)
    loaded, form = driver.load(model, subgraph), default_format(place)
    goal = Optimize(optimize)
    copied = ram_weight_bytes(ram_weights)
    compiled = driver.compile_model(loaded, place, None, Numerics(numerics), form, goal, feed, ram_weights=copied)
    budget = weigh(compiled, place, measure(compiled, place))
    if not budget.fits:
        refuse(budget, as_json)
    found = profile(compiled, place, budget, seed)
    if as_json:
        print_json(found.as_json(top))
    else:
        show(profile_tables.profile(found, compiled, top))
