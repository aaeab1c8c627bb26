"""Prints what one layer takes on a core with each variant of its kernel, and with other values of their constants.

python -m scripts.tune --core cortex-m4f --layer "conv 3x3 16->16 32x32" --set convolution_dsp.MOST_TAPS=6,12,18,36
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence

from scripts.tuning.layer import GRAMMAR, network, parse
from scripts.tuning.measure import Cost, Settings, board_of, cost, possible
from tinygen.errors import TinygenError

HEADER = "| layer | kernel | setting | cycles | cycles/MAC | code B | constants B | scratch and tensors B |\n"
RULE = "|---|---|---|---:|---:|---:|---:|---:|"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", default="cortex-m4f")
    parser.add_argument("--layer", action="append", required=True, metavar="LINE", help=GRAMMAR)
    parser.add_argument("--set", action="append", default=[], metavar="MODULE.CONSTANT=V,V", type=_setting)
    parser.add_argument("--variant", help="this one only")
    options = parser.parse_args(arguments)
    print(HEADER + RULE)
    try:
        board = board_of(options.core)
        for text in options.layer:
            data = network(parse(text))
            for variant in [options.variant] if options.variant else possible(data, board):
                costs = [(settings, cost(data, board, variant, settings)) for settings in _combinations(options.set)]
                for settings, found in _different(costs):
                    print(_row(text, settings, found), flush=True)
    except (TinygenError, ValueError, AttributeError) as error:
        parser.exit(2, f"error: {error}\n")
    return 0


def _setting(text: str) -> tuple[str, list[int]]:
    """A constant's place and the values to try."""
    place, _, values = text.partition("=")
    if "." not in place or not values:
        raise argparse.ArgumentTypeError(f"'{text}' is not MODULE.CONSTANT=VALUE,VALUE")
    return place, [int(value) for value in values.split(",")]


def _combinations(settings: list[tuple[str, list[int]]]) -> Iterator[Settings]:
    places = [place for place, _ in settings]
    for values in itertools.product(*(values for _, values in settings)):
        yield dict(zip(places, values, strict=True))


def _different(costs: list[tuple[Settings, Cost]]) -> list[tuple[Settings, Cost]]:
    """One of them where the settings change nothing."""
    first = costs[0][1]
    if len(costs) > 1 and all(found.compiled.files == first.compiled.files for _, found in costs):
        return [({}, first)]
    return costs


def _row(text: str, settings: Settings, found: Cost) -> str:
    layer = found.profile.layers[-1]
    setting = ", ".join(f"{place.rpartition('.')[2]} {value}" for place, value in settings.items())
    per_mac = f"{found.cycles / found.profile.macs:.2f}" if found.profile.macs else ""
    sizes = (found.code_bytes, found.constant_bytes, found.arena_bytes)
    cells = (text, layer.kernel, setting, f"{found.cycles:,}", per_mac, *(f"{size:,}" for size in sizes))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
