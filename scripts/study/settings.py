"""The settings of quantize() as a table of what each costs in accuracy, on the float models of the study.

python -m scripts.study.settings FOLDER    # FOLDER as for scripts.study: float models that are there are used
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from scripts.study.table import accuracy, difference
from scripts.study.techniques import SETS, Case, Effort, hits

SETTINGS: dict[str, dict[str, Any]] = {
    "8 bits": {},
    "`percentile`": {"method": "percentile"},
    "`mse`": {"method": "mse"},
    "`entropy`": {"method": "entropy"},
    "`symmetric`": {"symmetric": True},
    "per layer": {"per_channel": False},
    "per layer, `equalize`": {"per_channel": False, "equalize": True},
    "4 bits": {"weights": 4},
    "4 bits, `correct_bias`": {"weights": 4, "correct_bias": True},
    "4 bits, per layer": {"weights": 4, "per_channel": False},
    "4 bits, per layer, `correct_bias`": {"weights": 4, "per_channel": False, "correct_bias": True},
    "4 bits, per layer, both": {"weights": 4, "per_channel": False, "equalize": True, "correct_bias": True},
}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--sets", "names", default=",".join(SETS), show_default=True, help="Which data sets.")
@click.option("--seeds", default=3, show_default=True, help="How many seeds.")
def main(folder: Path, names: str, seeds: int) -> None:
    """Print the differences to the float model in points, with their standard errors."""
    columns = [column(folder, name, seeds) for name in names.split(",")]
    click.echo(f"| setting | {' | '.join(names.split(','))} |\n|---|{'---|' * len(columns)}")
    for row in ("float, %", *SETTINGS):
        click.echo(f"| {row} | {' | '.join(cells[row] for cells in columns)} |")


def column(folder: Path, name: str, seeds: int) -> dict[str, str]:
    """Row -> cell of one data set."""
    cases = [Case(name, seed, Effort(), folder / f"{name}-{seed}") for seed in range(seeds)]
    for case in cases:
        case.place.mkdir(parents=True, exist_ok=True)
    originals = [hits(case, case.float_model) for case in cases]
    cells = {"float, %": accuracy(originals).points()}
    for row, options in SETTINGS.items():
        runs = [hits(case, case.integer(case.float_model, **options)) for case in cases]
        cells[row] = difference(runs, originals).points(signed=True)
        click.echo(f"{name}: {row}: {cells[row]}", err=True)
    return cells


if __name__ == "__main__":
    main()
