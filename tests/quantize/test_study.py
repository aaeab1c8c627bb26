from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from scripts.study import measure, sets, table, width
from scripts.study.__main__ import main
from scripts.study.techniques import GENERATED, ROWS, SETS, Case, Effort

KEYS = ("float", "int8-ptq", "channels")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own, when it saves a model
def test_the_short_form_proves_measures_and_prints_its_table(tmp_path: Path) -> None:
    arguments = [str(tmp_path), "--short", "--rows", ",".join(KEYS)]
    found = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ") and not line.startswith("| |")]
    assert [row[0].removeprefix("| ") for row in rows] == [row.title for row in ROWS if row.key in KEYS]
    by_title = {row[0].removeprefix("| "): row for row in rows}
    assert by_title["int8, post-training"][4:6] == ["1.00", "1.00"]
    assert float(by_title["channels, half the MACs"][4]) < 0.62  # cycles on the Cortex-M4
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    again = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert again.output.splitlines()[-len(KEYS) :] == lines[-len(KEYS) :]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == before  # nothing is made twice


def test_what_cannot_be_verified_ends_the_study(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"no model")
    with pytest.raises(subprocess.CalledProcessError):
        measure.verify(tmp_path / "model.tflite")


@pytest.mark.parametrize(
    ("lost", "chosen", "words"),
    [
        ({1 / 2: [0.0, 0.03], 1 / 4: [9, 9]}, 1 / 2, "1/2 of the width +1.5"),
        ({1 / 2: [0.01, 0.01], 1 / 4: [0.04, 0.02]}, 1 / 4, "1/2 of the width +1.0, 1/4 of the width +3.0"),
        (
            {1 / 2: [-0.01, 0.0], 1 / 4: [0.0, 0.0], 1 / 8: [0.0, 0.002]},
            1 / 8,
            "1/2 of the width -0.5, 1/4 of the width +0.0, 1/8 of the width +0.1",
        ),
    ],
)
def test_students_are_the_widest_that_can_be_taught_something(
    lost: dict[float, list[float]], chosen: float, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(width, "_lost", lambda case: lost[case.effort.width][case.seed])
    found = width.choose([Case("digits", seed, Effort(), tmp_path) for seed in range(2)])
    assert found.width == chosen
    assert str(found) == (
        f"Students have {Fraction(chosen)} of the width. Lost alone on the validation set, points: {words}."
    )


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own, when it saves a model
def test_a_student_alone_is_judged_on_the_validation_set(tmp_path: Path) -> None:
    case = Case("waves", 0, Effort(epochs=1, extra=1), tmp_path)
    (tried,) = width.choose([case], [1 / 4]).lost
    teacher, student = (keras.models.load_model(tmp_path / f"{name}.keras") for name in ("float-extra", "student-0.25"))
    assert student.count_params() < teacher.count_params() / 8
    right = [
        model.predict(case.data.validation.x, verbose=0).argmax(axis=1) == case.data.validation.y
        for model in (teacher, student)
    ]
    assert tried == (1 / 4, right[0].mean() - right[1].mean())


@pytest.mark.parametrize("name", SETS)
def test_the_parts_of_a_set_are_disjoint_and_follow_the_seed(name: str) -> None:
    make = SETS[name][0]
    one, two, other = make(0), make(0), make(1)
    for part, again, different in zip(one, two, other, strict=True):
        np.testing.assert_array_equal(part.x, again.x)
        assert part.x.shape != different.x.shape or (part.x != different.x).any()
        assert part.x.dtype == np.float32
        assert set(part.y) == set(range(SETS[name][1]().output_shape[-1]))
    samples = np.concatenate([part.x.reshape(len(part.x), -1) for part in one])
    assert len(np.unique(samples, axis=0)) == len(samples) == sum(len(part.x) for part in one)


@pytest.mark.parametrize("name", GENERATED)
def test_unlabelled_samples_are_in_no_part_of_the_set(name: str, tmp_path: Path) -> None:
    case = Case(name, 1, Effort(), tmp_path)
    known = {sample.tobytes() for part in case.data for sample in part.x}
    found = {sample.tobytes() for sample in case.unlabelled}
    assert len(found) == 7 * len(case.data.train.x) and not found & known
    (row,) = [row for row in ROWS if row.key == "distilled-unlabelled"]
    assert row.sets == GENERATED and "digits" not in row.sets


def test_digits_are_all_there() -> None:
    assert sum(len(part.x) for part in sets.digits(0)) == 1797


def test_an_estimate_has_the_larger_of_two_errors() -> None:
    alike = [np.array([1, 1, 1, 0] * 25), np.array([1, 1, 0, 1] * 25)]
    assert table.accuracy(alike) == table.Estimate(0.75, pytest.approx(np.sqrt(0.75 * 0.25 / 200)))
    apart = [np.ones(100), np.zeros(100)]
    assert table.accuracy(apart) == table.Estimate(0.5, pytest.approx(0.5))
    assert table.difference(alike, alike) == table.Estimate(0.0, 0.0)
    assert table.difference(alike[:1], alike[1:]).mean == 0  # but not without an error: other samples are right
    assert table.difference(alike[:1], alike[1:]).error == pytest.approx(np.sqrt(0.5 / 100))


@pytest.mark.parametrize(
    ("change", "shares", "words"),
    [
        ((0.001, 0.002), (1.0, 1.0, 1.02, 0.98), "nothing"),
        ((0.01, 0.002), (1.0, 1.0, 1.0, 1.0), "accuracy"),
        ((-0.01, 0.002), (0.5, 0.8, 0.7, 0.6), "50% of the cycles, 40% of the weights' flash; costs accuracy"),
        ((-0.003, 0.002), (1.2, 1.0, 1.2, 1.0), "nothing"),
    ],
)
def test_what_a_technique_brings_follows_from_the_numbers(
    change: tuple[float, float], shares: tuple[float, float, float, float], words: str
) -> None:
    assert table.verdict(table.Estimate(*change), table.Shares(*shares)) == words
