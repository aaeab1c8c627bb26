"""Turns requests to a firmware into commands of the serial protocol, and its lines into answers."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from tinygen.errors import FirmwareError
from tinygen.run.link import Link

READY = "m-ready"
GREETING = "m-init-done"
FAULT = "e-[Fault: "
INPUT_BYTES_PER_COMMAND = 31
MOST_REPLY_BYTES = 16 << 20
"""A firmware that says more to one command has lost its way."""
BOOT_SECONDS = 3.0
"""A board that is not reset when its port opens does not greet; a boot loader keeps it from doing so for a while."""
QUIET_SECONDS = 0.2
SHOWN = 120
"""Characters of a wrong reply that are shown."""
WRAP = 1 << 32


@dataclass(frozen=True)
class Cycles:
    """Cycles of the last inference: of all, and of each layer when the firmware counts them."""

    total: int
    layers: tuple[int, ...]


class Session:
    """A conversation with a firmware at the other end of `link`; no command may take longer than `limit_seconds`."""

    def __init__(self, link: Link, where: str, limit_seconds: float) -> None:
        self._link, self._where, self._limit_seconds = link, where, limit_seconds
        self._received = bytearray()

    def greet(self, is_reset: bool) -> None:
        """Wait for the greeting after a reset; a board that may have been on already is asked to end what it is at."""
        if is_reset:
            greeting = self._lines_up_to(READY, self._limit_seconds, "the reset")
            if GREETING not in greeting:
                raise self._wrong("the reset", greeting, GREETING)
        elif not self._is_heard(READY, min(BOOT_SECONDS, self._limit_seconds)):
            self._received.clear()
            self.ask("")
            self._pass_over()

    def name(self) -> str:
        """The vendor that the firmware names."""
        return self._one(self.ask("name"), "name", r"m-name-dut-\[(.*)\]")

    def model(self) -> str:
        """The model that the firmware says it has."""
        return self._one(self.ask("profile"), "profile", r"m-model-\[(.*)\]")

    def load(self, data: bytes) -> None:
        """Send the bytes of all inputs."""
        self._one(self.ask(f"db load {len(data)}"), "db load", rf"m-\[Expecting {len(data)} bytes\]")
        for start in range(0, len(data), INPUT_BYTES_PER_COMMAND):
            part = data[start : start + INPUT_BYTES_PER_COMMAND]
            reply = self.ask(f"db {part.hex()}")
            last = start + len(part) == len(data)
            if reply != (["m-load-done"] if last else []):
                raise self._wrong("db", reply, "m-load-done" if last else READY)

    def infer(self) -> int:
        """Run the model once; the time that it took, in microseconds."""
        reply = self.ask("infer 1 0")
        laps = [int(line.removeprefix("m-lap-us-")) for line in reply if re.fullmatch(r"m-lap-us-\d+", line)]
        if len(laps) != 2 or "m-infer-done" not in reply:
            raise self._wrong("infer", reply, "two lines m-lap-us-N and m-infer-done")
        return (laps[1] - laps[0]) % WRAP

    def outputs(self, sizes: list[int]) -> list[bytes]:
        """The bytes of each output after an inference; there must be as many as `sizes` says."""
        reply = self.ask("outputs")
        found = [bytearray() for _ in sizes]
        for line in reply:
            match = re.fullmatch(r"m-output-(\d+)-((?:[0-9a-f]{2})+)", line)
            if not match or int(match[1]) >= len(sizes):
                raise self._wrong("outputs", reply, "lines m-output-I-HEX")
            found[int(match[1])] += bytes.fromhex(match[2])
        if [len(data) for data in found] != sizes:
            counts = ", ".join(str(len(data)) for data in found)
            raise self._wrong("outputs", [f"{counts} bytes"], f"{', '.join(map(str, sizes))} bytes")
        return [bytes(data) for data in found]

    def cycles(self) -> Cycles:
        """What the firmware's cycle counter says of the last inference."""
        reply = self.ask("cycles")
        total = int(self._one(reply, "cycles", r"m-cycles-(\d+)"))
        layers = [re.fullmatch(r"m-layer-(\d+)-(\d+)", line) for line in reply[:-1]]
        found = [(int(match[1]), int(match[2])) for match in layers if match]
        if [layer for layer, _ in found] != list(range(len(reply) - 1)):
            raise self._wrong("cycles", reply, "m-layer-I-CYCLES for each layer, then m-cycles-TOTAL")
        return Cycles(total, tuple(cycles for _, cycles in found))

    def ask(self, command: str) -> list[str]:
        """The lines of the reply to `command`, without its last."""
        self._link.write(f"{command}%".encode("ascii"))
        return self._lines_up_to(READY, self._limit_seconds, f"'{command[:SHOWN]}'")

    def _one(self, reply: list[str], command: str, pattern: str) -> str:
        """What the only line of that form holds."""
        matches = [match for match in (re.fullmatch(pattern, line) for line in reply) if match]
        if len(matches) != 1:
            raise self._wrong(command, reply, pattern.replace("\\", ""))
        return matches[0].group(matches[0].re.groups)

    def _is_heard(self, last: str, seconds: float) -> bool:
        """Whether that line comes within `seconds`; the others are passed over."""
        deadline = time.monotonic() + seconds
        while (line := self._line(deadline)) is not None:
            if line == last:
                return True
        return False

    def _pass_over(self) -> None:
        """Read on until the board is silent: a late greeting may have come between."""
        deadline = time.monotonic() + self._limit_seconds
        while self._link.read(QUIET_SECONDS) and time.monotonic() < deadline:
            pass
        self._received.clear()

    def _lines_up_to(self, last: str, seconds: float, what: str) -> list[str]:
        lines: list[str] = []
        deadline = time.monotonic() + seconds
        size = 0
        while (line := self._line(deadline)) != last:
            if line is None:
                said = [*lines, self._received.decode("ascii", "replace")]
                found = _shown([text for text in said if text])
                raise FirmwareError(f"no answer to {what} within {seconds:g} s", where=self._where, found=found)
            size += len(line)
            if size > MOST_REPLY_BYTES:
                raise FirmwareError(f"no end of the answer to {what}", where=self._where, found=_shown(lines))
            if line:
                lines.append(line)
        return lines

    def _line(self, deadline: float) -> str | None:
        """The next line; None when none is complete in time."""
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._received += self._link.read(left)
            if len(self._received) > MOST_REPLY_BYTES:
                found = _shown([self._received[:SHOWN].decode("ascii", "replace")])
                raise FirmwareError("a line without end", where=self._where, found=found)
        end = self._received.index(b"\n")
        line = self._received[:end].decode("ascii", "replace").rstrip("\r")
        del self._received[: end + 1]
        if line.startswith(FAULT):
            raise FirmwareError("the firmware faulted", where=self._where, found=line[len(FAULT) :].removesuffix("]"))
        return line

    def _wrong(self, command: str, reply: list[str], expected: str) -> FirmwareError:
        return FirmwareError(f"wrong answer to {command}", where=self._where, found=_shown(reply), expected=expected)


def _shown(lines: list[str]) -> str:
    text = " | ".join(lines[-3:])
    return f"'{text[-SHOWN:]}'" if text else "nothing"
