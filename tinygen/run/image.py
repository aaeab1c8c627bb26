"""Reads the ELF file of a firmware: what is loaded where, and which function lies at an address."""

from __future__ import annotations

import io
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from tinygen.errors import ToolError

try:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
except ImportError:  # the extra is not installed; `read_image` says so
    ELFFile = None


@dataclass(frozen=True)
class Image:
    """A linked program: its file, what it loads at which address, its symbols, and its functions sorted by address."""

    path: Path
    segments: tuple[tuple[int, bytes], ...]
    symbols: dict[str, int]
    functions: tuple[tuple[int, int, str], ...]
    """(address, bytes, name)."""

    def symbol(self, name: str) -> int:
        """The address of a symbol; raises ToolError when the program has none of that name."""
        if name not in self.symbols:
            raise ToolError("not a firmware of tinygen for this board", where=str(self.path), found=f"no symbol {name}")
        return self.symbols[name]

    def place(self, address: int) -> str:
        """The address, with the function that it lies in."""
        after = bisect_right(self.functions, address, key=lambda function: function[0])
        start, size, name = self.functions[after - 1] if after else (0, 0, "")
        return f"{address:#010x} in {name}()" if start <= address < start + size else f"{address:#010x}"


def read_image(path: Path) -> Image:
    """The ELF file at `path`; raises ToolError."""
    if ELFFile is None:
        raise ToolError("emulation is not installed", remedy="pip install 'tinygen[emulate]'")
    try:
        elf = ELFFile(io.BytesIO(path.read_bytes()))
        table = elf.get_section_by_name(".symtab")
        found = list(table.iter_symbols()) if table else []
        loaded = [part for part in elf.iter_segments() if part["p_type"] == "PT_LOAD" and part["p_filesz"]]
        segments = tuple((int(part["p_paddr"]), bytes(part.data())) for part in loaded)
    except OSError as error:
        raise ToolError("cannot read the firmware", where=str(path), found=str(error.strerror)) from None
    except ELFError:
        raise ToolError("not an ELF file", where=str(path)) from None
    symbols = {symbol.name: int(symbol["st_value"]) for symbol in found}
    functions = sorted(
        (int(symbol["st_value"]) & ~1, int(symbol["st_size"]), symbol.name)
        for symbol in found
        if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_size"]
    )
    return Image(path, segments, symbols, tuple(functions))
