"""Measures what a network's layers take on a core: cycles by the emulator's replay, and flash."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest import mock

from tinygen import leaner, ops, target
from tinygen.budget import weigh
from tinygen.driver import Compiled, Model, compile_model
from tinygen.footprint.measure import measure as measure_footprint
from tinygen.frontend import tflite
from tinygen.ops.spec import Context, OpSpec, Variant, context_of
from tinygen.profile.facts import Profile
from tinygen.profile.profile import profile
from tinygen.quant import Numerics
from tinygen.target import Target
from tinygen.variants import Choice

Settings = Mapping[str, int]
"""Constants of modules under tinygen.ops, such as pointwise_dsp.MOST_STEPS, and their values."""


PLAIN = "c"
"""The variant that is plain C; those behind it are for other types."""


@dataclass(frozen=True)
class Cost:
    """What a network takes."""

    profile: Profile
    compiled: Compiled

    @property
    def cycles(self) -> int:
        """Of one inference; instructions where the emulator tells no cycles."""
        total = self.profile.total
        return total.instructions if total.cycles is None else total.cycles

    @property
    def code_bytes(self) -> int:
        """Of the program, without constants and what every model has."""
        return self.profile.budget.footprint.flash_bytes - self.constant_bytes

    @property
    def constant_bytes(self) -> int:
        """Weights and what belongs to them."""
        return int(self.compiled.manifest["constant_bytes"])

    @property
    def arena_bytes(self) -> int:
        """Tensors and scratch."""
        return int(self.compiled.manifest["arena_bytes"])


def board_of(core: str) -> Target:
    """The board with most flash of those with that core; raises TargetError for an unknown one."""
    target.load_core(core)
    boards = [board for board in target.load_all() if board.core.name == core]
    return max(boards, key=lambda board: min(board.largest_flash_bytes, 8 * board.largest_ram_bytes))


def cost(data: bytes, board: Target, variant: str | None = None, settings: Settings | None = None) -> Cost:
    """What the network takes with the best kernels, or each layer with `variant` where it has it, under `settings`.

    Each layer is computed as a whole, not row by row, so that its kernel is what is measured; no leaner one takes the
    place of a `variant`.
    """
    model = Model("net.tflite", data, tflite.read(data, "net.tflite"))
    whole = mock.patch.object(Choice, "rows", None)
    as_asked = mock.patch.object(leaner, "CYCLES_A_BYTE", 0 if variant else leaner.CYCLES_A_BYTE)
    with _set(settings or {}), whole, as_asked, mock.patch.object(OpSpec, "variant_for", _preferring(variant)):
        compiled = compile_model(model, board, "net")
        footprint = measure_footprint(compiled, board)
        return Cost(profile(compiled, board, weigh(compiled, board, footprint), 0), compiled)


def possible(data: bytes, board: Target) -> list[str]:
    """The variants that the last layer of a network can have on a board, best first."""
    graph = tflite.read(data, "net.tflite")
    context = context_of(graph, graph.nodes[-1], Numerics.TFLITE)
    names = [variant.name for variant in _variants(context, board.core.features)]
    return names[: names.index(PLAIN) + 1] if PLAIN in names else names


def _variants(context: Context, features: frozenset[str]) -> Iterator[Variant]:
    spec = ops.SPECS[context.node.op]
    for variant in (*spec.fast, *spec.variants):
        if variant.features <= features and variant.when(context):
            yield variant


def _preferring(name: str | None) -> Callable[[OpSpec, Context, frozenset[str]], Variant]:
    """In place of OpSpec.variant_for: the variant called `name` where a node can have it."""
    best = OpSpec.variant_for

    def variant_for(spec: OpSpec, context: Context, features: frozenset[str]) -> Variant:
        found = (variant for variant in _variants(context, features) if variant.name == name)
        return next(found, None) or best(spec, context, features)

    return variant_for


@contextmanager
def _set(settings: Settings) -> Iterator[None]:
    """Constants of modules with other values for a while."""
    with ExitStack() as stack:
        for place, value in settings.items():
            module, name = place.rsplit(".", 1)
            stack.enter_context(mock.patch.object(importlib.import_module(f"tinygen.ops.{module}"), name, value))
        yield
