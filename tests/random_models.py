"""Small models at random over all operators: each test module's `emit` adds one operator to a growing graph."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType

import numpy as np

import tests.ops
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import Emit


@functools.cache
def _modules() -> dict[str, ModuleType]:
    names = sorted(info.name for info in pkgutil.iter_modules(tests.ops.__path__))
    return {name.removeprefix("test_"): importlib.import_module(f"tests.ops.{name}") for name in names}


def emitters() -> dict[str, Emit]:
    """Operator name -> what adds a random instance of it."""
    return {name: module.emit for name, module in _modules().items() if hasattr(module, "emit")}


def interpreted() -> dict[str, Emit]:
    """Those of `emitters` that the reference interpreter can run."""
    return {name: emit for name, emit in emitters().items() if getattr(_modules()[name], "HAS_REFERENCE", True)}


def random_model(seed: int, most_nodes: int = 12) -> bytes:
    """A graph of 1 to `most_nodes` operators, with branches, several inputs and several outputs."""
    build = ModelBuilder(np.random.default_rng(seed))
    build.random_input(build.random_shape(4 if build.chance(0.8) else int(build.rng.integers(1, 5))))
    found = list(interpreted().values())
    wanted = int(build.rng.integers(1, most_nodes + 1))
    for _ in range(100 * wanted):
        if len(build.operators) >= wanted:
            break
        build.pick(found)(build, _source(build))
    return build.finish()


def _source(build: ModelBuilder) -> Value:
    """An activation to go on from: mostly one of the latest, so that graphs grow deep."""
    recent = build.pool[-3:] if build.chance(0.7) else build.pool
    chosen: Value = build.pick(recent)
    return chosen
