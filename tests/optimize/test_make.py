"""Every technique, made of a small Keras model: a model that compiles, is bit-exact, and costs what was foretold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tinygen import driver
from tinygen.errors import QuantizeError
from tinygen.frontend import tflite
from tinygen.optimize import make
from tinygen.optimize.candidate import candidate
from tinygen.optimize.limits import Limits
from tinygen.optimize.model_file import read_model
from tinygen.optimize.task import Problem
from tinygen.optimize.technique import TECHNIQUES
from tinygen.quantize.data import CALIBRATION, TRAINING, VALIDATION, Data
from tinygen.quantize.evaluate import score_tflite
from tinygen.verify.compare import verify
from tinygen.verify.samples import random_samples

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    """An untrained model, and some digits."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(8, 3, activation="relu", name="conv1"),
        keras.layers.Conv2D(16, 3, activation="relu", name="conv2"),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax", name="classifier"),
    ]
    path = tmp_path_factory.mktemp("make") / "m.keras"
    keras.Sequential(layers).save(path)
    digits = load_digits()
    x, y = (digits.images[..., np.newaxis] / 16).astype(np.float32), digits.target.astype(np.int64)
    parts = {TRAINING: slice(0, 200), CALIBRATION: slice(200, 250), VALIDATION: slice(250, 350)}
    sets = {role: Data(x[part], y[part], role) for role, part in parts.items()}
    return Problem(read_model(path), sets, Limits())


def made(problem: Problem, name: str, trained: bool = True, told: list[Any] | None = None, **settings: Any) -> bytes:
    """What a technique makes, trained for an epoch if at all."""
    epochs: dict[str, Any] = {"epochs": 1} if "epochs" in TECHNIQUES[name].settings else {}
    progress = [] if told is None else told
    which = candidate(name, **epochs, **settings)
    return make.make(problem, which, trained, lambda done, total: progress.append((done, total)))


def test_every_technique_can_be_made() -> None:
    assert set(make._MAKERS) == {name for name, technique in TECHNIQUES.items() if not technique.picks}


@pytest.mark.parametrize("name", make._MAKERS)
def test_what_is_made_is_bit_exact_and_as_large_as_foretold(name: str, problem: Problem, tmp_path: Path) -> None:
    told: list[Any] = []
    path = tmp_path / "m.tflite"
    path.write_bytes(made(problem, name, told=told))
    compiled = driver.compile_model(driver.load(path))
    assert verify(compiled, random_samples(compiled.model.graph, 3)).difference is None
    assert score_tflite(path.read_bytes(), problem.sets[VALIDATION]).total == 100
    if TECHNIQUES[name].trains:
        assert told == [(1, 1)]
        path.write_bytes(made(problem, name, trained=False))
        foretold = driver.compile_model(driver.load(path)).manifest
        assert foretold["arena_bytes"] == compiled.manifest["arena_bytes"]
        assert foretold["constant_bytes"] == pytest.approx(compiled.manifest["constant_bytes"], rel=0.02)


@pytest.mark.parametrize("name", ["distill", "narrow"])
def test_changed_samples_and_more_teachers_add_trainings_but_no_steps(name: str, problem: Problem) -> None:
    told: list[Any] = []
    more = {"teachers": 2} if name == "distill" else {}
    which = candidate(name, epochs=8, change="images", **more)
    make.make(problem, which, True, lambda done, total: told.append((done, total)))
    assert told == ([(1, 2), (16, 16)] if name == "distill" else [(1, 1)])  # an epoch of 8 times as many samples


def test_layers_keep_their_own_widths(problem: Problem) -> None:
    which = candidate("int8", (("conv*", (("weights", 4),)), ("conv1", (("weights", 8),))))
    graph = tflite.read(make.make(problem, which, True, lambda done, total: None), "m")
    weights = [graph.tensors[node.inputs[1]].data for node in graph.nodes if len(node.inputs) == 3]
    assert [bool(np.abs(np.asarray(each)).max() <= 7) for each in weights] == [False, True, False]


def test_16_bits_for_the_layers_of_a_pattern(problem: Problem) -> None:
    graph = tflite.read(made(problem, "int16", only="conv2"), "m")
    assert [graph.tensors[node.inputs[0]].dtype for node in graph.nodes if len(node.inputs) == 3] == [
        "int8",
        "int16",
        "int8",
    ]


def test_a_model_that_keras_cannot_load(problem: Problem) -> None:
    broken = replace(problem, model=replace(problem.model, data=b"PK"))
    with pytest.raises(QuantizeError, match="Keras cannot load the model, found "):
        make.make(broken, candidate("int8"), True, lambda done, total: None)
