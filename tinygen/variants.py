"""Chooses the kernel of every node: the fastest, or one that saves RAM or flash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from tinygen import ops
from tinygen.ir import Graph
from tinygen.memory.lifetimes import buffers
from tinygen.memory.plan import busiest_step
from tinygen.ops.spec import Context, Kernel, Variant, context_of
from tinygen.quant import Numerics
from tinygen.target import Core


class Optimize(Enum):
    """What the choice of kernels is for."""

    SPEED = "speed"
    RAM = "ram"
    FLASH = "flash"


@dataclass(frozen=True)
class Choice:
    """The kernel chosen for one node; None for a node without code."""

    context: Context
    variant: Variant
    kernel: Kernel


Choices = tuple[Choice | None, ...]
PLAIN: frozenset[str] = frozenset()
"""The features of a core that has none."""


def choose(graph: Graph, numerics: Numerics, core: Core, optimize: Optimize = Optimize.SPEED) -> Choices:
    """The kernel of every node, in order.

    For speed each node gets the best variant for the core, for flash the best that any core can run: it is shorter. For
    RAM a node keeps the core's own unless its scratch is part of the peak.
    """
    contexts = [context_of(graph, node, numerics) for node in graph.nodes]
    features = PLAIN if optimize is Optimize.FLASH else core.features
    choices = [_choice(context, features) for context in contexts]
    if optimize is Optimize.RAM:
        _lower_peak(graph, contexts, choices)
    return tuple(choices)


def scratch_bytes(choices: Sequence[Choice | None]) -> list[int]:
    """The scratch of every node."""
    return [choice.kernel.scratch_bytes if choice else 0 for choice in choices]


def _choice(context: Context, features: frozenset[str]) -> Choice | None:
    """The best kernel of a node on a core with `features`."""
    spec = ops.SPECS[context.node.op]
    if spec.alias:
        return None
    variant = spec.variant_for(context, features)
    return Choice(context, variant, (variant.params or spec.params)(context))


def _lower_peak(graph: Graph, contexts: Sequence[Context], choices: list[Choice | None]) -> None:
    """Give the node at the peak its plain kernel, if that has less scratch, and so on with the peak that is left."""
    while (step := busiest_step(buffers(graph, scratch_bytes(choices)))) >= 0:
        present, plain = choices[step], _choice(contexts[step], PLAIN)
        if present is None or plain is None or plain.kernel.scratch_bytes >= present.kernel.scratch_bytes:
            return
        choices[step] = plain
