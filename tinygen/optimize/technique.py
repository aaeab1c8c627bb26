"""What can be tried to make a model fit: the techniques, with their settings and what each can save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tinygen.errors import RecipeError

FLASH, RAM, TIME, ACCURACY = "flash", "RAM", "time", "accuracy"
"""What a candidate can lack."""
Value = bool | int | float | str
WHOLE = "*"
"""The pattern of names that stands for the whole model."""


@dataclass(frozen=True)
class Setting:
    """One setting of a technique: what it is by default, and what it may be."""

    default: Value
    choices: tuple[Value, ...] = ()
    least: float | None = None
    most: float | None = None

    @property
    def expected(self) -> str:
        """What may be given, in words."""
        if self.choices:
            return " or ".join(map(str, self.choices))
        if isinstance(self.default, bool):
            return "true or false"
        if isinstance(self.default, str):
            return "a pattern of layer names"
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        return f"{kind} from {self.least:g} to {self.most:g}"

    def read(self, text: str, where: str) -> Value:
        """The value that `text` stands for; raises RecipeError."""
        value = self._value(text)
        if value is None or (self.choices and value not in self.choices) or not self._is_in_range(value):
            raise RecipeError("no such value", where=where, found=text, expected=self.expected)
        return value

    def _is_in_range(self, value: Value) -> bool:
        if self.least is None or self.most is None or isinstance(value, str):
            return True
        return self.least <= value <= self.most

    def _value(self, text: str) -> Value | None:
        """`text` as the kind of value that the default is; None when it is none such."""
        if isinstance(self.default, bool):
            return {"true": True, "false": False}.get(text.lower())
        if isinstance(self.default, str):
            return text
        try:
            return type(self.default)(text)
        except ValueError:
            return None


@dataclass(frozen=True)
class Technique:
    """A way to make a model smaller; `helps` says what it can save or win back, `trains` that it needs --train.

    `picks`: which layers it is for is found out by what they lose and cost, and may differ with the limits.
    """

    name: str
    title: str
    helps: frozenset[str]
    settings: Mapping[str, Setting]
    trains: bool = False
    takes_tflite: bool = False
    picks: bool = False


def _settings(**settings: Setting) -> Mapping[str, Setting]:
    return MappingProxyType(settings)


def activations_of(only: str) -> int | dict[str, int]:
    """16 bits for the whole model, or only for the layers whose name matches."""
    return 16 if only == WHOLE else {only: 16}


_METHOD = Setting("minmax", choices=("minmax", "percentile", "mse", "entropy"))
_SWITCH = Setting(False)
_ONLY = Setting(WHOLE)
_WEIGHTS = Setting(8, choices=(8, 4))
NO_CHANGE, IMAGES, SERIES = "none", "images", "series"
_CHANGE = Setting(NO_CHANGE, choices=(NO_CHANGE, IMAGES, SERIES))
_COSTS = frozenset({FLASH, RAM, TIME})


def _epochs(count: int) -> Setting:
    return Setting(count, least=1, most=10_000)


def _rate(rate: float) -> Setting:
    return Setting(rate, least=1e-7, most=1.0)


_ALL = (
    Technique(
        "int8",
        "int8",
        frozenset({ACCURACY}),
        _settings(method=_METHOD, equalize=_SWITCH, correct_bias=_SWITCH),
        takes_tflite=True,
    ),
    Technique(
        "int16_layers",
        "int16 activations where needed",
        frozenset({ACCURACY}),
        _settings(method=_METHOD),
        takes_tflite=True,
        picks=True,
    ),
    Technique(
        "int16",
        "int16 activations",
        frozenset({ACCURACY}),
        _settings(only=_ONLY, method=_METHOD),
        takes_tflite=True,
    ),
    Technique(
        "int8_qat",
        "int8 QAT",
        frozenset({ACCURACY}),
        _settings(epochs=_epochs(20), learning_rate=_rate(1e-3)),
        trains=True,
    ),
    Technique(
        "int4",
        "int4 weights",
        frozenset({FLASH}),
        _settings(method=_METHOD, equalize=_SWITCH, correct_bias=_SWITCH),
        takes_tflite=True,
    ),
    Technique(
        "int4_qat",
        "int4 weights, QAT",
        frozenset({FLASH, ACCURACY}),
        _settings(epochs=_epochs(20), learning_rate=_rate(1e-3)),
        trains=True,
    ),
    Technique(
        "channels",
        "channels pruned",
        _COSTS,
        _settings(
            share=Setting(0.5, least=0.01, most=1.0),
            epochs=_epochs(30),
            learning_rate=_rate(1e-3),
            weights=_WEIGHTS,
        ),
        trains=True,
    ),
    Technique(
        "distill",
        "distilled student",
        _COSTS,
        _settings(
            width=Setting(0.5, least=0.01, most=1.0),
            epochs=_epochs(60),
            learning_rate=_rate(3e-3),
            temperature=Setting(4.0, least=0.1, most=100.0),
            alpha=Setting(0.7, least=0.0, most=1.0),
            teachers=Setting(1, least=1, most=16),
            change=_CHANGE,
            weights=_WEIGHTS,
        ),
        trains=True,
    ),
    Technique(
        "narrow",
        "narrower network",
        _COSTS,
        _settings(
            width=Setting(0.5, least=0.01, most=1.0),
            epochs=_epochs(60),
            learning_rate=_rate(3e-3),
            change=_CHANGE,
            weights=_WEIGHTS,
        ),
        trains=True,
    ),
    Technique(
        "codebook",
        "codebook weights",
        frozenset({FLASH, ACCURACY}),
        _settings(
            values=Setting(16, choices=(16, 8, 4)),
            epochs=_epochs(20),
            learning_rate=_rate(1e-3),
        ),
        trains=True,
    ),
)
TECHNIQUES: Mapping[str, Technique] = MappingProxyType({technique.name: technique for technique in _ALL})
