"""Shows a link's serial line to other programs as a pseudo-terminal."""

from __future__ import annotations

import os
import re
import select
import tty
from collections.abc import Callable

from tinygen.errors import FirmwareError
from tinygen.run.link import Link

READ_SECONDS = 0.002
"""How long the board may work before the terminal's input is looked at again."""
MOST_BYTES = 4096


def serve(link: Link, where: str, announce: Callable[[str], None]) -> None:
    """Pass bytes between the link and a new terminal, whose path is announced, until the board ends.

    Raises FirmwareError then. What other programs do not read stays, and keeps the board waiting.
    """
    inner, outer = os.openpty()
    try:
        tty.setraw(outer)  # kept open, so that programs may come and go
        os.set_blocking(inner, False)
        announce(os.ttyname(outer))
        _pass_on(link, inner, where)
    finally:
        os.close(inner)
        os.close(outer)


def _pass_on(link: Link, terminal: int, where: str) -> None:
    said = b"\n"
    while True:
        if select.select([terminal], [], [], 0)[0]:
            link.write(os.read(terminal, MOST_BYTES))
        data = link.read(READ_SECONDS)
        _write_all(terminal, data)
        said = (said + data)[-MOST_BYTES:]
        if fault := re.search(rb"\ne-\[Fault: ([^\n]*)\]\r\n", said):
            raise FirmwareError("the firmware faulted", where=where, found=fault[1].decode("ascii", "replace"))


def _write_all(terminal: int, data: bytes) -> None:
    while data:
        select.select([], [terminal], [])
        data = data[os.write(terminal, data) :]
