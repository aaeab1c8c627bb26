"""The layers of the package: imports point down only, and only where files may be written or processes started."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tinygen
from tinygen import ops

PACKAGE = Path(tinygen.__file__).parent
LAYERS = (
    ("__init__",),
    ("errors", "interrupts", "resources"),
    ("ir",),
    ("quant", "target"),
    ("requantize",),
    ("scaled_line",),
    ("ops",),
    ("frontend",),
    ("quantize",),
    ("passes",),
    ("memory", "reference"),
    ("variants",),
    ("leaner",),
    ("planning",),
    ("stages",),
    ("patching",),
    ("stepping",),
    ("program",),
    ("lower", "selftest"),
    ("emit",),
    ("project",),
    ("regions", "ram_weights"),
    ("driver",),
    ("arena", "compression", "footprint"),
    ("budget",),
    ("limits",),
    ("inspection", "selection", "verify"),
    ("run",),
    ("profile",),
    ("report",),
    ("optimize",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def _module(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(tree: ast.AST) -> list[tuple[str, int]]:
    """(part of the package that is imported, line)."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tinygen":
            parts = node.module.split(".")[1:]
            found += [(part, node.lineno) for part in (parts[:1] or [alias.name for alias in node.names])]
        elif isinstance(node, ast.Import):
            found += [(a.name.split(".")[1], node.lineno) for a in node.names if a.name.startswith("tinygen.")]
    return [(name if name in LEVEL else "__init__", line) for name, line in found]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    mine = _module(path)
    for name, line in _imports(ast.parse(path.read_text("utf-8"))):
        allowed = LEVEL[name] < LEVEL[mine] or name == mine or (name == "__init__")
        assert allowed, f"{path.name}:{line}: {mine} imports {name}, which is not below it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_opens_with_one_sentence(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring, path
    assert docstring.splitlines()[0].endswith((".", ":")), docstring.splitlines()[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_some_parts_touch_the_world(path: Path) -> None:
    text = path.read_text("utf-8")
    module = _module(path)
    if module not in ("quantize", "footprint", "verify", "run", "profile"):
        assert "subprocess" not in text and "multiprocessing" not in text, f"{path}: starts processes"
    if module not in ("project", "quantize", "optimize", "footprint", "verify", "run", "profile"):
        assert "write_text" not in text and "write_bytes" not in text, f"{path}: writes files"


def test_operators_have_one_test_each() -> None:
    tests = {path.stem.removeprefix("test_") for path in (Path(__file__).parent / "ops").glob("test_*.py")}
    assert tests == set(ops.SPECS)
