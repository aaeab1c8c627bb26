"""16 bits where they are needed, as the search meets it: layers named, cheaper than all of them, known again."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.optimize.fakes import cost, outcome, problem
from tests.quantize.networks import outlying
from tests.test_cli import tinygen
from tinygen import target
from tinygen.errors import ModelError, ToolError
from tinygen.optimize import pick, work
from tinygen.optimize.candidate import candidate, default_ladder
from tinygen.optimize.limits import Limits, least_correct
from tinygen.optimize.model_file import ModelFile, read_model
from tinygen.optimize.outcome import Cost, outcome_from_json
from tinygen.optimize.task import Problem, Task, made_facts
from tinygen.quantize.convert import convert
from tinygen.quantize.data import CALIBRATION, VALIDATION
from tinygen.quantize.evaluate import Score

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras
PICK = candidate("int16_layers")
NEEDED = ("loud", "soft", "reader")
BOARD = "nucleo_l4r5zi"


@pytest.fixture(scope="module")
def keras_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pick") / "outlying.keras"
    outlying().model.save(path)
    return path


def given(model: ModelFile, max_drop: float = 0.02) -> Problem:
    sets = {CALIBRATION: outlying().calibration, VALIDATION: outlying().validation}
    return Problem(model, sets, Limits(max_drop=max_drop))


def test_it_is_tried_before_16_bits_in_all_layers() -> None:
    techniques = [each.technique for each in default_ladder()]
    assert techniques.index("int16_layers") == techniques.index("int16") - 1 > techniques.index("int8")


def test_layers_are_picked_and_named(keras_path: Path) -> None:
    found = work.evaluate(Task(given(read_model(keras_path)), PICK))
    assert found.layers == NEEDED and found.title == "int16 activations where needed: loud, soft, reader"
    assert found.score and found.score.correct >= 196 and found.cost and found.note == ""
    assert outcome_from_json(PICK, json.loads(json.dumps(found.as_json())), found.model) == found


def test_the_same_without_tensorflow(keras_path: Path) -> None:
    data = convert(outlying().model)
    found = work.evaluate(Task(given(ModelFile("m.tflite", "tflite", data, (8, 8, 1), 4, ())), PICK))
    assert found.layers == NEEDED and found.score and found.score.correct >= 196


def test_where_8_bits_suffice_nothing_is_made_of_it(keras_path: Path) -> None:
    found = work.evaluate(Task(given(read_model(keras_path), max_drop=0.9), PICK))
    assert (found.note, found.score, found.layers) == ("left out: 8 bits suffice in all layers", None, ())


def test_what_is_picked_rests_on_the_limits_and_the_board() -> None:
    base = problem()
    others = [replace(base, limits=replace(base.limits, **change)) for change in _CHANGES]
    assert len({json.dumps(made_facts(each, PICK)) for each in (base, *others)}) == 1 + len(others)
    assert len({json.dumps(made_facts(each, candidate("int16"))) for each in (base, *others)}) == 1


_CHANGES: tuple[dict[str, Any], ...] = ({"max_drop": 0.5}, {"board": target.load("uno")}, {"milliseconds": 3.0})


def test_a_layer_is_dear_by_what_is_short_then_by_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def priced(found: Cost | Exception) -> tuple[float, ...]:
        def answer(model: bytes, limits: Limits) -> Cost:
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(pick, "cost", answer)
        return pick.price(b"", Limits())

    small, slow, large = cost(1000, 500, 9.0), cost(900, 400, 9.5), cost(100_000, 300, 1.0)
    prices = [priced(each) for each in (small, slow, large, ModelError("not taken"))]
    assert prices == sorted(prices) and prices[-1] == (math.inf,)
    with pytest.raises(ToolError):
        priced(ToolError("no compiler"))


@pytest.mark.parametrize(("share", "least"), [(0.0, 97), (0.01, 96), (0.019, 96), (0.02, 95), (1.0, -3)])
def test_how_many_have_to_be_right(share: float, least: int) -> None:
    assert least_correct(Score(97, 100), Limits(max_drop=share)) == least


def test_many_layers_are_told_in_a_line() -> None:
    base = outcome(PICK, 95, 1000)
    five, nine = (replace(base, layers=tuple("abcdefghi"[:count])).title for count in (5, 9))
    assert five == "int16 activations where needed: a, b, c, d, e"
    assert nine == "int16 activations where needed: a, b, c, d, 5 more"


def test_the_command_picks_them_and_all_costs_more(keras_path: Path, tmp_path: Path) -> None:
    """Then what it wrote is exact on the emulated board, and a second run knows what was picked."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text("techniques: [int8, int16_layers, int16]")
    options = []
    for option, data in zip(("--calib", "--val", "--test"), outlying()[1:], strict=True):
        np.savez(tmp_path / f"{option}.npz", x=data.x, y=data.y)
        options += [option, tmp_path / f"{option}.npz"]
    out = tmp_path / "out"
    command = ["optimize", keras_path, *options, "--board", BOARD, "--recipe", recipe, "--output", out]
    report = json.loads(tinygen(*command, "--all", "--json").stdout)
    first, second, third = report["candidates"]
    assert [each["state"] for each in report["candidates"]] == ["lacks", "chosen", "fits"]
    assert second["layers"] == list(NEEDED) and "layers" not in third
    for what in ("milliseconds", "ram_bytes"):
        assert first["cost"][what] < second["cost"][what] < third["cost"][what], what
    tinygen("verify", out / "model.tflite", "--samples", "3", "--board", BOARD, "--emulate")
    shown = tinygen(*command).stdout
    assert "chosen: int16 activations where needed: loud, soft, reader" in shown
