"""Turns Ctrl+C and SIGTERM into KeyboardInterrupt that no callback loses.

Python raises it wherever it is; inside a callback from C, such as a hook of an emulator, it is printed and forgotten.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked, _deferred = threading.Event(), threading.Event()


@contextmanager
def interruptible() -> Iterator[None]:
    """Meanwhile both signals raise KeyboardInterrupt, and `check` does so again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.clear()


@contextmanager
def deferred() -> Iterator[None]:
    """What is interrupted meanwhile raises KeyboardInterrupt at the end only: for calls that call back."""
    _deferred.set()
    try:
        yield
    finally:
        _deferred.clear()
    check()


def asked() -> bool:
    """Whether one of the signals came: a callback then ends what it was called by."""
    return _asked.is_set()


def check() -> None:
    """Raise KeyboardInterrupt if one of the signals came; loops that last call it."""
    if asked():
        raise KeyboardInterrupt


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _asked.set()
    if not _deferred.is_set():
        raise KeyboardInterrupt
