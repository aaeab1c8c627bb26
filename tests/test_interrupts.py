"""Ctrl+C and SIGTERM get through wherever they come."""

from __future__ import annotations

import ctypes
import os
import signal
import threading

import pytest

from tinygen import interrupts

LOST = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def press(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_raised_at_once_and_the_handlers_come_back(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupts.interruptible():
        press(number)
    assert signal.getsignal(number) is before and not interrupts.asked()


def called_back(number: int) -> None:
    """The signal comes in a function that C calls."""
    callback = ctypes.CFUNCTYPE(None)(lambda: press(number))
    callback()


@LOST
def test_what_a_callback_lost_is_raised_again() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts.interruptible():
        called_back(signal.SIGINT)
        interrupts.check()


def test_a_deferred_one_is_raised_behind_the_call_without_a_word() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), interrupts.interruptible():
        with interrupts.deferred():
            called_back(signal.SIGINT)
            steps.append(interrupts.asked())
        steps.append(False)
    assert steps == [True]


def test_other_threads_have_no_handlers() -> None:
    def enter() -> None:
        with interrupts.interruptible():
            handlers.append(signal.getsignal(signal.SIGTERM))

    handlers: list[object] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]
