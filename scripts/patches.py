"""Prints what strips of columns with a halo bring in RAM, against rows alone, and what they compute twice.

python -m scripts.patches [--board nucleo_l4r5zi] [--strips 4] [--most-macs 1.5] [MODEL.tflite ...]

The first layers are computed on one strip of columns after another, each strip row by row, up to a layer whose output
lies in RAM whole; all that follows as it takes least. For each network: the least that rows alone need, with the image
in RAM or given row by row, and the least with strips, for which the image lies in RAM or is given row by row once for
each strip. Bytes are those alive at once, scratch in them: about what a plan takes. MACs are those of the whole
inference against those without strips.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from scripts.tuning.families import mixed_residuals, mobilenet_v1, mobilenet_v2_whole, resnet
from tinygen import driver, passes, target
from tinygen.errors import TinygenError
from tinygen.frontend import tflite
from tinygen.ir import Graph
from tinygen.memory.order import in_best_order
from tinygen.memory.prices import prices
from tinygen.memory.streaming import Streamings
from tinygen.quant import Numerics
from tinygen.stages import Stages
from tinygen.variants import kernels

NETWORKS: Mapping[str, Callable[[], bytes]] = MappingProxyType(
    {
        "mobilenet_v2_035_48": partial(mobilenet_v2_whole, 0.35, 48),
        "mobilenet_v2_035_96": partial(mobilenet_v2_whole, 0.35, 96),
        "mobilenet_v2_035_144": partial(mobilenet_v2_whole, 0.35, 144),
        "mobilenet_v2_035_224": partial(mobilenet_v2_whole, 0.35, 224),
        "mixed_residuals_96": partial(mixed_residuals, 96),
        "mixed_residuals_160": partial(mixed_residuals, 160),
        "mobilenet_v1_025_96_grey": partial(mobilenet_v1, 0.25, 96, 1),
        "resnet_16": partial(resnet, 16, 32),
    }
)
FEWEST = 2
HEADER = """\
| network | image B | rows, image in RAM | rows, fed | strips, image in RAM | strips, fed |
|---|---:|---:|---:|---|---|"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="nucleo_l4r5zi")
    parser.add_argument("--strips", type=int, default=4, help="at most")
    parser.add_argument("--most-macs", type=float, default=1.5)
    parser.add_argument("models", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    print(HEADER)
    try:
        core = target.load(options.board).core
        for name, graph in _graphs(options.models):
            stages = Stages(in_best_order(passes.run(graph, (Numerics.TFLITE,))), Numerics.TFLITE, core)
            print(_row(name, stages, options.strips, options.most_macs), flush=True)
    except TinygenError as error:
        parser.exit(1, f"error: {error}\n")
    return 0


def _graphs(paths: Sequence[Path]) -> Iterator[tuple[str, Graph]]:
    """The files, or the networks of our own."""
    for path in paths:
        yield path.stem, driver.load(path).graph
    if not paths:
        yield from ((name, tflite.read(make(), name)) for name, make in NETWORKS.items())


def _row(name: str, stages: Stages, most: int, most_macs: float) -> str:
    image = stages.graph.tensors[stages.graph.inputs[0]].bytes
    alone = [_rows_alone(stages, fed) for fed in (False, True)]
    strips = [_strips(stages, fed, least, most, most_macs) for fed, least in zip((False, True), alone, strict=True)]
    return f"| {' | '.join([name, *(f'{figure:,}' for figure in (image, *alone)), *strips])} |"


def _rows_alone(stages: Stages, fed: bool) -> int:
    """The least that runs of rows need."""
    rows = [choice.rows if choice else None for choice in stages.choices]
    found = Streamings(stages.graph, kernels(stages.choices), rows, prices(stages.core.features).row, given=fed)
    return next(found.smallest_first()).live_bytes


def _strips(stages: Stages, fed: bool, least: int, most: int, most_macs: float) -> str:
    """The least with strips that compute at most so much twice, in words."""
    found = [one for strips in range(FEWEST, most + 1) for one in stages.best(strips, most_macs, fed)]
    best = min(found, key=lambda one: one.bytes, default=None)
    if best is None or best.bytes >= least:
        return "no less"
    ends = stages.graph.nodes[best.stage.last].location
    return f"{best.bytes:,} ({best.stage.strips} strips up to {ends}, {best.macs:.2f}x)"


if __name__ == "__main__":
    raise SystemExit(main())
