"""Finds what makes the peak of a plan: the tensors that are kept then, and what they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tinygen.memory.lifetimes import Buffer, Part
from tinygen.memory.moments import covered
from tinygen.memory.plan import Plan


@dataclass(frozen=True)
class Held:
    """Bytes that hold a value at a moment."""

    buffer: Buffer
    part: Part
    start: int
    """Offset in the arena."""

    @property
    def end(self) -> int:
        """The offset behind them."""
        return self.start + self.part.bytes


@dataclass(frozen=True)
class Peak:
    """The moment at which most bytes are needed."""

    step: int
    """Index of the node; -1 is before the first, their number after the last."""
    bytes: int
    """How many bytes, those that two values share counted once."""
    held: tuple[Held, ...]
    """What holds them, the largest first; what lies inside another tensor that is alive is left out."""

    def shared_bytes(self, held: Held) -> int:
        """How many of its bytes are those of something larger, or before it in `held`, too."""
        others = [other for other in self.held[: self.held.index(held)] if other.buffer is not held.buffer]
        spans = [(max(held.start, other.start), min(held.end, other.end)) for other in others]
        return covered(spans)


def peak(plan: Plan) -> Peak:
    """The peak of `plan`."""
    moment = plan.peak_step
    held = [Held(b, part, offset + part.offset) for b, offset in plan.buffers for part in b.alive(moment)]
    shown: list[Held] = []
    for one in sorted(_by_tensor(held), key=lambda one: (-one.part.bytes, one.start, one.part.tensors)):
        if not any(one.buffer is other.buffer and other.start <= one.start and one.end <= other.end for other in shown):
            shown.append(one)
    step = plan.nodes[moment] if 0 <= moment < len(plan.nodes) else moment
    return Peak(step, covered([(one.start, one.end) for one in held]), tuple(shown))


def _by_tensor(held: Sequence[Held]) -> Iterator[Held]:
    """The rows of each tensor as one, as if they lay one behind another."""
    rows: dict[int, list[Held]] = {}
    for one in held:
        if one.part.row is None:
            yield one
        else:
            rows.setdefault(one.part.tensors[0], []).append(one)
    for found in rows.values():
        first = min(found, key=lambda one: one.start)
        yield replace(first, part=replace(first.part, bytes=sum(one.part.bytes for one in found)))
