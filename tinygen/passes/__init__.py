"""Rewrites, Graph -> Graph, in the order they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinygen.ir import Graph
from tinygen.passes.check import check
from tinygen.passes.drop_unused import drop_unused
from tinygen.passes.fold_constants import fold_constants
from tinygen.passes.fold_pad import fold_pad
from tinygen.passes.merge_equal import merge_equal
from tinygen.quant import Numerics

PIPELINE: tuple[Callable[[Graph], Graph], ...] = (check, merge_equal, fold_pad, drop_unused)


def run(graph: Graph, profiles: Sequence[Numerics] = tuple(Numerics)) -> Graph:
    """`graph` after every pass, good for all `profiles` of numerics; its rules are verified before and after each."""
    graph = fold_constants(graph.verify(), profiles).verify()
    for rewrite in PIPELINE:
        graph = rewrite(graph).verify()
    return graph
