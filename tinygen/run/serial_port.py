"""Opens a serial port of this computer as a link to a board."""

from __future__ import annotations

from typing import Any

from tinygen.errors import FirmwareError, ToolError

try:
    import serial
except ImportError:  # the extra is not installed; `SerialPort` says so
    serial = None

BAUD = 115200
"""TG_BAUD of firmware/board/tg_board.h."""
WRITE_SECONDS = 10.0
"""A port that takes nothing for so long is dead."""


class SerialPort:
    """A link to a board at a serial port, 8N1."""

    def __init__(self, port: str) -> None:
        if serial is None:
            raise ToolError("pyserial is not installed", remedy="pip install 'tinygen[serial]'")
        self._name = port
        try:
            self._port: Any = serial.Serial(port, BAUD, write_timeout=WRITE_SECONDS, exclusive=True)
        except (serial.SerialException, ValueError) as error:
            reason = str(getattr(error, "strerror", None) or error)
            remedy = "`python -m serial.tools.list_ports` lists the ports"
            raise ToolError("cannot open the port", where=port, found=reason, remedy=remedy) from None

    def read(self, timeout: float) -> bytes:
        """What the board has sent, waiting for the first byte."""
        try:
            self._port.timeout = timeout
            return bytes(self._port.read(1) + self._port.read(self._port.in_waiting))
        except (serial.SerialException, OSError) as error:
            raise self._lost(error) from None

    def write(self, data: bytes) -> None:
        """Send `data` to the board."""
        try:
            self._port.write(data)
        except (serial.SerialException, OSError) as error:
            raise self._lost(error) from None

    def close(self) -> None:
        """Close the port."""
        self._port.close()

    def _lost(self, error: Exception) -> FirmwareError:
        return FirmwareError("the board is gone", where=self._name, found=str(error))
