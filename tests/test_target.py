"""The boards: every file loads, states plausible facts, and a wrong file is refused by name."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tinygen import target
from tinygen.errors import TargetError


@pytest.mark.parametrize("name", target.names())
def test_every_board_loads(name: str) -> None:
    board = target.load(name)
    assert board.name == name and board.source and board.mcu
    assert 1_000_000 <= board.clock_hz <= 1_000_000_000
    assert 0 <= board.flash_wait_states <= 15
    for regions in (board.flash, board.ram):
        assert regions
        for before, after in itertools.pairwise(regions):
            assert before.origin + before.bytes <= after.origin
        assert all(region.bytes > 0 and region.origin >= 0 for region in regions)


def test_the_first_boards_are_there() -> None:
    wanted = {"nucleo_l4r5zi", "nucleo_g0b1re", "bluepill_f103c8", "nucleo_h743zi", "mps3-an547", "uno", "mps2-an386"}
    assert wanted <= set(target.names())


@pytest.fixture
def boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A boards folder of the test's own, with one good board in it."""
    (tmp_path / "cores").mkdir()
    for path in (target.BOARDS / "cores").glob("*.toml"):
        (tmp_path / "cores" / path.name).write_text(path.read_text("utf-8"))
    (tmp_path / "mine.toml").write_text((target.BOARDS / "uno.toml").read_text("utf-8"))
    monkeypatch.setattr(target, "BOARDS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mcu =", "mpu =", "unknown or missing keys, found mcu, mpu"),
        ('core = "avr5"', 'core = "avr9"', "unknown core, found 'avr9'"),
        ("origin", "start", "a memory region needs name, origin and bytes"),
        ("title", "title = [", "cannot be read"),
    ],
)
def test_a_wrong_board_file_is_refused(boards: Path, old: str, new: str, message: str) -> None:
    path = boards / "mine.toml"
    target.load("mine")
    path.write_text(path.read_text("utf-8").replace(old, new))
    with pytest.raises(TargetError, match=message):
        target.load("mine")


def test_unknown_board() -> None:
    with pytest.raises(TargetError, match=r"unknown board, found 'zzz'; `tinygen boards` lists them"):
        target.load("zzz")
