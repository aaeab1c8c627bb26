"""One thing to try, a technique with its settings, as data; and the ladder of them, the cheapest first."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.optimize.technique import TECHNIQUES, Technique, Value

LayerSettings = tuple[tuple[str, tuple[tuple[str, Value], ...]], ...]
"""Pattern of layer names -> settings of those layers; the last pattern that matches counts."""


@dataclass(frozen=True)
class Candidate:
    """A technique with all its settings, and the layers that have settings of their own."""

    technique: str
    settings: tuple[tuple[str, Value], ...]
    layers: LayerSettings = ()

    @property
    def record(self) -> Technique:
        """What is known of the technique."""
        return TECHNIQUES[self.technique]

    @property
    def values(self) -> dict[str, Any]:
        """The settings by name."""
        return dict(self.settings)

    @property
    def title(self) -> str:
        """The technique and what differs from its defaults, or is its very point."""
        shown = [_shown(name, value) for name, value in self.settings if self._is_told(name, value)]
        own = [f"{pattern} {_shown(*setting)}" for pattern, settings in self.layers for setting in settings]
        return ", ".join([self.record.title, *shown, *own])

    def _is_told(self, name: str, value: Value) -> bool:
        return name in ("share", "width", "values", "epochs") or value != self.record.settings[name].default

    def of_layers(self, name: str) -> dict[str, Any]:
        """The patterns of layers that have a setting `name` of their own, in their order."""
        return {pattern: value for pattern, settings in self.layers for key, value in settings if key == name}

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        layers = {pattern: dict(settings) for pattern, settings in self.layers}
        return {"technique": self.technique, "settings": self.values, **({"layers": layers} if layers else {})}


def candidate(technique: str, layers: LayerSettings = (), **settings: Value) -> Candidate:
    """The technique with its default settings but for those given."""
    defaults = {name: setting.default for name, setting in TECHNIQUES[technique].settings.items()}
    return Candidate(technique, tuple((defaults | settings).items()), layers)


def expand(technique: str, settings: Mapping[str, Sequence[Value]], layers: LayerSettings = ()) -> list[Candidate]:
    """A candidate for each combination of the values that are to be tried, the first setting changing slowest."""
    return [
        candidate(technique, layers, **dict(zip(settings, values, strict=True)))
        for values in itertools.product(*settings.values())
    ]


def default_ladder(layers: LayerSettings = ()) -> tuple[Candidate, ...]:
    """What is tried without a recipe, in this order: first what needs no training, then what keeps the graph."""
    students: list[tuple[str, dict[str, Sequence[Value]]]] = [
        (technique, {"width": (width,)}) for width in (0.75, 0.5, 0.35, 0.25) for technique in ("distill", "narrow")
    ]
    steps: list[tuple[str, dict[str, Sequence[Value]]]] = [
        ("int8", {}),
        ("int8", {"method": ("percentile", "mse")}),
        ("int8", {"equalize": (True,), "correct_bias": (True,)}),
        ("int16_layers", {}),
        ("int16", {}),
        ("int8_qat", {}),
        ("int4", {}),
        ("int4_qat", {}),
        ("channels", {"share": (0.75, 0.5, 0.35, 0.25, 0.15)}),
        *students,
        ("codebook", {"values": (16, 8, 4)}),
        ("channels", {"share": (0.75, 0.5, 0.35, 0.25), "weights": (4,)}),
    ]
    return tuple(found for technique, settings in steps for found in expand(technique, settings, layers))


def _shown(name: str, value: Value) -> str:
    if value is True:
        return {"equalize": "equalised", "correct_bias": "bias corrected"}[name]
    if name == "change":
        return f"changed {value}"
    if isinstance(value, str):
        return value
    if name == "share":
        return f"{100 * float(value):g} % of MACs"
    if name == "width":
        return f"{100 * float(value):g} % of width"
    if name == "weights":
        return f"int{value} weights"
    if name in ("temperature", "alpha", "learning_rate"):
        return f"{name.replace('_', ' ')} {value:g}"
    return f"{value:g} {name.replace('_', ' ')}"
