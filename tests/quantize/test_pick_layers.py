"""The layers that need 16 bits: of a network with one tensor of a huge range, and how the choice is made."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.quantize.exact import assert_bit_exact
from tests.quantize.networks import outlying
from tinygen.errors import QuantizeError
from tinygen.quantize import pick_layers as module
from tinygen.quantize.data import Data
from tinygen.quantize.evaluate import Score, outputs_keras
from tinygen.quantize.integer import Settings
from tinygen.quantize.pick_layers import Picked, pick_layers
from tinygen.quantize.quantize import prepare_keras, quantize
from tinygen.verify.golden import Golden

NEEDED = ("loud", "soft", "reader")


def picked(least_correct: int, progress: Callable[[int, int], None] | None = None) -> Picked:
    model, calibration, validation, _ = outlying()
    answers = outputs_keras(model, validation.x)
    prepared = prepare_keras(model, calibration.x, Settings())
    return pick_layers(prepared, validation, answers, least_correct, progress=progress)


def test_the_layers_around_one_tensor_of_a_huge_range(golden: Golden) -> None:
    told: list[tuple[int, int]] = []
    found = picked(196, lambda done, total: told.append((done, total)))
    assert found.layers == NEEDED and found.score.correct >= 196
    model, calibration, _, _ = outlying()
    assert found.model == quantize(model, calibration.x, activations=dict.fromkeys(NEEDED, 16))
    assert_bit_exact(found.model, golden)
    assert [done for done, _ in told] == list(range(1, len(told) + 1)) and all(done < total for done, total in told)


def test_none_when_8_bits_suffice() -> None:
    model, calibration, _, _ = outlying()
    found = picked(20)
    assert (found.layers, found.model) == ((), quantize(model, calibration.x))


def test_when_16_bits_do_not_suffice_either() -> None:
    with pytest.raises(QuantizeError, match=r"in all layers do not suffice, found .* of 200 right, expected 201"):
        picked(201)


LAYERS = tuple("abcdefgh")
LOSSES = {"b": 9.0, "d": 7.0, "e": 8.0, "f": 1.0}


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[str]]:
    """Stands in for models and their scores: b is needed, and d or e; what was scored is noted."""
    asked: list[frozenset[str]] = []

    def score(self: Any, layers: Collection[str]) -> Score:
        asked.append(frozenset(layers))
        return Score(100 if "b" in layers and {"d", "e"} & set(layers) else 40, 100)

    def loss(self: Any, layers: Collection[str]) -> float:
        (left_out,) = set(LAYERS) - set(layers)
        return LOSSES.get(left_out, 0.5)

    monkeypatch.setattr(module._Trials, "score", score)
    monkeypatch.setattr(module._Trials, "loss", loss)
    return asked


def chosen(price: Callable[[bytes], Any] | None = None) -> tuple[str, ...]:
    stand_in: Any = SimpleNamespace(layers=LAYERS, integer=lambda activations: "".join(activations).encode())
    data, answers = Data(np.zeros((1, 1)), np.zeros(1, int)), np.zeros((1, 2))
    return pick_layers(stand_in, data, answers, 95, price=price).layers


def test_few_models_are_tried(trials: list[frozenset[str]]) -> None:
    assert chosen() == ("b", "e")
    assert len(set(trials)) <= 8, "none, all, three by bisection, one for each of two that might be spared"


@pytest.mark.parametrize(("dear", "kept"), [("d", ("b", "e")), ("e", ("b", "d"))])
def test_of_two_that_serve_the_dearer_is_given_up(
    dear: str, kept: tuple[str, ...], trials: list[frozenset[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOSSES, "b", 0.9)  # it then comes after d and e, and all three are taken first
    assert chosen(lambda model: (dear.encode() in model, len(model))) == kept


def test_the_real_values_of_outputs() -> None:
    model, calibration, _, _ = outlying()
    content = quantize(model, calibration.x)
    assert module.real_outputs(content, np.array([[-128, 127]], np.int8)) == pytest.approx(np.array([[0, 255 / 256]]))
