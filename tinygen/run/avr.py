"""Runs the firmware of an AVR board in simavr, with its serial port; the time of a command is that of the real chip."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import cffi

from tinygen.errors import FirmwareError, TargetError, ToolError
from tinygen.run.image import Image
from tinygen.target import Target
from tinygen.verify.board_simavr import COLOUR, DATA_SPACE, ENDINGS, INTERFACE, build_runner

NO_STOP = 0xFFFFFFFF
CHUNK_CYCLES = 200_000
"""The program runs for so long at a time; it cannot send more meanwhile than the runner keeps."""
CHUNK_OVER = ENDINGS.index("hung")
MOST_BYTES = 4096


class Avr:
    """A link to a firmware in an emulator of its very MCU, whose stack is watched."""

    def __init__(self, target: Target, image: Image) -> None:
        self._target = target
        end_of_data = image.symbol("_end") - DATA_SPACE
        self._pending = bytearray()
        self._ffi = cffi.FFI()
        self._ffi.cdef(INTERFACE)
        with tempfile.TemporaryDirectory(prefix="tinygen-") as folder:
            self._library: Any = self._ffi.dlopen(str(build_runner(Path(folder))))
        board = self._library.board_open(target.mcu.lower().encode(), target.clock_hz, bytes(image.path))
        if board == self._ffi.NULL:
            raise ToolError("simavr does not know the MCU", where=target.name, found=target.mcu)
        self._board = self._ffi.gc(board, self._library.board_close)
        self._library.board_watch(self._board, NO_STOP, end_of_data)
        port = target.uart.peripheral if target.uart else ""
        if not self._library.board_connect(self._board, (port or " ")[-1].encode()):
            raise TargetError("simavr does not have this serial port", where=target.name, found=port or "none")
        self._received = self._ffi.new(f"uint8_t[{MOST_BYTES}]")

    def read(self, timeout: float) -> bytes:
        """What the program has sent; it runs until there is something."""
        deadline = time.monotonic() + timeout
        while not (data := self._receive()) and time.monotonic() < deadline:
            del self._pending[: self._library.board_send(self._board, bytes(self._pending), len(self._pending))]
            ending = self._library.board_run(self._board, CHUNK_CYCLES)
            if ending != CHUNK_OVER:
                raise self._stopped(ENDINGS[ending])
        return data

    def write(self, data: bytes) -> None:
        """Queue `data`: the UART takes it as fast as the program lets it."""
        self._pending += data

    def close(self) -> None:
        """There is no process to end."""

    def _receive(self) -> bytes:
        count = self._library.board_receive(self._board, self._received, MOST_BYTES)
        return bytes(self._ffi.buffer(self._received, count))

    def _stopped(self, ending: str) -> FirmwareError:
        said = COLOUR.sub("", self._ffi.string(self._library.board_message()).decode(errors="replace")).strip()
        at = f"at {self._library.board_program_counter(self._board):#x}"
        found = f"{said}, {at}" if said else at
        return FirmwareError(f"the emulated firmware {ending}", where=self._target.name, found=found)
