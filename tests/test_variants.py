"""Kernels are chosen for speed, RAM or flash: each choice is exact, and saves what it says."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.branchy_models import rows_network
from tests.modelbuilder import ModelBuilder
from tests.random_models import random_model
from tests.small_models import convolution
from tinygen import cli, reference, target
from tinygen.driver import Compiled, Model, compile_model, load
from tinygen.footprint.measure import measure
from tinygen.frontend import tflite
from tinygen.quant import Numerics
from tinygen.target import Region
from tinygen.variants import Optimize
from tinygen.verify.host import HostModel
from tinygen.verify.samples import random_samples


def three_convolutions() -> bytes:
    """Of the same size, so that the scratch of any is part of the peak."""
    build = ModelBuilder(np.random.default_rng(0))
    x = build.input((1, 24, 24, 4), "int8", 0.02, 4)
    for _ in range(3):
        x = convolution(build, x)
    return build.finish()


def compiled(data: bytes, optimize: Optimize, board: str = "nucleo_l4r5zi") -> Compiled:
    return compile_model(Model("net", data, tflite.read(data, "net")), target.load(board), "net", optimize=optimize)


@pytest.mark.parametrize("board", ["nucleo_l4r5zi", "pico", "mps3-an547"])
def test_each_goal_saves_what_it_is_for(board: str) -> None:
    made = {goal.value: compiled(three_convolutions(), goal, board) for goal in Optimize}
    speed, compact, ram, flash = (made[name] for name in ("speed", "compact", "ram", "flash"))
    assert made["least-ram"].plan.arena_bytes <= ram.plan.arena_bytes <= speed.plan.arena_bytes
    assert {call.function.split("_s8")[0] for call in flash.program.calls} == {"tg_conv_2d"}
    assert flash.manifest["constant_bytes"] <= min(speed.manifest["constant_bytes"], ram.manifest["constant_bytes"])
    assert compact.program.calls == speed.program.calls, "there is nothing to be stored in fewer bits"
    assert [result.manifest["optimize"] for result in made.values()] == list(made)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("optimize", [Optimize.RAM, Optimize.FLASH])
def test_every_choice_is_exact(optimize: Optimize, seed: int, tmp_path: Path) -> None:
    result = compiled(random_model(seed), optimize)
    least = compiled(random_model(seed), Optimize.FLASH).plan.arena_bytes
    assert optimize is Optimize.FLASH or result.plan.arena_bytes <= least
    host = HostModel(result, tmp_path)
    for sample in random_samples(result.graph, 4):
        expected = reference.run(result.graph, sample, Numerics.TFLITE)
        found = host.run(sample)[1]
        for tensor, value in zip(result.graph.outputs, found, strict=True):
            np.testing.assert_array_equal(value, expected[tensor])


def test_compile_takes_what_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A board with RAM for the frugal plan only gets that, unless the fast one was asked for."""
    (tmp_path / "net.tflite").write_bytes(rows_network(0))
    place, model = target.load("nucleo_l4r5zi"), load(tmp_path / "net.tflite")
    fast, frugal = (
        measure(compile_model(model, place, form="cmake", optimize=goal), place).ram_bytes
        for goal in (Optimize.SPEED, Optimize.RAM)
    )
    tight = replace(place, ram=(Region("ram", 0x20000000, (fast + frugal) // 2),))
    monkeypatch.setattr(target, "load", lambda name: tight)

    def compile_json(*options: str) -> tuple[int, dict[str, object]]:
        arguments = ["compile", str(tmp_path / "net.tflite"), "--board", "x", "--format", "cmake", "--json"]
        monkeypatch.setattr(sys, "argv", ["tinygen", *arguments, "--output", str(tmp_path / "out"), *options])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, json.loads(capsys.readouterr().out)

    code, facts = compile_json()
    assert code == 0, facts
    assert code == 0 and facts["optimize"] == "ram"
    code, facts = compile_json("--optimize", "speed")
    assert code == 1 and facts["fits"] is False
