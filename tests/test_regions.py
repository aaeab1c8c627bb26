"""Arenas in several regions of RAM: what lies where, that it computes the same, what is said where it does not fit."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from tests.branchy_models import branchy_model, rows_network
from tests.modelbuilder import ModelBuilder
from tests.small_models import convolution, two_convolutions
from tests.tagged_arena import TaggedModel
from tests.test_cli import tinygen
from tests.test_firmware import assert_equal, cmake_elf, tried
from tinygen import reference, target
from tinygen.arena import arena
from tinygen.budget import Budget, weigh
from tinygen.driver import Compiled, Model, compile_model
from tinygen.footprint.build import build
from tinygen.footprint.measure import measure
from tinygen.footprint.toolchain import find
from tinygen.frontend import tflite
from tinygen.quant import Numerics
from tinygen.regions import VARIABLE_BYTES
from tinygen.selection import select
from tinygen.target import Region, Target
from tinygen.variants import Optimize
from tinygen.verify.compare import verify
from tinygen.verify.host import HostModel
from tinygen.verify.samples import random_samples

KEPT = 1024 + VARIABLE_BYTES
"""Of the RAM for data, for other than the arena."""


def several_outputs(*filters: int, side: int = 32) -> bytes:
    """Convolutions of one input whose outputs are all kept to the end."""
    build = ModelBuilder(np.random.default_rng(1))
    x = build.input((1, side, side, 1), "int8", 0.02, 0)
    return build.finish([convolution(build, x, filters=count) for count in filters])


FOR_F303 = several_outputs(20, 20, 18, 14)
"""74 kB: the board has 64 kB and 16 kB."""


def compiled(
    data: bytes, board: str | Target, form: str = "c", optimize: Optimize = Optimize.SPEED, feed: bool = False
) -> Compiled:
    place = target.load(board) if isinstance(board, str) else board
    return compile_model(
        Model("net", data, tflite.read(data, "net")), place, "net", form=form, optimize=optimize, feed=feed
    )


def budget(result: Compiled, board: str | Target) -> Budget:
    place = target.load(board) if isinstance(board, str) else board
    return weigh(result, place, measure(result, place))


def parts(result: Compiled) -> list[tuple[str, int]]:
    return [(part.region, part.bytes) for part in result.plan.parts]


def with_ram(main_bytes: int, *others: int, board: str = "nucleo_f303re") -> Target:
    """The board with that much room for an arena among its variables, and further regions of these sizes."""
    regions = [Region("sram", 0x20000000, (main_bytes + KEPT + 3) // 4 * 4)]
    regions += [Region(f"ram{i}", 0x30000000 + (i << 24), size // 4 * 4) for i, size in enumerate(others, 1)]
    return replace(target.load(board), ram=tuple(regions))


def check_plan(result: Compiled, board: Target) -> None:
    """Parts lie one behind another, each within its region; each buffer, and all rows of a tensor, in one of them."""
    plan, sizes = result.plan, {region.name: region.bytes for region in board.ram_pieces}
    assert len(plan.parts) > 1
    ends = [part.start + part.bytes for part in plan.parts]
    assert (
        all(end <= part.start for end, part in zip(ends, plan.parts[1:], strict=False)) and ends[-1] == plan.arena_bytes
    )
    assert all(part.bytes <= sizes.get(part.region, board.main_ram.bytes - KEPT) for part in plan.parts)
    for buffer, offset in plan.buffers:
        assert [p for p in plan.parts if p.start <= offset and offset + buffer.bytes <= p.start + p.bytes], buffer
    for places in plan.rows.values():
        assert len({result.program.arena_at(offset)[0].symbol for offset in places}) == 1


def check_bytes(result: Compiled, folder: Path) -> None:
    """No byte is read that was overwritten, and what each layer leaves is that of the reference."""
    sample = random_samples(result.model.graph, 1, 0)[0]
    faults, _ = TaggedModel(result, folder / "tagged").run(sample)
    assert not faults, "\n".join(faults)
    layers, _ = HostModel(result, folder / "host").run(sample)
    expected = reference.run(result.graph, sample, Numerics.TFLITE)
    assert layers
    for tensor, value in layers.items():
        np.testing.assert_array_equal(value, expected[tensor])


@pytest.mark.parametrize("seed", range(8))
def test_networks_with_branches_in_three_regions(seed: int, tmp_path: Path) -> None:
    """None of them has room for all, the first for the largest of them."""
    data = branchy_model(seed)
    plan = compiled(data, "nucleo_l4r5zi").plan
    size, largest = plan.arena_bytes, max(buffer.bytes for buffer, _ in plan.buffers)
    board = with_ram(max(size * 2 // 3, largest), size // 2, size // 3)
    result = compiled(data, board)
    check_plan(result, board)
    check_bytes(result, tmp_path)


def test_regions_of_one_speed_take_little_more_than_one() -> None:
    """What is divided shares less; on average a tenth more, where no region is faster."""
    more = []
    for seed in range(12):
        data = branchy_model(seed)
        size = compiled(data, "nucleo_l4r5zi").plan.arena_bytes
        more.append(compiled(data, with_ram(size * 2 // 3, size // 2, size // 3)).plan.arena_bytes / size)
    assert np.mean(more) <= 1.1 and max(more) <= 1.3, more


@pytest.mark.parametrize("feed", [False, True])
def test_rows_lie_in_one_region(feed: bool, tmp_path: Path) -> None:
    data = rows_network(9)
    size = compiled(data, "nucleo_f401re", optimize=Optimize.RAM, feed=feed).plan.arena_bytes
    board = with_ram(size * 3 // 4, size // 2, size // 3)
    result = compiled(data, board, optimize=Optimize.RAM, feed=feed)
    assert result.plan.runs
    check_plan(result, board)
    check_bytes(result, tmp_path)


def test_the_fastest_region_comes_first() -> None:
    """What fits the memory at the processor's own port lies there; what does not, as far as it is touched most."""
    result = compiled(two_convolutions(), "nucleo_h743zi")
    assert parts(result) == [("dtcm", result.plan.arena_bytes)]
    assert '} net_arena TG_REGION("dtcm");' in result.files["src/net.c"]
    larger = compiled(several_outputs(60, 60, 50, 40), "nucleo_h743zi")
    [(first, in_dtcm), (second, in_axi)] = parts(larger)
    assert (first, second) == ("dtcm", "") and 120_000 < in_dtcm <= 131_072 and in_axi == 90 * 1024
    assert "} net_arena_main;" in larger.files["src/net.c"]


def test_one_region_as_long_as_it_does() -> None:
    """A slower one, or one that is no faster, takes only what the others have no room for."""
    assert not compiled(two_convolutions(), "nucleo_f303re").plan.parts
    assert not compiled(two_convolutions(), "mps2-an505").plan.parts
    assert not compiled(FOR_F303, "nucleo_f746zg").plan.parts
    assert not compiled(FOR_F303, "nucleo_f303re", form="arduino").plan.parts


@pytest.mark.parametrize(
    ("board", "filters", "side"),
    [
        ("nucleo_f303re", (20, 20, 18, 14), 32),
        ("nucleo_f429zi", (60, 60, 50, 40), 32),
        ("nucleo_l476rg", (40, 30, 24, 24), 32),
        ("nucleo_h743zi", (60, 60, 50, 40), 32),
        ("mps3-an547", (40, 40, 40, 40), 64),
    ],
)
def test_what_fits_two_regions_only_is_computed_in_them(board: str, filters: tuple[int, ...], side: int) -> None:
    result = compiled(several_outputs(*filters, side=side), board)
    assert len(result.plan.parts) == 2 and budget(result, board).fits
    verdict = verify(result, random_samples(result.model.graph, 1), interpreter=False, board=target.load(board))
    assert verdict.difference is None, str(verdict.difference)


def test_the_firmware_has_each_part_where_it_belongs(tmp_path: Path) -> None:
    result = compiled(FOR_F303, "nucleo_f303re", form="cmake")
    result.write(tmp_path / "project")
    path = cmake_elf(tmp_path / "project")
    elf = ELFFile(io.BytesIO(path.read_bytes()))
    ccm = elf.get_section_by_name(".ccm")
    [(_, in_main), (name, in_ccm)] = parts(result)
    assert name == "ccm" and (ccm["sh_addr"], ccm["sh_type"]) == (0x10000000, "SHT_NOBITS")
    assert in_ccm <= ccm["sh_size"] < in_ccm + 8 and elf.get_section_by_name(".bss")["sh_size"] >= in_main
    symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
    text = elf.get_section_by_name(".text")
    table = text.data()[symbols["tg_zeroed_start"] - text["sh_addr"] : symbols["tg_zeroed_end"] - text["sh_addr"]]
    ranges = np.frombuffer(table, "<u4").reshape(-1, 2).tolist()
    assert [symbols["tg_bss_start"], symbols["tg_bss_end"]] in ranges
    assert [0x10000000, 0x10000000 + (in_ccm + 3) // 4 * 4] in ranges and len(ranges) == 2
    assert_equal(tried(tmp_path / "project", path))


def test_an_ordinary_linker_script_takes_them_for_variables(tmp_path: Path) -> None:
    """Of `--format c`: then all parts lie where all variables do, and nothing of them is in the file."""
    result = compiled(FOR_F303, "nucleo_f303re")
    result.write(tmp_path)
    (tmp_path / "main.c").write_text(
        '#include "net.h"\nint main(void)\n{\n    net_invoke();\n    return net_output_0()[0];\n}\n'
    )
    sources = ["main.c", "src/net.c", "src/net_data.c", "-Iinclude", "-Isrc"]
    flags = ["-mcpu=cortex-m4", "-mthumb", "-O2", "--specs=nosys.specs", "-fdata-sections", "-Wl,--gc-sections"]
    subprocess.run(
        ["arm-none-eabi-gcc", *flags, *sources, "-o", "a.elf"], cwd=tmp_path, check=True, capture_output=True
    )
    elf = ELFFile(io.BytesIO((tmp_path / "a.elf").read_bytes()))
    assert elf.get_section_by_name(".bss")["sh_size"] >= result.plan.arena_bytes
    assert not [section.name for section in elf.iter_sections() if "tg_" in section.name]


def test_a_project_without_arduino_where_its_linker_script_has_no_room() -> None:
    result = compiled(FOR_F303, "nucleo_f303re", form="platformio")
    assert result.manifest["environments"] == {"bare": "nucleo_f303re_bare"}
    assert "framework = arduino" not in result.files["platformio.ini"]
    warnings = budget(result, "nucleo_f303re").warnings
    assert warnings == ("without a framework only: those of the frameworks know one region of RAM, which is too small",)
    fast = compiled(two_convolutions(), "nucleo_h743zi", form="platformio")
    assert list(fast.manifest["environments"]) == ["arduino", "bare"] and not budget(fast, "nucleo_h743zi").warnings


def test_each_region_is_named_when_there_is_no_room() -> None:
    result = compiled(several_outputs(30, 30, 30), "nucleo_f303re", form="cmake")
    found = budget(result, "nucleo_f303re")
    assert not result.plan.parts and not found.fits
    ram = {memory.name: (memory.needed_bytes, memory.there_bytes) for memory in found.memories if memory.kind == "RAM"}
    assert list(ram) == ["RAM with the stack", "ccm: no way to divide the arena helps"]
    assert ram["RAM with the stack"][0] > 65536 == ram["RAM with the stack"][1]
    assert ram["ccm: no way to divide the arena helps"] == (0, 16384)


def test_what_is_counted(tmp_path: Path) -> None:
    """The footprint has all regions, and the ELF what the plan says."""
    result = compiled(FOR_F303, "nucleo_f303re", form="cmake")
    found, board = budget(result, "nucleo_f303re"), target.load("nucleo_f303re")
    tools = find(board.core, False)
    assert tools
    elf = ELFFile(io.BytesIO(build(result, board.core, tools, tmp_path).read_bytes()))
    sizes = {s.name: s["sh_size"] for s in elf.iter_sections() if s["sh_flags"] & 1}
    assert abs(found.footprint.ram_bytes - sum(sizes.values())) < 16
    ram = {memory.name: memory.needed_bytes for memory in found.memories if memory.kind == "RAM"}
    assert list(ram) == ["RAM with the stack", "arena in ccm"] and sum(ram.values()) == found.footprint.ram_bytes


def test_what_lies_where_is_said() -> None:
    result = compiled(FOR_F303, "nucleo_f303re")
    lines = list(arena(result.graph, result.plan).lines())
    assert "among the variables, 59,392 bytes: t3 (20,480), t6 (20,480), t9 (18,432)" in lines
    assert [line for line in lines if line.startswith("in ccm, 14,608 bytes: t12 (14,336), t0 (1,024), scratch of ")]
    [share] = arena(result.graph, compiled(two_convolutions(), "nucleo_h743zi").plan).as_json()["shares"][:1]
    assert share["region"] == "dtcm"
    assert not list(arena(result.graph, compiled(FOR_F303, "nucleo_f746zg").plan).shares)


def test_boards_that_fit_with_several_regions() -> None:
    model = Model("net", FOR_F303, tflite.read(FOR_F303, "net"))
    fitting = {board.name for board in select(core="cortex-m4f", model=model).boards}
    assert "nucleo_f303re" in fitting and "nucleo_f401re" in fitting and "nucleo_g431rb" not in fitting


def test_a_board_says_how_its_ram_is_reached() -> None:
    shown = tinygen("boards", "nucleo_h743zi").stdout
    assert "dtcm at 0x20000000, 128.0 kB, tightly coupled, not reached by DMA" in shown
    assert "sram4 at 0x38000000, 64.0 kB, over a bridge" in shown and "axi_sram at 0x24000000, 512.0 kB " in shown
