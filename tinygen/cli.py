"""The command line: arguments in, exit code out (0 done, 1 the answer is no, 2 the request is wrong)."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tinygen import __version__, driver, ops, target
from tinygen.arena import arena
from tinygen.budget import Budget, weigh
from tinygen.errors import FirmwareError, TinygenError
from tinygen.footprint.measure import measure
from tinygen.inspection import inspect as inspect_model
from tinygen.limits import Limits, Refusal, compile_within
from tinygen.profile.profile import choose as choose_emulator
from tinygen.profile.profile import profile
from tinygen.project import FORMATS, default_format
from tinygen.quant import Numerics
from tinygen.report import tables
from tinygen.run.firmware import emulated_firmware, firmware_at
from tinygen.run.project_folder import compile_again, read_project
from tinygen.run.session import Session
from tinygen.run.terminal import serve
from tinygen.run.trial import try_out
from tinygen.selection import memory_size, select
from tinygen.variants import Optimize
from tinygen.verify.compare import verify as verify_model
from tinygen.verify.samples import random_samples, read_samples

MODEL = click.argument("model", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
BOARD = click.option("--board", metavar="BOARD", help="Board to generate for; `tinygen boards` lists them.")
SUBGRAPH = click.option(
    "--subgraph", type=click.IntRange(0), default=0, help="Which subgraph of the file.  [default: 0]"
)
NUMERICS = click.option(
    "--numerics",
    type=click.Choice([profile.value for profile in Numerics]),
    default=Numerics.TFLITE.value,
    show_default=True,
    help="Whose results to equal: TensorFlow Lite's reference kernels, or TFLite Micro with CMSIS-NN.",
)

OPTIMIZE = click.option(
    "--optimize",
    type=click.Choice([goal.value for goal in Optimize]),
    help="What the kernels are chosen for.  [default: speed, or the first of these that fits the board]",
)


FEED = click.option(
    "--feed", is_flag=True, help="The input is given row by row, by NAME_feed(): it never lies in RAM as a whole."
)


class Commands(click.Group):
    """The commands; one that needs much more than the others is imported only when it is asked for."""

    LATE = MappingProxyType({"optimize": "tinygen.cli_optimize"})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted([*super().list_commands(ctx), *self.LATE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in self.LATE:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(importlib.import_module(self.LATE[cmd_name]), f"{cmd_name}_command")
        return command


GOAL = click.option(
    "--optimize",
    type=click.Choice([goal.value for goal in Optimize]),
    default=Optimize.SPEED.value,
    show_default=True,
    help="What the kernels are chosen for.",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tinygen")
def cli() -> None:
    """Quantised neural networks to bit-exact plain C for microcontrollers."""


def _board(name: str | None) -> target.Target | None:
    return target.load(name) if name else None


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2))


@cli.command("compile", short_help="Turn a model into C.")
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
    feed: bool,
    numerics: str,
    subgraph: int,
    as_json: bool,
) -> None:
    """Turn MODEL (.tflite, int8) into C (exit code 1 when board or limits do not allow it: nothing is written then)."""
    board_target = _board(board)
    form = form or default_format(board_target)
    loaded = driver.load(model, subgraph)

    goals = [Optimize(optimize)] if optimize else list(Optimize)
    limits = Limits(*(memory_size(text) if text else None for text in (max_ram, max_flash)))
    attempts = compile_within(loaded, board_target, name, Numerics(numerics), form, goals, limits, feed)
    compiled, budget = attempts[-1].compiled, attempts[-1].budget
    if not attempts[-1].fits:
        _refuse(Refusal(attempts) if any(attempt.over for attempt in attempts) else budget, as_json)
    folder = output or Path(f"{compiled.program.name}_{form}")
    compiled.write(folder)
    if as_json:
        facts = {"memory": arena(compiled.graph, compiled.plan).as_json()}
        facts |= {"budget": budget.as_json()} if budget else {}
        _print_json({"output": str(folder), **compiled.manifest, "files": sorted(compiled.files), **facts})
    else:
        tables.show(tables.compiled(compiled, folder, board_target, budget))


def _refuse(why: Budget | Refusal | None, as_json: bool) -> NoReturn:
    assert why is not None
    if as_json:
        _print_json(why.as_json())
    else:
        tables.show(tables.beyond_limits(why) if isinstance(why, Refusal) else tables.does_not_fit(why))
    sys.exit(1)


@cli.command("inspect", short_help="Show a model and what stops it from being compiled.")
@MODEL
@SUBGRAPH
@JSON
def inspect_command(model: Path, subgraph: int, as_json: bool) -> None:
    """Show what is in MODEL, and all that stops it from being compiled (then exit code 1)."""
    facts = inspect_model(model, subgraph)
    if as_json:
        _print_json(facts.as_json())
    else:
        tables.show(tables.inspection(facts))
    if facts.problems:
        sys.exit(1)


@cli.command("verify", short_help="Prove the C equal to the references, layer by layer.")
@MODEL
@BOARD
@click.option("--samples", type=click.IntRange(1), default=20, show_default=True, help="How many random samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random samples.")
@click.option("--inputs", type=click.Path(path_type=Path), help="An .npz with your own samples x (and labels y).")
@click.option("--interpreter/--no-interpreter", default=True, help="Whether the reference interpreter takes part.")
@click.option("--emulate", is_flag=True, help="Run the cross-compiled C in an emulator of --board too.")
@GOAL
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
    feed: bool,
    numerics: str,
    subgraph: int,
    as_json: bool,
) -> None:
    """Compare the generated C of MODEL with the references, every layer bit for bit (exit code 1 when they differ)."""
    if emulate and not board:
        raise click.UsageError("--emulate needs a board; add --board BOARD")
    place = _board(board)
    loaded, goal = driver.load(model, subgraph), Optimize(optimize)
    compiled = driver.compile_model(loaded, place, numerics=Numerics(numerics), optimize=goal, feed=feed)
    graph = compiled.model.graph
    data, labels = read_samples(graph, inputs) if inputs else (random_samples(graph, samples, seed), None)
    with _progress("verifying", len(data), as_json) as progress:
        verdict = verify_model(compiled, data, labels, interpreter, place if emulate else None, progress)
    if as_json:
        _print_json(verdict.as_json() | {"model": str(model), "numerics": numerics})
    else:
        tables.show(tables.verdict(verdict, numerics))
    if verdict.difference:
        sys.exit(1)


@contextmanager
def _progress(what: str, total: int, hidden: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal; the function says how much is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


@cli.command("run", short_help="Run a project's firmware, emulated or on a board.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--emulator", is_flag=True, help="Build it and run it in an emulator of its board (without --port too).")
@click.option("--port", metavar="PORT", help="Talk to the board at this serial port; nothing is built.")
@click.option("--elf", type=click.Path(path_type=Path), metavar="FILE", help="Emulate this program; nothing is built.")
@click.option("--env", "environment", metavar="NAME", help="PlatformIO's environment to build and emulate.")
@click.option("--inputs", type=click.Path(path_type=Path), help="An .npz with your own samples x (and labels y).")
@click.option("--samples", type=click.IntRange(1), default=5, show_default=True, help="How many random samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random samples.")
@click.option("--pty", is_flag=True, help="Show the emulated serial port as a pseudo-terminal until Ctrl+C.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Longest time that a command may take.",
)
@JSON
def run_command(
    folder: Path,
    emulator: bool,
    port: str | None,
    elf: Path | None,
    environment: str | None,
    inputs: Path | None,
    samples: int,
    seed: int,
    pty: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Run the firmware of the project in DIR, and compare what it answers with the reference, bit for bit.

    The exit code is 1 when it differs, and when the firmware faults, hangs or does not answer.
    """
    if port and (emulator or elf or environment or pty):
        raise click.UsageError("--port is for a real board; --emulator, --elf, --env and --pty are for an emulated one")
    project = read_project(folder)
    if pty:
        with emulated_firmware(project, elf, environment, timeout) as firmware, suppress(KeyboardInterrupt):
            serve(firmware.link, firmware.where, lambda path: _announce(path, as_json))
        return
    compiled = compile_again(project)
    graph = compiled.model.graph
    data, labels = read_samples(graph, inputs) if inputs else (random_samples(graph, samples, seed), None)
    opened = firmware_at(port) if port else emulated_firmware(project, elf, environment, timeout)
    with opened as firmware, _progress("running", len(data), as_json) as progress:
        session = Session(firmware.link, firmware.where, timeout)
        session.greet(is_reset=not port)
        trial = try_out(session, compiled, data, labels, progress)
    if as_json:
        place = {"board": compiled.manifest["board"], "port": port}
        _print_json(trial.as_json() | place | {"emulator": firmware.emulator.name if firmware.emulator else None})
    else:
        tables.show(tables.trial(trial, firmware))
    if trial.difference:
        sys.exit(1)


def _announce(path: str, as_json: bool) -> None:
    click.echo(json.dumps({"pty": path}) if as_json else f"serial port: {path} (Ctrl+C ends the emulator)")
    sys.stdout.flush()


@cli.command("profile", short_help="Show what each layer takes on a board.")
@MODEL
@click.option("--board", metavar="BOARD", required=True, help="Board to profile for; `tinygen boards` lists them.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random input.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="Show the N costliest layers only.")
@GOAL
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
    feed: bool,
    numerics: str,
    subgraph: int,
    as_json: bool,
) -> None:
    """Replay one inference of MODEL for the board, layer by layer (exit code 1 when it does not fit)."""
    place = target.load(board)
    choose_emulator(place)
    loaded, form = driver.load(model, subgraph), default_format(place)
    goal = Optimize(optimize)
    compiled = driver.compile_model(loaded, place, None, Numerics(numerics), form, goal, feed)
    budget = weigh(compiled, place, measure(compiled, place))
    if not budget.fits:
        _refuse(budget, as_json)
    found = profile(compiled, place, budget, seed)
    if as_json:
        _print_json(found.as_json(top))
    else:
        tables.show(tables.profile(found, compiled, top))


@cli.command("ops", short_help="List the operators.")
@JSON
def ops_command(as_json: bool) -> None:
    """List the operators that can be compiled."""
    if as_json:
        listed = [
            {
                "operator": s.tflite,
                "kernels": [v.name for v in (*s.variants, *s.compact)],
                "summary": ops.summary(s.name),
            }
            for s in ops.SPECS.values()
        ]
        _print_json({"operators": listed})
    else:
        tables.show(tables.operators())


@cli.command("boards", short_help="List the boards, or show one.")
@click.argument("name", required=False)
@click.option("--core", metavar="CORE", help="Only boards with this core.")
@click.option("--min-ram", metavar="SIZE", help="Only boards with at least this much RAM, such as 64K.")
@click.option("--min-flash", metavar="SIZE", help="Only boards with at least this much flash, such as 1M.")
@click.option(
    "--fits",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Only boards with room for the arena and the constants of MODEL.",
)
@click.option("--known", is_flag=True, help="Boards too of which nothing but PlatformIO's facts is known.")
@JSON
def boards_command(
    name: str | None,
    core: str | None,
    min_ram: str | None,
    min_flash: str | None,
    fits: Path | None,
    known: bool,
    as_json: bool,
) -> None:
    """List the boards, or show the board NAME (exit code 1 when there is none such)."""
    found = select(name, core, min_ram, min_flash, driver.load(fits) if fits else None, known)
    if as_json:
        _print_json(found.as_json())
    else:
        tables.show(tables.selection(found, details=name is not None))
    if not found.boards:
        sys.exit(1)


def main() -> None:
    """Run the command line; a problem becomes one line on standard error (or a JSON object) and exit code 2."""
    as_json = "--json" in sys.argv[1:]
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        _fail([error.format_message()], as_json)
    except FirmwareError as error:
        _fail(error.lines, as_json, exit_code=1)
    except TinygenError as error:
        _fail(error.lines, as_json)
    except Exception as error:
        if os.environ.get("TINYGEN_DEBUG"):
            raise
        line = f"internal error, {type(error).__name__}: {error}; set TINYGEN_DEBUG=1 to see where, and report it"
        _fail([line], as_json)


def _fail(lines: Sequence[str], as_json: bool, exit_code: int = 2) -> NoReturn:
    if as_json:
        _print_json({"errors": list(lines)})
    for line in lines:
        click.echo(f"tinygen: {line}", err=True)
    sys.exit(exit_code)
