"""The study as a command: trains, proves, measures and prints the table.

    python -m scripts.study FOLDER            # three seeds, three data sets: the long form, about an hour on two cores
    python -m scripts.study FOLDER --short    # one seed, few epochs, one data set: whether it still runs

What is in FOLDER already is not made again, so a stopped run goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from scripts.study import measure, table, width
from scripts.study.techniques import ROWS, SETS, STUDENTS, Case, Effort, Row, hits

SHORT = Effort(epochs=3, extra=1, learning_rate=1e-2)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--sets", "names", default=",".join(SETS), show_default=True, help="Which data sets.")
@click.option("--seeds", default=3, show_default=True, help="How many seeds.")
@click.option("--short", is_flag=True, help="One seed, few epochs, digits alone.")
@click.option("--rows", "keys", default=",".join(row.key for row in ROWS), help="Which rows, by their file names.")
@click.option("--again", is_flag=True, help="Measure the costs of the models in FOLDER again.")
def main(folder: Path, names: str, seeds: int, short: bool, keys: str, again: bool) -> None:
    """Write the models, hits and costs of the study to FOLDER, and print its tables."""
    chosen, effort = (["digits"], SHORT) if short else (names.split(","), Effort())
    for name in chosen:
        rows = [row for row in ROWS if row.key in keys.split(",") and name in row.sets]
        places = [folder / f"{name}-{seed}" for seed in range(1 if short else seeds)]
        cases = [Case(name, seed, effort, place) for seed, place in enumerate(places)]
        choice = width.choose(cases) if any(row.key in STUDENTS for row in rows) else None
        for case in cases:
            run(width.with_width(case, choice.width) if choice else case, rows)
        costs = measured(places[0], rows, again)
        for place in places[1:]:
            prove(place, rows, again)
        runs = {row.key: [np.load(place / f"{row.key}.npy") for place in places] for row in rows}
        click.echo("\n\n".join([f"\n### {name}", *([str(choice)] if choice else []), table.markdown(runs, costs)]))


def run(case: Case, rows: Sequence[Row]) -> None:
    """Make each row of one case that is not there yet: its hits and, when it is one, its .tflite file."""
    place = case.place
    place.mkdir(parents=True, exist_ok=True)
    for row in rows:
        if (place / f"{row.key}.npy").exists():
            continue
        made = row.make(case)
        if isinstance(made, bytes):
            (place / f"{row.key}.tflite").write_bytes(made)
        correct = hits(case, made)
        np.save(place / f"{row.key}.npy", correct)
        click.echo(f"{case.name}, seed {case.seed}: {row.title}: {correct.mean():.4f}", err=True)


def measured(place: Path, rows: Sequence[Row], again: bool) -> dict[str, dict[str, int]]:
    """Row -> costs of the models of one case, each of them verified first."""
    path = place / "costs.json"
    costs: dict[str, dict[str, int]] = json.loads(path.read_text("utf-8")) if path.exists() and not again else {}
    for row in rows:
        model = place / f"{row.key}.tflite"
        if model.exists() and row.key not in costs:
            measure.verify(model)
            costs[row.key] = measure.cost(model)
            path.write_text(json.dumps(costs, indent=1), "utf-8")
    return costs


def prove(place: Path, rows: Sequence[Row], again: bool) -> None:
    """Verify the models of one case."""
    path = place / "verified.json"
    known: list[str] = json.loads(path.read_text("utf-8")) if path.exists() and not again else []
    for row in rows:
        model = place / f"{row.key}.tflite"
        if model.exists() and row.key not in known:
            measure.verify(model)
            known.append(row.key)
            path.write_text(json.dumps(known), "utf-8")


if __name__ == "__main__":
    main()
