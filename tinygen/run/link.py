"""Says what a serial line to a board, emulated or real, can do."""

from __future__ import annotations

from typing import Protocol


class Link(Protocol):
    """The host's end of a board's serial port."""

    def read(self, timeout: float) -> bytes:
        """What the board has sent, waiting up to `timeout` seconds for the first byte; empty when there was none.

        Raises FirmwareError when the board is no more: its program faulted, its emulator ended, its plug was pulled.
        """

    def write(self, data: bytes) -> None:
        """Send `data` to the board."""

    def close(self) -> None:
        """Let go of the board; an emulator ends."""
