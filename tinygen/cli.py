"""The command line: arguments in, exit code out (0 done, 1 the answer is no, 2 the request is wrong)."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from tinygen import __version__
from tinygen.errors import FirmwareError, TinygenError

COMMANDS = ("boards", "compile", "inspect", "ops", "optimize", "profile", "run", "verify")


class Commands(click.Group):
    """The commands; each is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tinygen.commands.{cmd_name}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tinygen")
def cli() -> None:
    """Quantised neural networks to bit-exact plain C for microcontrollers."""


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
        click.echo(json.dumps({"errors": list(lines)}, indent=2))
    for line in lines:
        click.echo(f"tinygen: {line}", err=True)
    sys.exit(exit_code)
