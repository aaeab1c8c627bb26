"""The record of a profile: what each layer of an inference took on a board, and what all of them rest on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any

from tinygen.budget import Budget
from tinygen.profile.counts import Counts
from tinygen.target import Target

UNICORN, SIMAVR, QEMU = "Unicorn", "simavr", "QEMU"


@dataclass(frozen=True)
class LayerProfile:
    """One layer; `kernel` names its template."""

    layer: int
    operator: str
    shapes: str
    kernel: str
    function: str
    macs: int
    counts: Counts


@dataclass(frozen=True)
class Profile:
    """One inference on a board; `program` is what was built: the board's firmware, or the model alone."""

    model: str
    board: Target
    emulator: str
    program: str
    seed: int
    layers: tuple[LayerProfile, ...]
    stack_bytes: int
    layer_code_bytes: int
    """Flash that the functions of the layers take."""
    budget: Budget

    @property
    def total(self) -> Counts:
        """All layers together."""
        start = Counts(0, 0, 0, 0, 0, 0)
        return reduce(add, (layer.counts for layer in self.layers[1:]), self.layers[0].counts) if self.layers else start

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers."""
        return sum(layer.macs for layer in self.layers)

    def milliseconds(self, stalls: int | None = 0) -> float | None:
        """The inference at the board's clock, with so many cycles of waiting for the flash."""
        cycles = self.total.cycles
        return None if cycles is None or stalls is None else 1000 * (cycles + stalls) / self.board.clock_hz

    def share(self, counts: Counts) -> float:
        """Of the inference's cycles; of its instructions where those are all that is known."""
        total = self.total
        part, whole = (
            (counts.instructions, total.instructions) if counts.cycles is None else (counts.cycles, total.cycles)
        )
        return part / whole if whole else 0.0

    @property
    def waits(self) -> str:
        """The wait states of the board's flash, in words."""
        count = self.board.flash_wait_states
        return f"{count} flash wait state{'' if count == 1 else 's'}"

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the figures rest on, a line each."""
        return tuple(_assumptions(self))

    def costliest(self, top: int | None = None) -> list[LayerProfile]:
        """The layers, the one with the largest share first; only so many."""
        return sorted(self.layers, key=lambda layer: -self.share(layer.counts))[:top]

    def as_json(self, top: int | None = None) -> dict[str, Any]:
        """The same facts as plain data, in order of the layers or of their shares where there are not to be all."""
        total = self.total
        return {
            "model": self.model,
            "board": self.board.name,
            "core": self.board.core.name,
            "clock_hz": self.board.clock_hz,
            "flash_wait_states": self.board.flash_wait_states,
            "emulator": self.emulator,
            "program": self.program,
            "seed": self.seed,
            "layers": [self._layer_json(layer) for layer in (self.costliest(top) if top else self.layers)],
            "total": {
                "macs": self.macs,
                **_counts_json(total, self.macs),
                "milliseconds_zero_wait": self.milliseconds(),
                "milliseconds": self.milliseconds(total.stall_cycles),
                "milliseconds_without_prefetch": self.milliseconds(total.unaided_stall_cycles),
            },
            "flash": self._flash_json(),
            "ram_bytes": self.budget.footprint.ram_bytes,
            "stack_bytes": self.stack_bytes,
            "stack_bound_bytes": self.budget.footprint.inference_stack.bytes,
            "budget": self.budget.as_json(),
            "assumptions": list(self.assumptions),
        }

    def _flash_json(self) -> dict[str, int]:
        """Flash by what is in it."""
        whole, constants = self.budget.footprint.flash_bytes, self.budget.need.constant_bytes
        parts = {"constant_bytes": constants, "layer_code_bytes": self.layer_code_bytes}
        return {"bytes": whole, **parts, "other_bytes": whole - constants - self.layer_code_bytes}

    def _layer_json(self, layer: LayerProfile) -> dict[str, Any]:
        facts = asdict(layer)
        del facts["counts"]
        return {**facts, **_counts_json(layer.counts, layer.macs), "share": self.share(layer.counts)}


def _counts_json(counts: Counts, macs: int) -> dict[str, Any]:
    reads = [counts.constant_read_bytes, counts.literal_read_bytes]
    return {
        **asdict(counts),
        "flash_read_bytes": None if counts.constant_read_bytes is None else sum(read or 0 for read in reads),
        "cycles_per_mac": counts.cycles / macs if macs and counts.cycles is not None else None,
        "instructions_per_mac": counts.instructions / macs if macs else None,
    }


def _assumptions(found: Profile) -> Iterator[str]:
    board = found.board
    if found.emulator == QEMU:
        yield "instructions, exact; QEMU does not tell cycles, and MVE instructions take two and overlap"
        return
    if found.emulator == SIMAVR:
        yield "cycles of the real chip (simavr), built with -Os without optimisation at link time"
        return
    yield f"cycles by Arm's instruction timings for {board.core.name}, one instruction at a time"
    if board.flash_wait_states is None:
        yield "this board's flash wait states are not known: its real time is longer"
    elif board.flash_wait_states:
        yield (
            f"{found.waits} a 16-byte line that is not in a cache of 1 KB for code or "
            "256 B for data (assumed); code that runs on is fetched ahead, or not (the second figure)"
        )
    else:
        yield "no flash wait states at this board's clock"
