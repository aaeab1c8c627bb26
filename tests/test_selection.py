"""Choosing boards: by core, by memory, and by what a model needs."""

from __future__ import annotations

import pytest

from tests.small_models import two_convolutions
from tinygen import selection, target
from tinygen.driver import Model
from tinygen.errors import DataError, TargetError
from tinygen.frontend import tflite
from tinygen.selection import Need, memory_size, select
from tinygen.variants import Optimize


@pytest.fixture
def model() -> Model:
    """A model with an arena of 210 bytes."""
    data = two_convolutions()
    return Model("net.tflite", data, tflite.read(data, "net.tflite"))


def names(found: selection.Selection) -> list[str]:
    """The chosen boards."""
    return [board.name for board in found.boards]


def test_without_a_wish_all_tested_boards() -> None:
    assert names(select()) == target.names()
    assert names(select(known=True)) == [*target.names(), *target.known_names()]
    assert select().needs == {}


def test_by_core() -> None:
    assert names(select(core="cortex-m55")) == ["mps3-an547"]
    assert "leonardo" in names(select(core="avr")) and "uno_r4_wifi" not in names(select(core="avr"))
    assert len(select(core="avr", known=True).boards) > 200
    with pytest.raises(TargetError, match=r"unknown core, found 'cortex-m9', expected avr, .*cortex-m55"):
        select(core="cortex-m9")


def test_by_memory() -> None:
    large = select(min_ram="512K", min_flash="2M")
    assert {"nucleo_h743zi", "nucleo_l4r5zi", "nucleo_u575zi_q"} <= set(names(large))
    assert all(board.ram_bytes >= 524288 and board.flash_bytes >= 2097152 for board in large.boards)
    assert names(select("uno", min_ram="2K")) == ["uno"]
    assert names(select("uno", min_ram="2049")) == []


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("65536", 65536), ("64K", 65536), ("64 kB", 65536), ("1m", 2**20), (" 2MB ", 2**21)]
)
def test_memory_size(text: str, size: int) -> None:
    assert memory_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "1.5M", "-1", "64G", "0x100"])
def test_what_is_no_memory_size(text: str) -> None:
    with pytest.raises(DataError, match="expected a number of bytes such as 65536, 64K or 1M"):
        memory_size(text)


def test_a_need_fits_in_one_piece_of_memory() -> None:
    split, whole = target.load("nucleo_l476rg"), target.load("nucleo_f746zg")
    assert split.ram_bytes == 131072
    assert Need(0, 96 * 1024).fits(split) and not Need(0, 96 * 1024 + 1).fits(split)
    assert Need(2**20, 320 * 1024).fits(whole) and not Need(2**20 + 1, 0).fits(whole)


def test_by_model_compiled_once_for_each_core(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def count(of: Model, board: target.Target, optimize: Optimize) -> object:
        compiled.append(board.core.name)
        return compile_model(of, board, optimize=optimize)

    compile_model = selection.compile_model
    monkeypatch.setattr(selection, "compile_model", count)
    found = select(model=model, known=True)
    everything = select(known=True).boards
    assert sorted(compiled) == sorted({board.core.name for board in everything})
    assert set(found.needs) == set(compiled)
    assert all(0 < need.arena_bytes <= 224 and need.constant_bytes > 0 for need in found.needs.values())
    left_out = {board.name for board in everything} - set(names(found))
    assert "attiny13" in left_out and "uno" not in left_out
    assert found.as_json()["needs"]["avr"]["arena_bytes"] == found.needs["avr"].arena_bytes
