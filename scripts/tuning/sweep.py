"""Turns what networks take into what each kind of layer costs, and which layers cost too much.

A multiply-accumulate cannot cost the same everywhere: where few are under an output, the layer loads its inputs and
scales its outputs. So a layer is judged by a floor: the products that lie inside its input, at the least that any layer
of its kind pays for one, and what it takes to load each input and to store each output once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from scripts.tuning.measure import Cost
from tinygen import ops
from tinygen.ops.spec import Context, context_of
from tinygen.ops.window import convolution_geometry
from tinygen.profile.facts import LayerProfile
from tinygen.quant import Numerics

LEAST_SHARE = 0.001
"""Of its network's cycles that a layer takes to count."""
MOST_RATIO = 1.5
"""Of a layer's cost to its floor."""
WINDOWED = ("conv_2d", "depthwise_conv_2d")
WEIGHTED = (*WINDOWED, "fully_connected")


@dataclass(frozen=True)
class Rates:
    """What a layer takes at least beside its products: to load and widen an input, to scale and store an output."""

    input: float
    output: float


RATES: Mapping[str, Rates] = MappingProxyType(
    {
        "mve": Rates(0.25, 1.5),
        "dsp": Rates(1.5, 5),
        "armv6m": Rates(2, 20),
        "armv7m": Rates(2, 11),
    }
)
"""Feature of a core -> its rates, in cycles (mve: instructions); the first that a core has."""


@dataclass(frozen=True)
class Swept:
    """A layer of a network; a unit is a multiply-accumulate, or an element where nothing is multiplied."""

    network: str
    kind: str
    shapes: str
    kernel: str
    units: int
    products: int
    """Those of the units that lie inside the input."""
    outputs: int
    cycles: int
    around: float
    """What loading its inputs and storing its outputs takes at least."""

    @property
    def per_unit(self) -> float:
        """Cycles."""
        return self.cycles / self.units

    @property
    def per_output(self) -> float:
        """Cycles."""
        return self.cycles / self.outputs

    def over(self, product: float) -> float:
        """Its cost against its floor, where a product costs at least so much."""
        return self.cycles / (product * self.products + self.around)

    def __str__(self) -> str:
        return f"{self.shapes} ({self.network}, {self.kernel}): {self.per_unit:.2f}, {self.per_output:.0f} an output"


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

    @cached_property
    def product(self) -> float:
        """The least that any layer pays for a product."""
        return max(0.0, min((layer.cycles - layer.around) / layer.products for layer in self.layers))

    @property
    def most_over(self) -> float:
        """The cost of the layer that is furthest above its floor, against that."""
        return max(layer.over(self.product) for layer in self.layers)

    @property
    def outliers(self) -> tuple[Swept, ...]:
        """The layers that cost too much, the costliest first."""
        found = [layer for layer in self.layers if layer.over(self.product) > MOST_RATIO]
        return tuple(sorted(found, key=lambda layer: -layer.over(self.product)))


def swept(network: str, cost: Cost) -> list[Swept]:
    """The layers of a network that take a share of its time."""
    graph, features = cost.compiled.graph, cost.profile.board.core.features
    rates = next(rates for feature, rates in RATES.items() if feature in features)
    numerics = Numerics(cost.compiled.manifest["numerics"])
    nodes = [context_of(graph, node, numerics) for node in graph.nodes if not ops.SPECS[node.op].alias]
    layers = zip(nodes, cost.profile.layers, strict=True)
    return [
        _swept(network, context, layer, rates)
        for context, layer in layers
        if cost.profile.share(layer.counts) >= LEAST_SHARE
    ]


def _swept(network: str, context: Context, layer: LayerProfile, rates: Rates) -> Swept:
    cycles = layer.counts.instructions if layer.counts.cycles is None else layer.counts.cycles
    inputs, outputs = [tensor.size for tensor in context.inputs if tensor.data is None], context.output.size
    units = layer.macs or max(*inputs, outputs)
    around = rates.input * sum(inputs) + rates.output * outputs if context.node.op in WEIGHTED else 0.0
    products = _inside(context, units)
    return Swept(network, _kind(layer), layer.shapes, layer.kernel, units, products, outputs, cycles, around)


def _inside(context: Context, macs: int) -> int:
    """Of the multiply-accumulates of a layer those inside its input."""
    if context.node.op not in WINDOWED:
        return macs
    window = convolution_geometry(context)
    for axis in range(2):
        outputs, taps = np.arange(window.output[axis])[:, None], np.arange(window.kernel[axis])
        places = outputs * window.stride[axis] + taps * window.dilation[axis] - window.pad[axis]
        inside = (places >= 0) & (places < window.input[axis])
        macs = macs * int(inside.sum()) // inside.size
    return macs


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
