"""A Keras model as groups of channels that can only be removed together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tinygen.ir import Array
from tinygen.quantize.keras_graph import DEPTHWISE, OUTPUT_AXES, Call, calls, changed

POOLS = frozenset(f"{kind}Pooling{d}D" for kind in ("Average", "Max", "GlobalAverage", "GlobalMax") for d in (1, 2))
DROPOUTS = frozenset({"Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"})
RESIZES = frozenset(f"{kind}{d}D" for kind in ("ZeroPadding", "Cropping", "UpSampling") for d in (1, 2))
ACTIVATIONS = frozenset({"Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Relu", "Relu6", "Sigmoid", "Tanh", "Silu"})
SAME = POOLS | DROPOUTS | RESIZES | ACTIVATIONS | {"BatchNormalization", "Identity"}
"""Layers and operations whose output channel c is a function of their input channel c."""
MERGES = frozenset({"Add", "Subtract", "Multiply", "Maximum", "Minimum", "Average"})
SEPARABLE = frozenset({"SeparableConv1D", "SeparableConv2D"})
FIXED = 0
"""The unit of every channel that must stay."""


@dataclass(frozen=True, eq=False)
class Site:
    """A layer with its channels: the unit of each input channel and of each output channel."""

    call: Call
    inputs: Array
    outputs: Array

    @property
    def name(self) -> str:
        """The name of the layer."""
        return str(self.call.layer.name)

    @property
    def kind(self) -> str:
        """The name of the layer's class."""
        return self.call.kind

    @property
    def chooses(self) -> bool:
        """Whether the layer's own configuration says how many output channels it has."""
        return self.kind in OUTPUT_AXES or self.kind in SEPARABLE


@dataclass(frozen=True, eq=False)
class Channels:
    """The channels of a model: its sites, and the removable units, those in one group that the same layers have.

    `alive` below is a bool for each unit, False for those to be removed.
    """

    sites: tuple[Site, ...]
    groups: tuple[Array, ...]
    size: int
    """One more than the greatest unit."""


def channels_of(model: keras.Model) -> Channels:
    """The channels of `model`, whose layers stay as they are; raises QuantizeError.

    Units are what the dependency graph of Fang et al., "DepGraph: towards any structural pruning" (2023) calls a group:
    the channels joined by additions, depthwise convolutions and normalisations. A layer that is not known keeps all
    channels that it reads and gives.
    """
    sites = calls(model)
    layers = [call.layer for call in sites]
    tracer = _Tracer(shared={id(layer) for layer in layers if sum(layer is other for other in layers) > 1})
    for call in sites:
        tracer.trace(call)
    for tensor in model.outputs:
        tracer.fix(tracer.channels[id(tensor)])
    known = tuple(Site(call, tracer.roots(ins), tracer.roots(outs)) for call, ins, outs in tracer.sites)
    return Channels(known, _grouped([site.outputs for site in known if site.chooses]), len(tracer.parents))


def _grouped(sets: list[Array]) -> tuple[Array, ...]:
    """The removable units of `sets`, those together that are members of the same sets."""
    members: dict[int, list[int]] = {}
    for index, units in enumerate(sets):
        for unit in np.unique(units[units != FIXED]):
            members.setdefault(int(unit), []).append(index)
    groups: dict[tuple[int, ...], list[int]] = {}
    for unit in sorted(members):
        groups.setdefault(tuple(members[unit]), []).append(unit)
    return tuple(np.array(group, np.int64) for group in groups.values())


@dataclass
class _Tracer:
    """Follows channels through the calls; units are numbers joined in a union-find forest."""

    shared: set[int]
    parents: list[int] = field(default_factory=lambda: [FIXED])
    channels: dict[int, Array] = field(default_factory=dict)
    sites: list[tuple[Call, Array, Array]] = field(default_factory=list)

    def root(self, unit: int) -> int:
        while self.parents[unit] != unit:
            unit = self.parents[unit]
        return unit

    def roots(self, units: Array) -> Array:
        return np.array([self.root(int(unit)) for unit in units], np.int64)

    def join(self, first: Array, second: Array) -> None:
        """Join the units of two tensors channel by channel; FIXED stays the root of what it is joined to."""
        for one, two in zip(self.roots(first), self.roots(second), strict=True):
            low, high = sorted((self.root(int(one)), self.root(int(two))))
            self.parents[high] = low

    def fix(self, units: Array) -> None:
        self.join(units, np.full(len(units), FIXED))

    def fresh(self, count: int) -> Array:
        units = np.arange(len(self.parents), len(self.parents) + count)
        self.parents.extend(int(unit) for unit in units)
        return units

    def trace(self, call: Call) -> None:
        """Say which units the outputs of `call` have."""
        inputs = [self.channels[id(tensor)] for tensor in call.inputs]
        outputs = None if id(call.layer) in self.shared else _outputs(self, call, inputs)
        if outputs is None:
            for units in inputs:
                self.fix(units)
            for tensor in call.outputs:
                self.channels[id(tensor)] = np.full(_count(tensor), FIXED)
            return
        self.channels[id(call.outputs[0])] = outputs
        self.sites.append((call, inputs[0], outputs))


def _outputs(tracer: _Tracer, call: Call, inputs: list[Array]) -> Array | None:
    """The units of what `call` gives, or None if that is not known."""
    if not inputs or len(call.outputs) != 1 or not _channels_last(call):
        return None
    for kinds, rule in RULES:
        if call.kind in kinds:
            return rule(tracer, call, inputs)
    return None


def _channels_last(call: Call) -> bool:
    if call.kind == "BatchNormalization":
        return call.layer.axis in (-1, len(call.outputs[0].shape) - 1)
    return getattr(call.layer, "data_format", None) in (None, "channels_last")


def _produce(tracer: _Tracer, call: Call, inputs: list[Array]) -> Array | None:
    if getattr(call.layer, "groups", 1) != 1:
        return None
    outputs = tracer.fresh(_count(call.outputs[0]))
    if call.layer.activation.__name__ == "softmax":
        tracer.fix(outputs)
    return outputs


def _repeat(tracer: _Tracer, call: Call, inputs: list[Array]) -> Array:
    return np.repeat(inputs[0], call.layer.depth_multiplier)


def _keep(tracer: _Tracer, call: Call, inputs: list[Array]) -> Array | None:
    softmax = call.kind == "Activation" and call.layer.activation.__name__ == "softmax"
    return None if softmax else inputs[0]


def _merge(tracer: _Tracer, call: Call, inputs: list[Array]) -> Array | None:
    """Channels added to each other; one channel that is broadcast to all must stay."""
    if len(inputs) < 2:  # a constant on the other side
        return None
    count = max(len(units) for units in inputs)
    wide = [units for units in inputs if len(units) == count]
    for units in inputs:
        if len(units) != count:
            tracer.fix(units)
        else:
            tracer.join(wide[0], units)
    return wide[0]


def _concatenate(tracer: _Tracer, call: Call, inputs: list[Array]) -> Array:
    if call.layer.axis in (-1, len(call.outputs[0].shape) - 1):
        return np.concatenate(inputs)
    for units in inputs[1:]:
        tracer.join(inputs[0], units)
    return inputs[0]


def _reshape(tracer: _Tracer, call: Call, inputs: list[Array]) -> Array | None:
    """Element f of a sample, in channel f mod C before, is in channel f mod D after: known where C divides D."""
    before, after = len(inputs[0]), _count(call.outputs[0])
    known = after % before == 0 and isinstance(call.layer, keras.Layer)
    return np.tile(inputs[0], after // before) if known else None


RULES: tuple[tuple[frozenset[str], Callable[[_Tracer, Call, list[Array]], Array | None]], ...] = (
    (frozenset(OUTPUT_AXES) | SEPARABLE, _produce),
    (DEPTHWISE, _repeat),
    (SAME, _keep),
    (MERGES, _merge),
    (frozenset({"Concatenate"}), _concatenate),
    (frozenset({"Flatten", "Reshape"}), _reshape),
)


def _count(tensor: Any) -> int:
    return int(tensor.shape[-1]) if len(tensor.shape) > 1 else 1


def macs(channels: Channels, alive: Array) -> int:
    """The multiply-accumulates of one inference with the units that are `alive`."""
    return sum(_macs(site, int(alive[site.inputs].sum()), int(alive[site.outputs].sum())) for site in channels.sites)


def _macs(site: Site, inputs: int, outputs: int) -> int:
    """The multiply-accumulates of a layer with so many input and output channels."""
    layer, kind = site.call.layer, site.kind
    if not site.chooses and kind not in DEPTHWISE:
        return 0
    spatial = site.call.inputs[0] if kind.endswith("Transpose") else site.call.outputs[0]
    places = math.prod(int(size) for size in spatial.shape[1:-1])
    if kind == "Dense":
        return places * inputs * outputs
    window = places * math.prod(int(size) for size in layer.kernel_size)
    if kind in DEPTHWISE:
        return window * outputs
    if kind in SEPARABLE:
        return inputs * int(layer.depth_multiplier) * (window + places * outputs)
    return window * inputs * outputs


def without(model: keras.Model, channels: Channels, alive: Array) -> keras.Model:
    """A copy of `model` whose layers have only the channels that are `alive`: a smaller graph, not a masked one."""
    settings: dict[str, dict[str, Any]] = {}
    weights: dict[str, list[Array]] = {}
    for site in channels.sites:
        layer, ins, outs = site.call.layer, alive[site.inputs], alive[site.outputs]
        if site.chooses:
            settings[site.name] = {"units" if site.kind == "Dense" else "filters": int(outs.sum())}
        elif site.kind == "Reshape" and layer.target_shape[-1] != -1:
            settings[site.name] = {"target_shape": (*layer.target_shape[:-1], int(outs.sum()))}
        if getattr(layer, "weights", None):
            weights[site.name] = _sliced(site, layer.get_weights(), ins, outs)
    return changed(model, settings, weights)


def _sliced(site: Site, weights: list[Array], ins: Array, outs: Array) -> list[Array]:
    """The layer's weights of the channels that stay, input channels `ins` and output channels `outs` (bool)."""
    if site.kind in DEPTHWISE:
        kernels = [weights[0][..., ins, :]]
    elif site.kind in SEPARABLE:
        deep = np.repeat(ins, site.call.layer.depth_multiplier)
        kernels = [weights[0][..., ins, :], weights[1][..., deep, :][..., outs]]
    elif OUTPUT_AXES.get(site.kind) == -1:
        kernels = [weights[0][..., ins, :][..., outs]]
    elif OUTPUT_AXES.get(site.kind) == -2:
        kernels = [weights[0][..., outs, :][..., ins]]
    else:
        kernels = []
    rest = weights[len(kernels) :]  # a weight that all channels share has one entry along its last axis
    return kernels + [weight[..., outs] if weight.shape[-1] == len(outs) else weight for weight in rest]
