"""What a candidate lacks, and the costs that this is read from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.optimize.fakes import BASELINE, cost, outcome
from tests.small_models import two_convolutions
from tinygen import driver, target
from tinygen.budget import Memory, weigh
from tinygen.errors import RecipeError, TargetError
from tinygen.footprint.measure import Footprint, measure
from tinygen.optimize import cost as cost_module
from tinygen.optimize.candidate import candidate
from tinygen.optimize.cost import check_time
from tinygen.optimize.cost import cost as cost_of
from tinygen.optimize.limits import Lack, Limits, cost_lacks, fits, lacks, share
from tinygen.profile.profile import profile
from tinygen.project import default_format

INT8 = candidate("int8")
DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.tflite"


@pytest.mark.parametrize(
    ("text", "value"), [("1%", 0.01), ("0.5 %", 0.005), ("0.02", 0.02), (".1", 0.1), ("0", 0.0), ("100%", 1.0)]
)
def test_shares(text: str, value: float) -> None:
    assert share(text) == value


@pytest.mark.parametrize("text", ["", "one", "2", "101%", "-1%", "1 percent"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(RecipeError, match=r"--max-drop: no share, found '.*', expected such as 1% or 0\.01"):
        share(text)


def test_the_worst_of_each_kind_is_told() -> None:
    found = cost(flash_bytes=80 * 1024, ram_bytes=30 * 1024)
    assert cost_lacks(found, Limits()) == (Lack("flash", "flash 25 % over", 0.25), Lack("RAM", "RAM 50 % over", 0.5))
    strict = Limits(flash_bytes=40 * 1024, ram_bytes=25 * 1024, milliseconds=10)
    assert [lack.text for lack in cost_lacks(found, strict)] == ["flash 100 % over", "RAM 50 % over", "time 25 % over"]


def test_a_stack_that_is_too_small_is_ram_that_is_missing() -> None:
    found = replace(cost(1024), memories=(Memory("stack", "stack", 1536, 1024),))
    assert cost_lacks(found, Limits()) == (Lack("RAM", "RAM 50 % over", 0.5),)


@pytest.mark.parametrize(("correct", "lost"), [(94, ()), (93, ("2.0 points lost",)), (95, ()), (96, ())])
def test_accuracy_is_counted_in_samples(correct: int, lost: tuple[str, ...]) -> None:
    found = outcome(INT8, correct, 1024)
    limits = Limits(max_drop=0.01)
    assert tuple(lack.text for lack in lacks(found, BASELINE, limits)) == lost
    assert fits(found, BASELINE, limits) == (not lost)


def test_what_is_not_known_does_not_fit() -> None:
    found = outcome(INT8, 95, 1024)
    assert not fits(replace(found, cost=None), BASELINE, Limits())
    assert not fits(replace(found, score=None), BASELINE, Limits())
    untimed = replace(found, cost=cost(1024, milliseconds=None))
    assert fits(untimed, BASELINE, Limits()) and not fits(untimed, BASELINE, Limits(milliseconds=100))


def test_a_cost_is_what_compile_and_profile_say() -> None:
    board = target.load("bluepill_f103c8")
    model = driver.load(DIGITS)
    compiled = driver.compile_model(model, board, "model", form=default_format(board))
    budget = weigh(compiled, board, measure(compiled, board))
    found = cost_of(DIGITS.read_bytes(), Limits(board))
    assert (found.flash_bytes, found.ram_bytes) == (budget.footprint.flash_bytes, budget.footprint.ram_bytes)
    assert (found.constant_bytes, found.goal, found.memories) == (budget.need.constant_bytes, "speed", budget.memories)
    timed = profile(compiled, board, budget, seed=0)
    assert found.milliseconds == timed.milliseconds(timed.total.stall_cycles)


def test_kernels_that_need_less_are_taken_only_where_they_must() -> None:
    board = target.load("nucleo_l4r5zi")
    fast = cost_of(DIGITS.read_bytes(), Limits(board))
    small = cost_of(DIGITS.read_bytes(), Limits(board, flash_bytes=fast.flash_bytes - 1))
    assert fast.goal == "speed" != small.goal and small.flash_bytes < fast.flash_bytes


def test_what_is_too_large_by_its_constants_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def counted(compiled: driver.Compiled, board: target.Target) -> Footprint:
        built.append(compiled)
        return measure(compiled, board)

    monkeypatch.setattr(cost_module, "measure", counted)
    found = cost_of(DIGITS.read_bytes(), Limits(target.load("bluepill_f103c8"), flash_bytes=4096))
    assert len(built) == 1 and found.goal == "speed" and found.flash_bytes > found.constant_bytes > 4096


def test_without_a_board_it_is_constants_and_arena() -> None:
    found = cost_of(two_convolutions(), Limits(flash_bytes=100))
    assert (found.board, found.milliseconds, found.flash_bytes) == ("", None, found.constant_bytes)
    assert [lack.kind for lack in cost_lacks(found, Limits(flash_bytes=100))] == ["flash"]


def test_a_limit_of_time_needs_a_board_whose_time_is_known() -> None:
    check_time(Limits())
    check_time(Limits(target.load("uno"), milliseconds=5))
    with pytest.raises(TargetError, match="a limit of time is for a board; add --board BOARD"):
        check_time(Limits(milliseconds=5))
    with pytest.raises(TargetError, match="mps3-an547: the time of an inference is not known; "):
        check_time(Limits(target.load("mps3-an547"), milliseconds=5))
    with pytest.raises(TargetError, match="no emulator for this board's core"):
        check_time(Limits(target.load("esp32dev"), milliseconds=5))
