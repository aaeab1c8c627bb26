"""`tinygen optimize`: a float model and samples become a quantised model that fits."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tinygen import interrupts, target
from tinygen.interrupts import interruptible
from tinygen.optimize import output, rows
from tinygen.optimize.cache import Cache
from tinygen.optimize.candidate import Candidate, default_ladder
from tinygen.optimize.cost import check_time
from tinygen.optimize.limits import Limits, share
from tinygen.optimize.model_file import ModelFile, read_model
from tinygen.optimize.pool import workers
from tinygen.optimize.recipe import read_recipe
from tinygen.optimize.rows import Result
from tinygen.optimize.search import Running, Watch, judge, search
from tinygen.optimize.table import table
from tinygen.optimize.task import Problem
from tinygen.quantize.data import CALIBRATION, LEAST_SAMPLES, TEST, TRAINING, VALIDATION, Data, Wanted, load_sets
from tinygen.report.layout import show
from tinygen.selection import memory_size

FILE = click.Path(path_type=Path)
CACHE = ".cache"


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line beside the problem itself."""

    ladder: tuple[Candidate, ...]
    folder: Path
    cache: Path
    jobs: int
    scheduler: str


@click.command("optimize", short_help="Make a float model fit a board.")
@click.argument("model", type=FILE)
@click.option("--train", type=FILE, metavar="X.npz", help="Samples to train with; without them nothing is trained.")
@click.option("--calib", type=FILE, metavar="X.npz", required=True, help="Samples that the ranges of int8 come from.")
@click.option("--val", type=FILE, metavar="X.npz", required=True, help="Samples to choose by.")
@click.option("--test", type=FILE, metavar="X.npz", required=True, help="Samples to judge the chosen one by, once.")
@click.option("--board", metavar="BOARD", help="Board that it has to fit; `tinygen boards` lists them.")
@click.option("--target-ram", metavar="SIZE", help="RAM that it may take, such as 16K.  [default: the board's]")
@click.option("--target-flash", metavar="SIZE", help="Flash that it may take, such as 64K.  [default: the board's]")
@click.option(
    "--target-ms", type=click.FloatRange(0, min_open=True), metavar="MS", help="Time that an inference may take."
)
@click.option("--max-drop", default="1%", show_default=True, metavar="SHARE", help="Accuracy that it may lose.")
@click.option("--recipe", type=FILE, metavar="R.yaml", help="What is tried, in which order.  [default: all]")
@click.option("--all", "thorough", is_flag=True, help="Try everything, and choose the most accurate that fits.")
@click.option("--output", "folder", type=FILE, metavar="DIR", help="Folder to write.  [default: MODEL_optimized]")
@click.option("--cache", type=FILE, metavar="DIR", help="Where what is known is kept.  [default: OUTPUT/.cache]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all that is random.")
@click.option(
    "--jobs", type=click.IntRange(1), help="Candidates at a time.  [default: 1; as many as a cluster has workers]"
)
@click.option("--scheduler", metavar="ADDRESS", default="", help="A Dask scheduler whose workers do the work.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def optimize_command(
    model: Path,
    train: Path | None,
    calib: Path,
    val: Path,
    test: Path,
    board: str | None,
    target_ram: str | None,
    target_flash: str | None,
    target_ms: float | None,
    max_drop: str,
    recipe: Path | None,
    thorough: bool,
    folder: Path | None,
    cache: Path | None,
    seed: int,
    jobs: int | None,
    scheduler: str,
    as_json: bool,
) -> None:
    """Make of MODEL (.keras, or a float .tflite) a quantised one that fits, trying the cheapest first.

    What a candidate costs is what the compiler says of its generated code. Each X.npz holds an array x of samples, one
    a row, and y with their classes. A run that was stopped goes on where it was. The exit code is 1 when nothing fits.
    """
    limits = Limits(
        target.load(board) if board else None,
        memory_size(target_ram) if target_ram else None,
        memory_size(target_flash) if target_flash else None,
        target_ms,
        share(max_drop),
    )
    check_time(limits)
    file = read_model(model)
    place = folder or Path(f"{model.stem}_optimized")
    output.check_folder(place)
    ladder = read_recipe(recipe, file.layers or None) if recipe else default_ladder()
    paths = {TRAINING: train, CALIBRATION: calib, VALIDATION: val, TEST: test}
    sets = _sets({role: path for role, path in paths.items() if path}, file, limits)
    request = Request(ladder, place, cache or place / CACHE, jobs or 0, scheduler)
    result = _run(Problem(file, sets, limits, seed, thorough), request, as_json)
    output.publish(output.files(result), place)
    if as_json:
        click.echo(json.dumps({"output": str(place), **rows.as_json(result)}, indent=2))
    else:
        show(table(result))
    if not result.search.winner:
        sys.exit(1)


def _sets(paths: dict[str, Path], model: ModelFile, limits: Limits) -> dict[str, Data]:
    """The samples, in the shape of the model's input, enough of them for the allowed loss to be seen."""
    least = math.ceil(1 / limits.max_drop) if limits.max_drop else LEAST_SAMPLES
    return load_sets(paths, Wanted(model.shape, model.classes, least))


def _run(problem: Problem, request: Request, hidden: bool) -> Result:
    """The search, and the judgement of what it found; Ctrl+C ends it with one line."""
    cache = Cache(request.cache)
    try:
        with interruptible(), workers(request.jobs, request.scheduler) as pool, _watch(hidden) as watch:
            found = search(problem, request.ladder, cache, pool, watch)
            scores = judge(problem, found.winner.model, cache, pool) if found.winner else None
            interrupts.check()
    except KeyboardInterrupt:
        done = f"what was finished is kept in {request.cache}"
        click.echo(f"tinygen: stopped; {done}: the same command goes on from there", err=True)
        sys.exit(130)
    return Result(problem, found, scores, request.folder)


@contextmanager
def _watch(hidden: bool) -> Iterator[Watch]:
    """Bars on standard error, if that is a terminal: of all candidates, and of each that is being trained."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(20),
        TextColumn("{task.fields[steps]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal) as bars:
        whole = bars.add_task("candidates", total=None, steps="")
        shown: dict[str, TaskID] = {}

        def update(done: int, total: int, running: Sequence[Running]) -> None:
            interrupts.check()
            bars.update(whole, completed=done, total=total, steps=f"{done}/{total}")
            for title in shown.keys() - {each.title for each in running}:
                bars.remove_task(shown.pop(title))
            for each in running:
                if each.title not in shown:
                    shown[each.title] = bars.add_task(f"  {each.title}", total=None, steps="")
                steps = f"{each.done}/{each.total}" if each.total else ""
                bars.update(shown[each.title], completed=each.done, total=each.total or None, steps=steps)

        yield update
