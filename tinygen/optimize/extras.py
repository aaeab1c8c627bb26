"""Loads what only `tinygen optimize` needs when it is needed: TensorFlow and its kin are large, and not always there.

This is the one place that imports late: `tinygen compile` must neither wait for these packages nor need them, and wrong
data must be told before TensorFlow has been waited for.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from tinygen.errors import ToolError


def load(module: str) -> ModuleType:
    """The module of that name; ToolError when a package that it needs is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).split(".")[0]
        if package == __package__.split(".")[0]:
            raise
        raise ToolError(f"{package} is not installed", remedy="pip install 'tinygen[train]'") from None
