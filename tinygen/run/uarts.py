"""Says how the UARTs that the drivers of firmware/family/ use look to a program: where their data and status lie."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Status:
    """A register of flags, by its offset: bits set while a byte waits to be read, while none does, and always."""

    offset: int
    waiting: int = 0
    empty: int = 0
    always: int = 0


@dataclass(frozen=True)
class UartModel:
    """The offsets of the register that is read for a byte, of the one that is written, and of those with flags."""

    receive: int
    send: int
    status: tuple[Status, ...]


UARTS: Mapping[str, UartModel] = MappingProxyType(
    {
        "cmsdk_uart": UartModel(receive=0x00, send=0x00, status=(Status(0x04, waiting=1 << 1),)),
        "nrf_uart": UartModel(receive=0x518, send=0x51C, status=(Status(0x108, waiting=1), Status(0x11C, always=1))),
        "pl011": UartModel(receive=0x00, send=0x00, status=(Status(0x18, empty=1 << 4, always=1 << 7),)),
        "sam_sercom": UartModel(receive=0x28, send=0x28, status=(Status(0x18, waiting=1 << 2, always=3),)),
        "stm32_usart_v1": UartModel(
            receive=0x04, send=0x04, status=(Status(0x00, waiting=1 << 5, always=1 << 7 | 1 << 6),)
        ),
        "stm32_usart_v2": UartModel(
            receive=0x24,
            send=0x28,
            status=(Status(0x1C, waiting=1 << 5, always=1 << 22 | 1 << 21 | 1 << 7 | 1 << 6),),
        ),
    }
)
"""Driver -> its peripheral. A byte is sent at once, so a transmitter is always ready."""


class Uart:
    """A UART with the bytes that the host has sent to it and those that the program has given it to send."""

    def __init__(self, model: UartModel, address: int) -> None:
        self._model, self._address = model, address
        self.received: deque[int] = deque()
        self.sent = bytearray()
        self.moved = 0
        """Bytes that the program has read or sent so far."""

    def readers(self) -> dict[int, Callable[[], int]]:
        """Address -> what reads the register there."""
        flags = {self._address + status.offset: self._flags(status) for status in self._model.status}
        return {self._address + self._model.receive: self._receive, **flags}

    def writers(self) -> dict[int, Callable[[int], None]]:
        """Address -> what writes the register there."""
        return {self._address + self._model.send: self._send}

    def _flags(self, status: Status) -> Callable[[], int]:
        return lambda: status.always | (status.waiting if self.received else status.empty)

    def _receive(self) -> int:
        self.moved += 1
        return self.received.popleft() if self.received else 0

    def _send(self, value: int) -> None:
        self.moved += 1
        self.sent.append(value & 0xFF)
