"""The operators, found by themselves: every module here that is not a helper defines one `SPEC`."""

from __future__ import annotations

import importlib
import pkgutil
from types import MappingProxyType

from tinygen.ops.spec import OpSpec

_HELPERS = {"spec", "checks", "window", "weighted", "lookup", "elementwise", "movement", "reduction", "fixed_point"}


_summaries: dict[str, str] = {}


def _load() -> dict[str, OpSpec]:
    found: dict[str, OpSpec] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        if module in _HELPERS:
            continue
        loaded = importlib.import_module(f"{__name__}.{module}")
        spec: OpSpec = loaded.SPEC
        _summaries[spec.name] = (loaded.__doc__ or "").strip().splitlines()[0].partition(": ")[2]
        if spec.name != module:
            raise ImportError(f"operator {spec.name} must be defined in ops/{spec.name}.py, not in ops/{module}.py")
        found[spec.name] = spec
    return found


SPECS = MappingProxyType(_load())
"""Operator name -> its record."""

BY_TFLITE = MappingProxyType({spec.tflite: spec for spec in SPECS.values()})
"""Name in the file format -> its record."""


def summary(name: str) -> str:
    """What the operator `name` computes, in a sentence."""
    return _summaries[name]
