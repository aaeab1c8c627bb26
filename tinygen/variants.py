"""Chooses the kernel of every node: the fastest, or one that saves RAM or flash."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

from tinygen import ops
from tinygen.ir import Graph
from tinygen.memory.plan import needed
from tinygen.memory.prices import cycles
from tinygen.ops import gathered_rows, pixelwise, step_rows
from tinygen.ops.spec import Context, Kernel, OpSpec, Rows, Variant, context_of
from tinygen.quant import Numerics
from tinygen.target import Core, Target


class Optimize(Enum):
    """What the choice of kernels is for."""

    FASTEST = "fastest"
    """The least cycles, for as many bytes of RAM and flash as there are; for the asking only."""
    SPEED = "speed"
    COMPACT = "compact"
    RAM = "ram"
    LEAST_RAM = "least-ram"
    """The smallest RAM that there is, whatever it costs; RAM stays within a share of the cycles."""
    FLASH = "flash"


def goals(optimize: Optimize | None) -> tuple[Optimize, ...]:
    """What is tried in turn until it fits; without a wish what costs the least time first."""
    if optimize is None:
        return tuple(goal for goal in Optimize if goal is not Optimize.FASTEST)
    return (optimize, Optimize.SPEED) if optimize is Optimize.FASTEST else (optimize,)


@dataclass(frozen=True)
class Room:
    """Bytes that a model may fill."""

    ram_bytes: float = math.inf
    flash_bytes: float = math.inf
    lacking_bytes: int = 0
    """Of flash, beyond what the kernels for a goal leave: leaner functions save so many, whatever they take."""

    def within(self, board: Target) -> Room:
        """No more than a board has, each in one piece."""
        ram_bytes, flash_bytes = board.largest_ram_bytes, board.largest_flash_bytes
        return replace(self, ram_bytes=min(self.ram_bytes, ram_bytes), flash_bytes=min(self.flash_bytes, flash_bytes))


ANY_ROOM = Room()


@dataclass(frozen=True)
class Choice:
    """The kernel chosen for one node; None for a node without code."""

    context: Context
    variant: Variant
    kernel: Kernel
    large: Choice | None = None
    """The same with more scratch for rows, where this one has less."""

    @cached_property
    def rows(self) -> Rows | None:
        """How the node is computed row by row, if it can be."""
        if self.large is not None and self.large.rows is not None:
            return self.large.rows.small
        return _rows(self.context, self.variant) or _plain_rows(self.context, self.variant)

    @cached_property
    def small(self) -> Choice:
        """The same with less scratch for rows, where there is such a way."""
        has = self.rows is not None and self.rows.small is not None
        return replace(self, large=self) if has else self


def _rows(context: Context, variant: Variant) -> Rows | None:
    """A node's rows by one variant."""
    spec = ops.SPECS[context.node.op]
    if not step_rows.takes_all(context):
        if step_rows.applies(context):
            image = step_rows.folded(context, spec)
            return _rows(image, variant) if image else gathered_rows.of_window(context, spec, variant)
        if context.wide and context.node.op in step_rows.WINDOWED:
            return _of_pixels(context, spec, variant) or gathered_rows.of_window(context, spec, variant)
    return variant.rows(context) if variant.rows else _of_pixels(context, spec, variant)


def _of_pixels(context: Context, spec: OpSpec, variant: Variant) -> Rows | None:
    """A node's rows where it computes each pixel by itself."""
    by_pixels = spec.pixelwise is not None and spec.pixelwise(context)
    return pixelwise.rows(context, spec, variant) if by_pixels else None


def _plain_rows(context: Context, variant: Variant) -> Rows | None:
    """A node's rows by plain C, where `variant` has none; the cycles that this takes are what its rows take more."""
    spec = ops.SPECS[context.node.op]
    for plain in spec.variants:
        if plain.fits(context, PLAIN) and (found := _rows(context, plain)):
            core = variant.features
            more = cycles_of(context, plain, core) - cycles_of(context, variant, core)
            return replace(found, extra_cycles=found.extra_cycles + round(more))
    return None


Choices = tuple[Choice | None, ...]
PLAIN: frozenset[str] = frozenset()
"""The features of a core that has none."""
LEAST_SAVED_BYTES = 256
"""Of weights in fewer bits: about what unpacks them."""


def choose(graph: Graph, numerics: Numerics, core: Core, optimize: Optimize = Optimize.SPEED) -> Choices:
    """The kernel of every node, in order.

    For speed, and to begin with for RAM, each node gets the best variant for the core; for flash the best that any core
    can run: it is shorter. Both for compact and for flash, weights that take few values are stored in fewer bits.
    """
    contexts = [context_of(graph, node, numerics) for node in graph.nodes]
    features = PLAIN if optimize is Optimize.FLASH else core.features
    choose_one = _compact if optimize in (Optimize.COMPACT, Optimize.FLASH) else _choice
    return tuple(choose_one(context, features) for context in contexts)


def plain_choices(graph: Graph, numerics: Numerics) -> Choices:
    """The kernel of every node that any core can run."""
    return tuple(_choice(context_of(graph, node, numerics), PLAIN) for node in graph.nodes)


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
    return choice_of(context, spec.variant_for(context, features))


def _compact(context: Context, features: frozenset[str]) -> Choice | None:
    """The same, or the first kernel for the same instructions with fewer bits a weight, where that saves enough."""
    best = _choice(context, features)
    if best is None:
        return None
    variants = ops.SPECS[context.node.op].compact
    variant = next((v for v in variants if v.features == best.variant.features and v.fits(context, features)), None)
    choice = choice_of(context, variant) if variant else best
    return choice if constant_bytes(best) - constant_bytes(choice) >= LEAST_SAVED_BYTES else best


def constant_bytes(choice: Choice) -> int:
    """Of its arrays in flash."""
    return sum(constant.data.nbytes for constant in choice.kernel.constants)


def choice_of(context: Context, variant: Variant) -> Choice:
    """A node's kernel by one variant."""
    return Choice(context, variant, (variant.params or ops.SPECS[context.node.op].params)(context))


def faster(graph: Graph, core: Core, choices: Choices, room: Room) -> Choices:
    """The choices with kernels that take less time for more bytes, as many as there is room for.

    Those that save most come first; kernels with many constants after all others. Code is not counted.
    """
    best: dict[int, float] = {}
    for place in range(max(len(spec.fast) for spec in ops.SPECS.values())):
        found = [(_saved(choice, place, core), index) for index, choice in enumerate(choices) if choice]
        for saved, index in sorted(found, reverse=True):
            present = choices[index]
            if present is None or saved <= best.get(index, 0):
                continue
            variant = ops.SPECS[present.context.node.op].fast[place]
            changed = (*choices[:index], choice_of(present.context, variant), *choices[index + 1 :])
            if _fits(graph, core, changed, index, room):
                choices, best[index] = changed, saved
    return choices


def _saved(choice: Choice, place: int, core: Core) -> float:
    """About the cycles that the fast kernel at that place takes less; 0 if there is none."""
    fast = ops.SPECS[choice.context.node.op].fast
    variant = fast[place] if place < len(fast) else None
    if variant is None or not variant.saves or not variant.fits(choice.context, core.features):
        return 0
    return variant.saves(choice.context)


def _fits(graph: Graph, core: Core, choices: Choices, step: int, room: Room) -> bool:
    flash_bytes = sum(constant_bytes(choice) for choice in choices if choice)
    ram_bytes = needed(graph, kernels(choices), core.alignment_bytes, step)
    return flash_bytes <= room.flash_bytes and ram_bytes <= room.ram_bytes


def cycles_of(context: Context, variant: Variant, features: frozenset[str]) -> float:
    """About the cycles of a node by one variant, on a core with these features."""
    cost = ops.SPECS[context.node.op].cost(context)
    return cycles(variant, cost, features, lone=context.node.op == "depthwise_conv_2d")


def frugal(graph: Graph, core: Core, choices: Choices, step: int, most_cycles: float) -> tuple[Choices, float] | None:
    """The choices with another kernel for node `step`, and about the cycles that it takes more; None if there is none.

    It is the first behind the chosen one that needs fewer bytes with all that is alive then, for at most `most_cycles`.
    """
    present = choices[step]
    if present is None:
        return None
    least = needed(graph, kernels(choices), core.alignment_bytes, step)
    variants = ops.SPECS[present.context.node.op].variants
    now = cycles_of(present.context, present.variant, core.features)
    for variant in variants[variants.index(present.variant) + 1 :]:
        extra = cycles_of(present.context, variant, core.features) - now
        if extra <= most_cycles and variant.fits(present.context, core.features):
            changed = (*choices[:step], choice_of(present.context, variant), *choices[step + 1 :])
            if needed(graph, kernels(changed), core.alignment_bytes, step) < least:
                return changed, max(0.0, extra)
    return None
