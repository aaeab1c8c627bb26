"""`tinygen verify`: a model and samples become a verdict on its C."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tinygen import driver, target
from tinygen.commands.options import BOARD, FEED, GOAL, JSON, MODEL, NUMERICS, RAM_WEIGHTS, SUBGRAPH, ram_weight_bytes
from tinygen.commands.output import print_json, progress
from tinygen.quant import Numerics
from tinygen.report import checks as checks_tables
from tinygen.report.layout import show
from tinygen.variants import Optimize
from tinygen.verify.compare import verify as verify_model
from tinygen.verify.samples import random_samples, read_samples


@click.command("verify", short_help="Prove the C equal to the references, layer by layer.")
@MODEL
@BOARD
@click.option("--samples", type=click.IntRange(1), default=20, show_default=True, help="How many random samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random samples.")
@click.option("--inputs", type=click.Path(path_type=Path), help="An .npz with your own samples x (and labels y).")
@click.option("--interpreter/--no-interpreter", default=True, help="Whether the reference interpreter takes part.")
@click.option("--emulate", is_flag=True, help="Run the cross-compiled C in an emulator of --board too.")
@GOAL
@RAM_WEIGHTS
@FEED
@NUMERICS
@SUBGRAPH
@JSON
def verify_command(
    model: Path,
    board: str | None,
    samples: int,
    seed: int,
    inputs: Path | None,
    interpreter: bool,
    emulate: bool,
    optimize: str,
    ram_weights: str | None,
    feed: int,
    numerics: str,
    subgraph: int,
    as_json: bool,
) -> None:
    """Compare the generated C of MODEL with the references, every layer bit for bit (exit code 1 when they differ)."""
    if emulate and not board:
        raise click.UsageError("--emulate needs a board; add --board BOARD")
    place = target.load(board) if board else None
    loaded, goal = driver.load(model, subgraph), Optimize(optimize)
    compiled = driver.compile_model(
        loaded,
        place,
        numerics=Numerics(numerics),
        optimize=goal,
        feed=feed,
        ram_weights=ram_weight_bytes(ram_weights),
    )
    graph = compiled.model.graph
    data, labels = read_samples(graph, inputs) if inputs else (random_samples(graph, samples, seed), None)
    with progress("verifying", len(data), as_json) as advance:
        verdict = verify_model(compiled, data, labels, interpreter, place if emulate else None, advance)
    if as_json:
        print_json(verdict.as_json() | {"model": str(model), "numerics": numerics})
    else:
        show(checks_tables.verdict(verdict, numerics))
    if verdict.difference:
        sys.exit(1)
