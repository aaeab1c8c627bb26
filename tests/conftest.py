from __future__ import annotations

from collections.abc import Iterator

import pytest

from tinygen import leaner
from tinygen.verify.golden import Golden


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long campaigns too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long campaigns out unless they are asked for."""
    if config.getoption("--long"):
        return
    short = [item for item in items if not item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
    items[:] = short


@pytest.fixture(scope="session")
def golden() -> Iterator[Golden]:
    """The reference interpreter, in its own process."""
    with Golden() as worker:
        yield worker


@pytest.fixture
def every_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels stay where their functions save less than their bytes are worth."""
    monkeypatch.setattr(leaner, "CYCLES_A_BYTE", 0)
