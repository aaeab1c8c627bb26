"""Turns the profiles of networks into what each kind of layer costs, and which layers cost too much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.profile.facts import LayerProfile, Profile

LEAST_SHARE = 0.001
"""Of its network's cycles that a layer takes to count."""
MOST_RATIO = 1.5
"""Of a layer's cost to the best of its kind."""


@dataclass(frozen=True)
class Swept:
    """A layer of a network; a unit is a multiply-accumulate, or an element where nothing is multiplied."""

    network: str
    kind: str
    shapes: str
    kernel: str
    units: int
    cycles: int

    @property
    def per_unit(self) -> float:
        """Cycles."""
        return self.cycles / self.units

    def __str__(self) -> str:
        return f"{self.shapes} ({self.network}, {self.kernel}): {self.per_unit:.2f}"


@dataclass(frozen=True)
class Kind:
    """All layers of a kind."""

    name: str
    layers: tuple[Swept, ...]

    @property
    def best(self) -> float:
        """Cycles a unit."""
        return min(layer.per_unit for layer in self.layers)

    @property
    def worst(self) -> float:
        """Cycles a unit."""
        return max(layer.per_unit for layer in self.layers)

    @property
    def outliers(self) -> tuple[Swept, ...]:
        """The layers that cost too much, the costliest first."""
        found = [layer for layer in self.layers if layer.per_unit > MOST_RATIO * self.best]
        return tuple(sorted(found, key=lambda layer: -layer.per_unit))


def swept(network: str, profile: Profile) -> list[Swept]:
    """The layers of a profile that take a share of the time."""
    found = []
    for layer in profile.layers:
        cycles = layer.counts.instructions if layer.counts.cycles is None else layer.counts.cycles
        if profile.share(layer.counts) >= LEAST_SHARE:
            units = layer.macs or max(_elements(shape) for shape in layer.shapes.replace(" -> ", ", ").split(", "))
            found.append(Swept(network, _kind(layer), layer.shapes, layer.kernel, units, cycles))
    return found


def kinds(found: Sequence[Swept]) -> list[Kind]:
    """The layers by kind, in order of their first."""
    names = dict.fromkeys(layer.kind for layer in found)
    return [Kind(name, tuple(layer for layer in found if layer.kind == name)) for name in names]


def _kind(layer: LayerProfile) -> str:
    """The operator, and for convolutions whether their kernel is 1x1 and whether they take few channels."""
    source, target = (part.split(", ")[0].split("x") for part in layer.shapes.split(" -> "))
    if layer.operator != "CONV_2D":
        return layer.operator
    depth, outputs = int(source[-1]), math.prod(int(size) for size in target)
    if layer.macs // outputs == depth:
        return f"CONV_2D 1x1, {'32 or more' if depth >= 32 else '8 to 31' if depth >= 8 else 'under 8'} channels"
    return f"CONV_2D, {'8 or more' if depth >= 8 else 'under 8'} channels"


def _elements(shape: str) -> int:
    return math.prod(int(size) for size in shape.split("x"))
