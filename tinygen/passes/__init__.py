"""Rewrites, Graph -> Graph, in the order they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tinygen.ir import Graph
from tinygen.passes.check import check
from tinygen.passes.drop_channels import drop_channels
from tinygen.passes.drop_unused import drop_unused
from tinygen.passes.fold_constants import fold_constants
from tinygen.passes.fold_known import fold_known
from tinygen.passes.fold_pad import fold_pad
from tinygen.passes.merge_equal import merge_equal
from tinygen.passes.over_time import over_time
from tinygen.passes.shrink_operands import shrink_operands
from tinygen.quant import Numerics


def pipeline(profiles: Sequence[Numerics]) -> tuple[Callable[[Graph], Graph], ...]:
    """The rewrites, good for all `profiles` of numerics."""
    return (
        partial(fold_constants, profiles=profiles),
        check,
        merge_equal,
        over_time,
        fold_pad,
        partial(fold_known, profiles=profiles),
        shrink_operands,
        drop_unused,
        partial(drop_channels, profiles=profiles),
        drop_unused,
    )


def run(graph: Graph, profiles: Sequence[Numerics] = tuple(Numerics)) -> Graph:
    """`graph` after every pass, good for all `profiles` of numerics; its rules are verified before and after each."""
    graph.verify()
    for rewrite in pipeline(profiles):
        graph = rewrite(graph).verify()
    return graph
