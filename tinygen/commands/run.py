"""`tinygen run`: a project's folder becomes the answers of its firmware."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

import click

from tinygen.commands.options import JSON
from tinygen.commands.output import print_json, progress
from tinygen.report import checks as checks_tables
from tinygen.report.layout import show
from tinygen.run.firmware import emulated_firmware, firmware_at
from tinygen.run.project_folder import compile_again, read_project
from tinygen.run.session import Session
from tinygen.run.terminal import serve
from tinygen.run.trial import try_out
from tinygen.verify.samples import random_samples, read_samples


@click.command("run", short_help="Run a project's firmware, emulated or on a board.")
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
    with opened as firmware, progress("running", len(data), as_json) as advance:
        session = Session(firmware.link, firmware.where, timeout)
        session.greet(is_reset=not port)
        trial = try_out(session, compiled, data, labels, advance)
    if as_json:
        place = {"board": compiled.manifest["board"], "port": port}
        print_json(trial.as_json() | place | {"emulator": firmware.emulator.name if firmware.emulator else None})
    else:
        show(checks_tables.trial(trial, firmware))
    if trial.difference:
        sys.exit(1)


def _announce(path: str, as_json: bool) -> None:
    click.echo(json.dumps({"pty": path}) if as_json else f"serial port: {path} (Ctrl+C ends the emulator)")
    sys.stdout.flush()
