"""The operators, found by themselves: every module here that defines a `SPEC` is one."""

from __future__ import annotations

import importlib
import pkgutil
from types import MappingProxyType

from tinygen.ops.spec import OpSpec

_summaries: dict[str, str] = {}


def _load() -> dict[str, OpSpec]:
    found: dict[str, OpSpec] = {}
    for name in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        module = importlib.import_module(f"{__name__}.{name}")
        spec: OpSpec | None = getattr(module, "SPEC", None)
        if spec is None:
            continue
        if spec.name != name:
            raise ImportError(f"operator {spec.name} must be defined in ops/{spec.name}.py, not in ops/{name}.py")
        found[name] = spec
        _summaries[name] = (module.__doc__ or "").strip().splitlines()[0].partition(": ")[2]
    return found


SPECS = MappingProxyType(_load())
"""Operator name -> its record."""

BY_TFLITE = MappingProxyType({spec.tflite: spec for spec in SPECS.values()})
"""Name in the file format -> its record."""


def summary(name: str) -> str:
    """What the operator `name` computes, in a sentence."""
    return _summaries[name]
