"""What is said of the arena, and the limits that a user sets: kept with the kernels that it takes, or refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.branchy_models import convolution, unary
from tests.modelbuilder import ModelBuilder
from tests.test_cli import as_json, complaint, tinygen
from tinygen import target
from tinygen.arena import Arena, arena
from tinygen.driver import Model, compile_model
from tinygen.frontend import tflite
from tinygen.limits import Attempt, Limits, Refusal, compile_within
from tinygen.quant import Numerics
from tinygen.variants import Optimize


def widening() -> Model:
    """The scratch of the fast kernel for the core with the DSP extension is part of the peak."""
    build = ModelBuilder(np.random.default_rng(0))
    x = convolution(build, build.input((1, 16, 16, 6), "int8", 0.05, -3), 16)
    convolution(build, unary(build, x), 4)
    data = build.finish()
    return Model("net.tflite", data, tflite.read(data, "net.tflite"))


def attempts(limits: Limits) -> list[Attempt]:
    board = target.load("nucleo_l4r5zi")
    return compile_within(widening(), board, None, Numerics.TFLITE, "cmake", [Optimize.SPEED, Optimize.RAM], limits)


def test_the_first_that_keeps_the_limits() -> None:
    [fast] = attempts(Limits())
    assert fast.fits and fast.goal is Optimize.SPEED
    assert fast.ram_bytes == fast.compiled.plan.arena_bytes
    assert fast.flash_bytes > fast.compiled.manifest["constant_bytes"], "the code of the layers too"
    [same] = attempts(Limits(fast.ram_bytes, fast.flash_bytes))
    assert same.fits
    missed, frugal = attempts(Limits(fast.ram_bytes - 1))
    assert not missed.fits and missed.over == {"RAM": (fast.ram_bytes, fast.ram_bytes - 1)}
    assert frugal.fits and frugal.ram_bytes < fast.ram_bytes


def test_the_best_is_said() -> None:
    fast, frugal = attempts(Limits(100, 10**6))
    assert not frugal.fits and frugal.over == {"RAM": (frugal.ram_bytes, 100)}
    lines = list(Refusal([fast, frugal]).lines())
    best, over = f"{frugal.ram_bytes:,}", f"{frugal.ram_bytes - 100:,}"
    assert lines[0] == f"RAM: the model takes {best} bytes at best (--optimize ram), {over} more than the limit of 100"
    assert any(line.startswith("fullest at operator") for line in lines)
    assert lines[-1] == f"  --optimize ram: {best} bytes of RAM, {frugal.flash_bytes:,} of flash"


def test_each_limit_alone_can_be_kept() -> None:
    """But not both at once: then there is no line for either."""
    [fast] = attempts(Limits())
    frugal = replace(fast, goal=Optimize.FLASH)
    refusal = Refusal([replace(fast, limits=Limits(fast.ram_bytes - 1)), replace(frugal, limits=Limits(None, 1))])
    assert not any(line.startswith(("RAM:", "flash:")) for line in refusal.lines())


@pytest.mark.parametrize("board", [None, "nucleo_l4r5zi"])
def test_the_command(board: str | None, tmp_path: Path) -> None:
    model, out = tmp_path / "net.tflite", tmp_path / "out"
    model.write_bytes(widening().data)
    options = ["--output", str(out), *(["--board", board, "--format", "cmake"] if board else [])]
    facts = as_json("compile", model, *options, "--max-ram", "64K", "--max-flash", "1M")
    memory = facts["memory"]
    assert memory["bytes"] == facts["arena_bytes"] >= memory["least_bytes"] > 0
    assert memory["is_optimal"] == (memory["bytes"] == memory["least_bytes"])
    assert memory["peak_at"].startswith("operator") and memory["contents"]
    text = tinygen("compile", model, *options, "--max-ram", "100", code=1).stdout
    assert "the limits cannot be kept" in text and "more than the limit of 100" in text
    assert "fullest at operator" in text
    refused = as_json("compile", model, *options, "--max-flash", "100", "--optimize", "ram", code=1)
    assert refused["limits"] == {"ram_bytes": None, "flash_bytes": 100} and list(refused["achieved"]) == ["ram"]
    assert "not a memory size, found 'much'" in complaint("compile", model, *options, "--max-ram", "much")


def test_the_arena_in_words() -> None:
    compiled = compile_model(widening(), optimize=Optimize.FLASH)
    proved, fullest = arena(compiled.graph, compiled.plan).lines()
    assert proved == "proved: no plan of these kernels in this order is smaller"
    assert re.fullmatch(
        r"fullest at operator \d [A-Z0-9_]+: t\d+ \(4,096\), t\d+ \([\d,]+, [\d,]+ of them shared\)", fullest
    )
    loose = Arena(1100, 1000, "here", 1000, (), 1)
    assert next(loose.lines()) == "at most 10.0 % above what these kernels need in this order: 1,000 bytes"
    assert list(loose.lines())[-1] == "computed row by row: 1 layer"
