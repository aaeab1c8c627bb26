"""What fits a board and what does not, and what is said then."""

from __future__ import annotations

import numpy as np

from tests.modelbuilder import ModelBuilder
from tests.small_models import two_convolutions
from tinygen import target
from tinygen.budget import Budget, weigh
from tinygen.driver import Model, compile_model
from tinygen.frontend import tflite


def budget(data: bytes, board: str) -> Budget:
    """The budget of a model on a board."""
    place = target.load(board)
    return weigh(compile_model(Model("net.tflite", data, tflite.read(data, "net.tflite")), place), place)


def dense(units: int) -> bytes:
    """One dense layer of 300 inputs."""
    build = ModelBuilder(np.random.default_rng(0))
    x, y = build.input((1, 300), "int8", 0.02, 0), build.tensor((1, units), "int8", 0.5, 0)
    weights = build.constant(build.rng.integers(-127, 128, (units, 300)), "int8", 0.01, 0)
    build.op("FULLY_CONNECTED", [x, weights, None], [y], "FullyConnected")
    return build.finish()


def test_a_small_model_fits() -> None:
    found = budget(two_convolutions(), "uno")
    assert found.fits and found.remedies == ()
    assert found.need.arena_bytes == 210 and found.ram_bytes == 2048 and found.flash_bytes == 32256


def test_too_much_flash() -> None:
    found = budget(dense(250), "bluepill_f103c8")
    assert not found.fits and found.need.constant_bytes == 75_000
    assert found.layers[0].name == "layer 0, operator 0 FULLY_CONNECTED" and found.layers[0].bytes == 75_000
    assert found.remedies[0].startswith("fewer or narrower layers") and len(found.remedies) == 2


def test_an_avr_reaches_no_more_than_its_addresses() -> None:
    """256 kB of program memory, of which constants may take what 16-bit addresses reach."""
    found = budget(dense(250), "megaatmega2560")
    assert target.load("megaatmega2560").largest_flash_bytes > 200_000
    assert not found.fits and found.flash_bytes == 2**16 - 1024
