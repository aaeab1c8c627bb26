"""The arguments and options that several commands have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tinygen.quant import Numerics
from tinygen.ram_weights import AUTO
from tinygen.selection import memory_size
from tinygen.variants import Optimize

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
    help="What the kernels are chosen for.  [default: speed, or the first behind it that fits the board]",
)
MOST_TIMES = 16
"""How often an input may be given, at most."""


def _feed(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say how often the input is given row by row; the command takes the number as `feed`."""

    @click.option(
        "--feed", is_flag=True, help="The input is given row by row, by NAME_feed(): it never lies in RAM as a whole."
    )
    @click.option(
        "--feed-times",
        type=click.IntRange(1, MOST_TIMES),
        help="The same, all rows so many times: the first layers are computed in as many strips of columns, where "
        "that takes less RAM.",
    )
    @functools.wraps(command)
    def with_number(*arguments: Any, feed: bool, feed_times: int | None, **options: Any) -> None:
        command(*arguments, feed=feed_times or int(feed), **options)

    return with_number


FEED = _feed
RAM_WEIGHTS = click.option(
    "--ram-weights",
    metavar="BYTES",
    help="Constants to copy to RAM at the start, those first that make the core wait most for its flash: 20000, 64K, "
    "or auto for those that pay, in half of the RAM that is left.",
)


def ram_weight_bytes(text: str | None) -> int:
    """What --ram-weights says; DataError if that is neither a size nor auto."""
    return AUTO if text == "auto" else memory_size(text or "0")


GOAL = click.option(
    "--optimize",
    type=click.Choice([goal.value for goal in Optimize]),
    default=Optimize.SPEED.value,
    show_default=True,
    help="What the kernels are chosen for.",
)
