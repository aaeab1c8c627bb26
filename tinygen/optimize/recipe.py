"""A recipe, a YAML file of techniques and of layers with settings of their own, as a ladder of candidates.

techniques:                  # tried in this order; without it, those of the default ladder
  - int8
  - int4: {method: [minmax, mse]}          # a list: one candidate for each value
  - channels: {share: [0.5, 0.25], epochs: 40}
layers:                      # patterns of layer names; the last that matches counts
  "conv*": {weights: 4}
  classifier: {weights: 8}
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tinygen.errors import RecipeError, RecipeErrors
from tinygen.optimize.candidate import Candidate, LayerSettings, default_ladder, expand
from tinygen.optimize.extras import load
from tinygen.optimize.technique import TECHNIQUES, Setting, Value

LAYER_SETTINGS = {"weights": Setting(8, choices=(8, 4))}
_TECHNIQUES, _LAYERS = "techniques", "layers"


def read_recipe(path: Path, layer_names: Collection[str] | None = None) -> tuple[Candidate, ...]:
    """The ladder of the recipe; RecipeErrors lists all that is wrong, each with its line.

    Patterns must match some of the `layer_names`, where those are known.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "bytes that are no UTF-8"
        raise RecipeError("cannot read the recipe", where=str(path), found=reason) from None
    reading = _Reading(str(path))
    ladder = reading.ladder(_compose(text, str(path)), layer_names)
    if reading.problems:
        raise RecipeErrors([problem for _, problem in sorted(reading.problems, key=lambda told: told[0])])
    return ladder


def _compose(text: str, path: str) -> Any:
    """The root node of the YAML text, whose nodes know their lines; raises RecipeError."""
    yaml = load("yaml")
    try:
        return yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RecipeError(f"not YAML: {error.problem}", where=f"{path}:{line}") from None
    except yaml.YAMLError as error:
        raise RecipeError("not YAML", where=path, found=str(error).splitlines()[0]) from None


@dataclass
class _Reading:
    """One pass over a recipe's nodes, which collects what is wrong."""

    path: str
    problems: list[tuple[int, RecipeError]] = field(default_factory=list)

    def ladder(self, root: Any, layer_names: Collection[str] | None) -> tuple[Candidate, ...]:
        """The candidates in their order."""
        parts = dict(self._entries(root, "a mapping", {_TECHNIQUES, _LAYERS})) if root is not None else {}
        layers = self._layers(parts[_LAYERS], layer_names) if _LAYERS in parts else ()
        if _TECHNIQUES not in parts:
            return default_ladder(layers)
        items = self._items(parts[_TECHNIQUES])
        return tuple(dict.fromkeys(found for item in items for found in self._step(item, layers)))

    def _step(self, node: Any, layers: LayerSettings) -> list[Candidate]:
        """The candidates of one item: a technique's name, or the name with settings."""
        if node.id == "scalar":
            return expand(node.value, {}, layers) if self._is_known(node, TECHNIQUES, "technique") else []
        entries = list(self._entries(node, "a technique, or one with settings", set(TECHNIQUES), "technique"))
        if len(entries) != 1:
            if entries:
                self._wrong(node, "more than one technique in an item", expected="a dash before each")
            return []
        (name, values), schema = entries[0], TECHNIQUES[entries[0][0]].settings
        settings = self._entries(values, "settings", set(schema), f"setting of {name}")
        return expand(name, {key: self._values(value, schema[key]) for key, value in settings}, layers)

    def _layers(self, node: Any, layer_names: Collection[str] | None) -> LayerSettings:
        found = []
        for pattern, settings in self._entries(node, "patterns of layer names"):
            if layer_names is not None and not any(fnmatchcase(name, pattern) for name in layer_names):
                expected = "one of " + ", ".join(layer_names)
                self._wrong(settings, "no layer has such a name", found=pattern, expected=expected)
            entries = self._entries(settings, "settings", set(LAYER_SETTINGS), "setting of a layer")
            values = [(name, self._value(value, LAYER_SETTINGS[name])) for name, value in entries]
            found.append((pattern, tuple((name, value) for name, value in values if value is not None)))
        return tuple(found)

    def _items(self, node: Any) -> list[Any]:
        if node.id == "sequence" and node.value:
            return list(node.value)
        self._wrong(node, "techniques are a list", found=_kind(node), expected="- int8")
        return []

    def _entries(
        self, node: Any, what: str, known: Collection[str] = (), noun: str = "part"
    ) -> Iterator[tuple[str, Any]]:
        """(key, node of the value) of a mapping; keys that are not `known` are problems."""
        if node.id != "mapping":
            self._wrong(node, f"expected {what}", found=_kind(node))
            return
        seen: set[str] = set()
        for key, value in node.value:
            if key.id != "scalar":
                self._wrong(key, "a key is a word", found=_kind(key))
            elif key.value in seen:
                self._wrong(key, "given twice", found=key.value)
            elif not known or self._is_known(key, known, noun):
                seen.add(key.value)
                yield key.value, value

    def _values(self, node: Any, setting: Setting) -> Sequence[Value]:
        """One value, or each of a list; never none, so that a wrong one hides no other problem."""
        nodes = node.value if node.id == "sequence" and node.value else [node]
        found = [self._value(each, setting) for each in nodes]
        return [value for value in found if value is not None] or [setting.default]

    def _value(self, node: Any, setting: Setting) -> Value | None:
        if node.id != "scalar":
            self._wrong(node, "no such value", found=_kind(node), expected=setting.expected)
            return None
        try:
            return setting.read(node.value, self._where(node))
        except RecipeError as problem:
            self.problems.append((_line(node), problem))
            return None

    def _is_known(self, node: Any, known: Collection[str], noun: str) -> bool:
        if node.value in known:
            return True
        close = difflib.get_close_matches(node.value, known, 1)
        remedy = f"did you mean {close[0]}?" if close else ""
        self._wrong(node, f"unknown {noun}", found=node.value, expected=", ".join(sorted(known)), remedy=remedy)
        return False

    def _wrong(self, node: Any, what: str, **facts: str) -> None:
        self.problems.append((_line(node), RecipeError(what, where=self._where(node), **facts)))

    def _where(self, node: Any) -> str:
        return f"{self.path}:{_line(node)}"


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _kind(node: Any) -> str:
    if node.id == "scalar":
        return f"'{node.value}'" if node.value else "nothing"
    return {"sequence": "a list", "mapping": "a mapping"}[node.id] if node.value else "nothing"
