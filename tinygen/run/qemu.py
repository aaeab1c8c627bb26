"""Runs a firmware in a machine of QEMU, with the machine's serial port on pipes."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from tinygen.errors import FirmwareError, ToolError
from tinygen.target import Target
from tinygen.verify.board_qemu import EMULATOR, MACHINES

MOST_BYTES = 65536


class Qemu:
    """A link to a firmware in a process of QEMU, which ends with this one even when this one is killed."""

    def __init__(self, target: Target, elf: Path) -> None:
        self._target = target
        self._pending = bytearray()
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        machine = ["-M", MACHINES[target.name], "-display", "none", "-monitor", "none", "-nic", "none"]
        command = [*guard, EMULATOR, *machine, "-serial", "stdio", "-kernel", str(elf)]
        if not shutil.which(EMULATOR):
            raise ToolError(f"{EMULATOR} not found", remedy="install it, on Debian: apt-get install qemu-system-arm")
        self._files = ExitStack()
        self._complaints = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - so it is
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None  # both are pipes
        for stream in (self._process.stdin, self._process.stdout):
            self._files.enter_context(closing(stream))
        self._input, self._output = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._input, False)

    def read(self, timeout: float) -> bytes:
        """What the program has sent, waiting for the first byte."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) >= 0:
            waiting = [self._input] if self._pending else []
            readable, writable, _ = select.select([self._output], waiting, [], left)
            if writable:
                self._send()
            if readable:
                data = os.read(self._output, MOST_BYTES)
                if not data:
                    raise self._ended()
                return data
        return b""

    def write(self, data: bytes) -> None:
        """Queue `data`: the emulator takes it as fast as the program lets it."""
        self._pending += data

    def close(self) -> None:
        """End the emulator."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._files.close()

    def _send(self) -> None:
        try:
            del self._pending[: os.write(self._input, self._pending)]
        except BrokenPipeError:
            self._pending.clear()  # the emulator has ended: its output says so

    def _ended(self) -> FirmwareError:
        code = self._process.wait()
        self._complaints.seek(0)
        said = self._complaints.read().decode("utf-8", "replace").strip().splitlines()
        found = f"exit code {code}: {said[0]}" if said else f"exit code {code}"
        return FirmwareError("the emulator ended", where=self._target.name, found=found)
