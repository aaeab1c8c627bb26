"""Chooses the kernel of every node: the fastest, or one that saves RAM or flash."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from tinygen import ops
from tinygen.ir import Graph
from tinygen.memory.peak import peak
from tinygen.memory.plan import needed, plan
from tinygen.ops.spec import Context, Kernel, Rows, Variant, context_of
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

    @cached_property
    def rows(self) -> Rows | None:
        """How the node is computed row by row, if it can be."""
        return self.variant.rows(self.context) if self.variant.rows else None


Choices = tuple[Choice | None, ...]
PLAIN: frozenset[str] = frozenset()
"""The features of a core that has none."""


def choose(graph: Graph, numerics: Numerics, core: Core, optimize: Optimize = Optimize.SPEED) -> Choices:
    """The kernel of every node, in order.

    For speed each node gets the best variant for the core, for flash the best that any core can run: it is shorter. For
    RAM a node keeps the core's own unless another needs less at the peak.
    """
    contexts = [context_of(graph, node, numerics) for node in graph.nodes]
    features = PLAIN if optimize is Optimize.FLASH else core.features
    choices = [_choice(context, features) for context in contexts]
    if optimize is Optimize.RAM:
        return _lower_peak(graph, core, choices)
    return tuple(choices)


def kernels(choices: Sequence[Choice | None]) -> list[Kernel | None]:
    """What the planner is told of each node."""
    return [choice.kernel if choice else None for choice in choices]


def without(choices: Choices, nodes: Collection[int]) -> Choices:
    """The choices, none for `nodes`."""
    return tuple(None if index in nodes else choice for index, choice in enumerate(choices))


def _choice(context: Context, features: frozenset[str]) -> Choice | None:
    """The best kernel of a node on a core with `features`."""
    spec = ops.SPECS[context.node.op]
    if spec.alias:
        return None
    return _of(context, spec.variant_for(context, features))


def _of(context: Context, variant: Variant) -> Choice:
    return Choice(context, variant, (variant.params or ops.SPECS[context.node.op].params)(context))


def _lower_peak(graph: Graph, core: Core, choices: list[Choice | None]) -> Choices:
    """The choices with which the plan is smallest when the node at its peak gets a more frugal kernel, again and again.

    Of plans of one size the first counts, as its kernels are the faster ones.
    """
    best, least = tuple(choices), None
    while True:
        found = plan(graph, kernels(choices), core.alignment_bytes)
        if least is None or found.arena_bytes < least:
            best, least = tuple(choices), found.arena_bytes
        step = peak(found).step
        frugal = _frugal(graph, core, choices, step) if 0 <= step < len(choices) else None
        if frugal is None:
            return best
        choices[step] = frugal


def _frugal(graph: Graph, core: Core, choices: Sequence[Choice | None], step: int) -> Choice | None:
    """The first kernel of a node, behind the chosen one, that needs fewer bytes with all that is alive then."""
    present = choices[step]
    if present is None:
        return None

    def need(choice: Choice) -> int:
        changed = [*choices[:step], choice, *choices[step + 1 :]]
        return needed(graph, kernels(changed), core.alignment_bytes, step)

    variants = ops.SPECS[present.context.node.op].variants
    later = variants[variants.index(present.variant) + 1 :]
    possible = [v for v in later if v.features <= core.features and v.when(present.context)]
    return next((c for c in (_of(present.context, v) for v in possible) if need(c) < need(present)), None)
