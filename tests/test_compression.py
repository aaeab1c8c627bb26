"""What a model's zeros and repeated values bring is told: by compile for its board, by inspect what might be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.compressed import compiled, few_values, pairs_of_zeros
from tests.modelbuilder import ModelBuilder
from tests.test_cli import as_json, tinygen
from tests.test_pointwise_dsp import pointwise
from tinygen import compression, target
from tinygen.budget import model_code_bytes, weigh
from tinygen.footprint.measure import measure
from tinygen.ir import Array
from tinygen.ops import pointwise_chain_dsp
from tinygen.variants import Optimize

SHAPE = 64, 1, 1, 64


def model(*weights: Array) -> ModelBuilder:
    """A 1x1 convolution of each."""
    build = ModelBuilder()
    for one in weights:
        pointwise(build, (1, 4, 4, 64), 64, weights=one)
    return build


def told(build: ModelBuilder, board: str = "nucleo_l4r5zi", goal: Optimize = Optimize.SPEED) -> list[str]:
    """What compile says of the weights."""
    found = compression.summary(compression.layers(compiled(build, board, goal)))
    return [f"{what}: {text}" for what, text in found]


def some_weights(seed: int, shape: tuple[int, ...] = SHAPE) -> Array:
    """As they are without pruning: two in 255 are zero."""
    return np.random.default_rng(seed).integers(-127, 128, shape)


def test_zeros_that_are_left_out() -> None:
    zeros = pairs_of_zeros(ModelBuilder(), SHAPE, 0.5)
    (line,) = told(model(zeros, some_weights(1)))
    assert line.startswith("zeros: 4") or line.startswith("zeros: 5")
    assert line.endswith(" % of the weights of 1 layer, all of them left out")


@pytest.mark.parametrize("board", ["nucleo_l4r5zi", "pico"])
def test_zeros_that_bring_nothing(board: str) -> None:
    scattered = some_weights(2) * (np.random.default_rng(3).random(SHAPE) < 0.5)
    (line,) = told(model(scattered), board)
    why = "bring nothing: too few, or not in the blocks that kernels for this core skip (docs/compression.md)"
    assert line.endswith(f"% of the weights of 1 layer: they {why}")


def test_some_of_both() -> None:
    scattered = some_weights(2) * (np.random.default_rng(3).random(SHAPE) < 0.5)
    (line,) = told(model(scattered, pairs_of_zeros(ModelBuilder(), SHAPE, 0.5)))
    assert "% of the weights of 2 layers: left out in 1; those of the others bring nothing" in line


def test_few_values() -> None:
    build = model(few_values(ModelBuilder(), SHAPE, 8), some_weights(1))
    (line,) = told(build)
    saved = 64 * 64 * 5 // 8 - 8
    assert line.startswith("few values: the weights of 1 layer take 16 values at most: --optimize compact or flash")
    assert line.endswith(f"stores them in about {saved:,} bytes less")
    (line,) = told(build, goal=Optimize.COMPACT)
    assert line.endswith(f"at most; 1 stored in 3 bits each, {saved:,} bytes less")


def test_nothing_to_tell() -> None:
    assert told(model(some_weights(1))) == []


def test_commands(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(model(pairs_of_zeros(ModelBuilder(), SHAPE, 0.5)).finish())
    text = " ".join(tinygen("inspect", path).stdout.split())
    assert "`tinygen compile --board` tells whether a kernel leaves them out" in text
    (layer,) = as_json("inspect", path)["weights"]
    assert layer["weights"] == 64 * 64 and 0.4 < layer["zeros"] / layer["weights"] < 0.6
    options = ("--board", "nucleo_l4r5zi", "--format", "c", "--output", tmp_path / "out")
    text = " ".join(tinygen("compile", path, *options, "--optimize", "compact").stdout.split())
    assert "all of them left out" in text and "weights of few values in fewer bits" in text


def test_verify_and_profile_with_the_kernels_that_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(model(few_values(ModelBuilder(), SHAPE, 8)).finish())
    board = ("--board", "nucleo_l4r5zi")
    verdict = as_json("verify", path, *board, "--emulate", "--samples", "1", "--optimize", "compact")
    assert verdict["difference"] is None
    for goal, kernel in (("speed", "conv_2d.pointwise.chain.dsp"), ("compact", "conv_2d.pointwise.packed.dsp")):
        assert [layer["kernel"] for layer in as_json("profile", path, *board, "--optimize", goal)["layers"]] == [kernel]


def test_the_function_behind_a_packed_kernel_is_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise_chain_dsp, "LEAST_INPUTS", 1 << 30)
    build, board = model(few_values(ModelBuilder(), SHAPE, 8)), target.load("nucleo_l4r5zi")
    packed, plain = (compiled(build, board.name, goal) for goal in (Optimize.COMPACT, Optimize.SPEED))
    sizes = [model_code_bytes(result, measure(result, board)) for result in (packed, plain)]
    assert sizes[0] > sizes[1]
    assert weigh(packed, board, measure(packed, board)).layers[0].code_bytes > sizes[1] // 2
