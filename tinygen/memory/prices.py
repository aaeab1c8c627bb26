"""Turns what a node does into about the cycles that a kernel takes for it: enough to choose between kernels and plans.

The figures are those of the MLPerf Tiny models, layer by layer, in the profiles of a board for each kind of core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tinygen.ops.spec import Cost, Variant


@dataclass(frozen=True)
class Price:
    """About what kernels take, in cycles."""

    mac: float
    output: float
    lone_mac: float
    """Where an output is of one channel, as those of depthwise convolutions are."""
    element: float
    """An output of what multiplies nothing."""

    def of(self, cost: Cost, lone: bool = False) -> float:
        """A node computed as a whole."""
        if not cost.macs:
            return self.element * cost.outputs
        return (self.lone_mac if lone else self.mac) * cost.macs + self.output * cost.outputs


@dataclass(frozen=True)
class Prices:
    """Those of a core."""

    own: Price
    """By kernels for its instructions."""
    plain: Price
    """By plain C."""
    row: float
    """To take the next event of a run and call its kernel."""


PRICES: Mapping[str, Prices] = MappingProxyType(
    {
        "mve": Prices(Price(0.14, 3.2, 0.14, 3.2), Price(3.1, 29, 16, 20), 20),
        "dsp": Prices(Price(1.0, 6, 1.0, 6), Price(4.9, 28, 20, 20), 60),
        "armv6m": Prices(Price(2.9, 15, 6, 20), Price(9, 115, 27, 20), 100),
        "armv7m": Prices(Price(2.0, 33, 1.7, 20), Price(6, 32, 20.5, 20), 80),
        "": Prices(Price(6, 20, 6, 20), Price(6, 20, 20, 20), 100),
    }
)
"""Feature of a core -> its prices; the first that a core has."""
DEARER: Mapping[str, float] = MappingProxyType(
    {
        "conv_2d.widened.v6m": 1.25,
        "conv_2d.v6m": 2.2,
        "matrix.v6m": 1.4,
        "conv_2d.pixels.v7m": 1.4,
        "depthwise_conv_2d.window.dsp": 1.35,
        "matrix.v7m": 1.25,
    }
)
"""Template of a kernel -> what it takes of the time of the best for the same instructions."""


def prices(features: frozenset[str]) -> Prices:
    """Of a core with these features."""
    return next(found for feature, found in PRICES.items() if feature in features or not feature)


def cycles(variant: Variant, cost: Cost, features: frozenset[str], lone: bool) -> float:
    """About what a kernel takes on a core with these features; `lone`: each output is of one channel.

    A core may have the instructions of several kinds: a kernel takes what those that it asks for take.
    """
    if not variant.features:
        return prices(features).plain.of(cost, lone)
    best = prices(variant.features).own.of(cost, lone)
    return best * DEARER.get(variant.template.removeprefix("kernels/").removesuffix(".c.j2"), 1.0)
