"""The boards: every file loads, states plausible facts and those of a second source; a wrong one is refused."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from tinygen import target
from tinygen.errors import TargetError
from tinygen.target import Region, Target, reader

DOCUMENT = (
    r"RM\d{4}; DS\d{4,5}|DS\d{8}|Atmel-\d+|R01UH\d{4}|Arm Application Note AN\d{3}"
    r"|nRF5\d{4} Product Specification v|RP2040 Datasheet|ESP32(-\w\d)? Technical Reference Manual"
)
WANTED = (
    "uno nanoatmega328 megaatmega2560 leonardo due zero mkrwifi1010 nano_33_iot nano33ble nanorp2040connect "
    "portenta_h7_m7 uno_r4_minima uno_r4_wifi giga_r1_m7 bluepill_f103c8 blackpill_f411ce nucleo_f030r8 "
    "nucleo_f072rb nucleo_f103rb nucleo_f303re nucleo_f401re nucleo_f411re nucleo_f446re nucleo_f429zi "
    "nucleo_f746zg nucleo_f767zi nucleo_g071rb nucleo_g0b1re nucleo_g431rb nucleo_g474re nucleo_h743zi "
    "nucleo_h7a3zi_q nucleo_l053r8 nucleo_l073rz nucleo_l152re nucleo_l432kc nucleo_l476rg nucleo_l4r5zi "
    "nucleo_l552ze_q nucleo_u575zi_q nucleo_wb55rg_p disco_f407vg disco_f746ng disco_l475vg_iot01a pico "
    "bbcmicrobit bbcmicrobit_v2 esp32dev esp32-s3-devkitc-1 esp32-c3-devkitm-1 mps2-an385 mps2-an386 mps2-an500 "
    "mps2-an505 mps3-an547 netduinoplus2 stm32vldiscovery"
)


def check_memory(board: Target) -> None:
    """Regions exist, have a size and a word's alignment, and do not overlap; AVRs count flash and data apart."""
    for regions in (board.flash, board.ram):
        assert regions
        assert all(region.bytes > 0 and region.origin >= 0 and region.bytes < 2**25 for region in regions)
        for before, after in itertools.pairwise(sorted(regions, key=lambda region: region.origin)):
            assert before.origin + before.bytes <= after.origin
    if board.core.name != "avr":
        assert all(region.origin % 4 == 0 and region.bytes % 4 == 0 for region in (*board.flash, *board.ram))


@pytest.mark.parametrize("name", target.names())
def test_every_board_loads(name: str) -> None:
    board = target.load(name)
    assert board.name == name and board.status == "tested" and board.title and board.mcu
    assert 8_000_000 <= board.clock_hz <= 600_000_000
    assert board.flash_wait_states is not None and 0 <= board.flash_wait_states <= 7
    assert re.match(DOCUMENT, board.source), board.source
    assert board.uart and board.uart.peripheral and bool(board.uart.tx) == bool(board.uart.rx)
    assert board.uart.tx != board.uart.rx or name.startswith("mps")
    assert board.platformio.board in ("", name, *board.aliases)
    assert bool(board.platformio.board) == bool(board.platformio.platform) == bool(board.platformio.frameworks)
    check_memory(board)


def test_the_boards_are_there() -> None:
    wanted = set(WANTED.split())
    assert wanted <= set(target.names()) and len(wanted) >= 40
    used = {target.load(name).core.name for name in target.names()}
    assert set(target.core_names()) - used == {"portable", "cortex-m4"}


@pytest.mark.parametrize("name", target.names())
def test_flash_ram_and_clock_are_those_of_the_manifest_or_say_why_not(name: str) -> None:
    """The manifest counts all RAM or the main region alone; it is a second source, but for bootloaders and the like."""
    board = target.load(name)
    if not board.platformio.board:
        assert not board.differs
        return
    facts = target.known_boards()[board.platformio.board]
    assert (facts.core, facts.platform, facts.frameworks) == (
        board.core.name,
        board.platformio.platform,
        board.platformio.frameworks,
    )
    same_ram = facts.ram_bytes in (board.ram_bytes, board.ram[0].bytes)
    same = facts.clock_hz == board.clock_hz and facts.flash_bytes == board.flash_bytes and same_ram
    assert same == (not board.differs)
    assert board.mcu.lower().replace("-", "").startswith(facts.mcu[:7]) or facts.mcu.startswith(("ra4m1", "at91"))


def test_every_known_board_loads() -> None:
    boards = [board for board in target.load_all(known=True) if board.status == "known"]
    assert [board.name for board in boards] == target.known_names() and len(boards) > 800
    for board in boards:
        assert board.name == board.platformio.board and not board.differs
        assert board.uart is None and board.flash_wait_states is None
        assert 1_000_000 <= board.clock_hz <= 600_000_000
        assert len(board.flash) == len(board.ram) == 1
        assert not any("{" in flag for flag in board.core.cflags)
        check_memory(board)
    assert target.load("genericSTM32F103CB") in boards


def test_no_name_stands_for_two_boards() -> None:
    names, aliases, known = target.names(), target.aliases(), target.known_names()
    assert not set(names) & set(aliases) and not set(known) & {*names, *aliases}
    assert len(aliases) == sum(len(target.load(name).aliases) for name in names)
    assert target.load("microbit") == target.load("bbcmicrobit")
    assert target.load("netduino2plus").name == "netduinoplus2"


def test_the_compiler_is_told_the_mcu() -> None:
    assert target.load("megaatmega2560").core.cflags == ("-mmcu=atmega2560",)
    assert target.load("ATmega8").core.cflags == ("-mmcu=atmega8",)
    assert target.load("leonardo").core.name == "avr"


def test_the_largest_piece_of_memory() -> None:
    assert target.load("nucleo_f746zg").largest_ram_bytes == 320 * 1024
    assert target.load("nucleo_l476rg").largest_ram_bytes == 96 * 1024
    board = target.load("nucleo_h743zi")
    assert board.ram[0] == Region("axi_sram", 0x24000000, 512 * 1024)
    assert board.largest_ram_bytes == 512 * 1024 < board.ram_bytes


def test_pieces_of_ram_the_fastest_first() -> None:
    """Regions that follow each other are one piece, as fast as the slowest of them."""

    def pieces(name: str) -> list[tuple[str, int, str, bool]]:
        return [(p.name, p.bytes // 1024, p.kind, p.dma) for p in target.load(name).ram_pieces]

    assert pieces("nucleo_f429zi") == [("sram1_2_3", 192, "sram", True), ("ccm", 64, "sram", False)]
    assert pieces("nucleo_f746zg") == [("dtcm", 320, "sram", True)]
    assert pieces("nucleo_l4r5zi") == [("sram1", 640, "sram", True)]
    assert pieces("nucleo_h743zi") == [
        ("dtcm", 128, "tcm", False),
        ("axi_sram", 512, "sram", True),
        ("sram1_2_3", 288, "remote", True),
        ("sram4", 64, "remote", True),
    ]
    assert target.load("nucleo_h743zi").main_ram.name == "axi_sram"
    assert all(board.main_ram in board.ram_pieces for board in target.load_all())


@pytest.fixture
def boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A boards folder of the test's own, with one good board in it."""
    (tmp_path / "cores").mkdir()
    for path in (reader.BOARDS / "cores").glob("*.toml"):
        (tmp_path / "cores" / path.name).write_text(path.read_text("utf-8"))
    (tmp_path / "known.csv").write_text((reader.BOARDS / "known.csv").read_text("utf-8"))
    (tmp_path / "mine.toml").write_text((reader.BOARDS / "uno.toml").read_text("utf-8"))
    monkeypatch.setattr(reader, "BOARDS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mcu =", "mpu =", "unknown or missing keys, found mcu, mpu"),
        ('core = "avr"', 'core = "avr9"', "unknown core, found 'avr9', expected avr, cortex-m0, "),
        (
            "origin",
            "start",
            "mine.toml: flash: unknown or missing keys, found origin, start, expected bytes, dma, kind, name, origin",
        ),
        (
            "bytes = 2048 }",
            'bytes = 2048, kind = "fast" }',
            "mine.toml: ram: sram: unknown kind of memory, found fast, expected tcm, sram, remote",
        ),
        ("tx =", "xt =", "mine.toml: uart: unknown or missing keys, found tx, xt"),
        ("frameworks", "framework", "mine.toml: platformio: unknown or missing keys, found framework, frameworks"),
        ('title = "Arduino Uno"', 'title = "Uno"\nstatus = "tested"', "unknown or missing keys, found status"),
        ("title", "title = [", "cannot be read"),
    ],
)
def test_a_wrong_board_file_is_refused(boards: Path, old: str, new: str, message: str) -> None:
    path = boards / "mine.toml"
    target.load("mine")
    path.write_text(path.read_text("utf-8").replace(old, new))
    with pytest.raises(TargetError, match=message):
        target.load("mine")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ram_bytes", "ram", "known.csv: wrong columns, expected id, title, mcu, core, "),
        ("0x20000000", "there", "known.csv: .*: not a number, found invalid literal"),
    ],
)
def test_a_wrong_table_is_refused(boards: Path, old: str, new: str, message: str) -> None:
    path = boards / "known.csv"
    path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")
    with pytest.raises(TargetError, match=message):
        target.load("nothing")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("nucleo_l4r5", "did you mean nucleo_l4r5zi"),
        ("ardunio_uno", "did you mean "),
        ("esp32-dev", "did you mean esp32dev or"),
        ("GENERICSTM32F103C8", "did you mean genericSTM32F103C8 or"),
        ("micro:bit", "did you mean microbit or"),
        ("esp32", "did you mean esp32-c3-devkitm-1 or esp32-s3-devkitc-1 or"),
        ("nucleo_l4r", "did you mean nucleo_l4r5zi or"),
        ("zzz", "`tinygen boards --known` lists them"),
    ],
)
def test_a_misspelt_name_suggests_the_nearest(name: str, remedy: str) -> None:
    with pytest.raises(TargetError) as error:
        target.load(name)
    assert str(error.value).startswith(f"unknown board, found '{name}'; {remedy}")
