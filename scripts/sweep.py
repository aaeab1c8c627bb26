"""Profiles families of networks on a core and prints what a multiply-accumulate costs in each kind of layer.

python -m scripts.sweep --core cortex-m4f [--network mobilenet_v2_035_64]

A layer that costs more than 1.5 times its floor is named; tuning/sweep.py says what that is. Layers that take less
than a thousandth of their network's time are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scripts.tuning.families import NETWORKS
from scripts.tuning.measure import board_of, cost
from scripts.tuning.sweep import Swept, kinds, swept
from tinygen.errors import TinygenError


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", default="cortex-m4f")
    parser.add_argument("--network", action="append", choices=sorted(NETWORKS))
    options = parser.parse_args(arguments)
    found: list[Swept] = []
    print(
        "| network | cycles | MACs | cycles/MAC | code B | constants B | arena B |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    try:
        board = board_of(options.core)
        for name in options.network or NETWORKS:
            result = cost(NETWORKS[name](), board)
            found += swept(name, result)
            macs = result.profile.macs
            sizes = (result.code_bytes, result.constant_bytes, result.arena_bytes)
            cells = (name, f"{result.cycles:,}", f"{macs:,}", f"{result.cycles / macs:.2f}", *(f"{s:,}" for s in sizes))
            print(f"| {' | '.join(cells)} |", flush=True)
    except TinygenError as error:
        parser.exit(1, f"error: {error}\n")
    print(_table(found))
    return 0


def _table(found: list[Swept]) -> str:
    """Of each kind its layers, the best and the worst of them, a product at its least, and those that are outliers."""
    lines = [
        "",
        "| kind | layers | best | worst | worst/best | a product at least | worst/floor | outliers |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for kind in kinds(found):
        named = "; ".join(f"{layer}, {layer.over(kind.product):.2f} x" for layer in kind.outliers)
        figures = f"{len(kind.layers)} | {kind.best:.2f} | {kind.worst:.2f} | {kind.worst / kind.best:.2f}"
        figures += f" | {kind.product:.2f} | {kind.most_over:.2f}"
        lines.append(f"| {kind.name} | {figures} | {named} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
