"""Layers with activations of 16 bits by rows: exact, on the host and on boards, and no byte is read too late."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.tagged_arena import TaggedModel
from tests.test_over_time import check
from tests.test_streaming import compiled
from tests.wide_networks import network
from tinygen import target
from tinygen.variants import Optimize
from tinygen.verify.board import emulate
from tinygen.verify.host import HostModel
from tinygen.verify.samples import random_samples

SHAPES = ((11, 7), (1, 23))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("board", "feed"), [(None, 1), ("nucleo_l4r5zi", 0), ("pico", 1)])
def test_rows_on_the_host(board: str | None, feed: int, shape: tuple[int, int], tmp_path: Path) -> None:
    result = compiled(network(len(board or ""), shape), board, Optimize.LEAST_RAM if feed else Optimize.RAM, feed)
    assert result.plan.runs
    check(result, HostModel(result, tmp_path))
    [sample] = random_samples(result.graph, 1, 0)
    assert not TaggedModel(result, tmp_path / "tagged").run(sample)[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("board", ["nucleo_l4r5zi", "mps3-an547"])
def test_rows_on_a_board(board: str, shape: tuple[int, int], tmp_path: Path) -> None:
    result = compiled(network(3, shape), board, Optimize.RAM, 1)
    assert result.plan.runs
    check(result, emulate(result, target.load(board), tmp_path), 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_need_less(shape: tuple[int, int]) -> None:
    """Each layer keeps a few rows; one that is fed not even its input."""
    whole, rows = (compiled(network(5, shape), None, goal).plan for goal in (Optimize.SPEED, Optimize.LEAST_RAM))
    fed = compiled(network(5, shape), None, Optimize.LEAST_RAM, 1).plan
    assert fed.arena_bytes < rows.arena_bytes < 0.7 * whole.arena_bytes


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_warnings(compiler: str, tmp_path: Path) -> None:
    result = compiled(network(3, SHAPES[0]), "nucleo_l4r5zi", Optimize.RAM, 1)
    result.write(tmp_path / "net")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror", "-O2", "-c"]
    command = [compiler, *flags, "-Iinclude", "-Isrc", "src/net.c", "-o", "net.o"]
    done = subprocess.run(command, cwd=tmp_path / "net", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
