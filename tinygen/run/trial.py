"""Sends samples to a firmware and compares each of its output bytes with the NumPy reference."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinygen import reference
from tinygen.driver import Compiled
from tinygen.errors import FirmwareError
from tinygen.ir import DTYPES, Array
from tinygen.program import Port
from tinygen.quant import Numerics
from tinygen.run.session import Cycles, Session
from tinygen.verify.samples import Sample


@dataclass(frozen=True)
class Difference:
    """The first element of an output that is not the reference's."""

    sample: int
    output: int
    element: tuple[int, ...]
    found: str
    expected: str
    differing: int
    elements: int

    def __str__(self) -> str:
        where = "".join(f"[{i}]" for i in self.element)
        return (
            f"the firmware differs from the NumPy reference in sample {self.sample}, output {self.output}{where}: "
            f"found {self.found}, expected {self.expected} ({self.differing} of {self.elements} elements differ)"
        )


@dataclass(frozen=True)
class Layer:
    """The cycles of one layer in the last inference."""

    layer: str
    cycles: int


@dataclass(frozen=True)
class Trial:
    """What a firmware did with the samples."""

    vendor: str
    """Whose firmware it says it is."""
    samples: int
    elements: int
    difference: Difference | None
    microseconds: tuple[int, ...]
    """Of each inference, by the board's own clock."""
    cycles: int | None
    """Of the last inference."""
    layers: tuple[Layer, ...]
    correct: int | None
    """Samples whose greatest output is at their label, when there are labels."""

    def as_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {
            "same": self.difference is None,
            **asdict(self),
            "microseconds_min": min(self.microseconds, default=None),
            "microseconds_median": self.median_microseconds,
            "accuracy": self.accuracy,
        }

    @property
    def median_microseconds(self) -> float | None:
        """The time of a usual inference."""
        return statistics.median(self.microseconds) if self.microseconds else None

    @property
    def accuracy(self) -> float | None:
        """Share of samples with the right label."""
        return None if self.correct is None or not self.samples else self.correct / self.samples


def try_out(
    session: Session,
    compiled: Compiled,
    samples: Sequence[Sample],
    labels: Array | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Trial:
    """Run the samples on the firmware up to the first difference; raises FirmwareError."""
    vendor, name = session.name(), session.model()
    if name != compiled.program.name:
        raise FirmwareError("the firmware has another model", found=name, expected=compiled.program.name)
    times: list[int] = []
    elements = correct = 0
    difference = None
    for number, sample in enumerate(samples):
        session.load(_bytes(compiled.program.inputs, sample))
        times.append(session.infer())
        found = _values(compiled.program.outputs, session)
        difference = _compare(compiled, number, sample, found)
        if difference:
            break
        elements += sum(value.size for value in found)
        correct += labels is not None and int(found[0].ravel().argmax()) == int(labels[number])
        progress(number + 1)
    cycles = session.cycles() if times else None
    return Trial(
        vendor,
        len(times),
        elements,
        difference,
        tuple(times),
        cycles.total if cycles else None,
        _layers(compiled, cycles),
        None if labels is None else correct,
    )


def _bytes(ports: Sequence[Port], sample: Sample) -> bytes:
    """The inputs one after another, as the firmware takes them."""
    pairs = zip(ports, sample, strict=True)
    return b"".join(np.ascontiguousarray(value, DTYPES[port.tensor.dtype]).tobytes() for port, value in pairs)


def _values(ports: Sequence[Port], session: Session) -> list[Array]:
    raw = session.outputs([port.tensor.bytes for port in ports])
    pairs = zip(ports, raw, strict=True)
    return [np.frombuffer(data, DTYPES[port.tensor.dtype]).reshape(port.tensor.shape) for port, data in pairs]


def _compare(compiled: Compiled, number: int, sample: Sample, found: Sequence[Array]) -> Difference | None:
    """The first difference of the outputs from the reference's, byte for byte."""
    values = reference.run(compiled.graph, sample, Numerics(compiled.manifest["numerics"]))
    for output, (value, tensor) in enumerate(zip(found, compiled.graph.outputs, strict=True)):
        expected = values[tensor].reshape(value.shape)
        bits = f"u{value.dtype.itemsize}"
        wrong = np.ascontiguousarray(value).view(bits) != np.ascontiguousarray(expected).view(bits)
        if wrong.any():
            element = tuple(int(i) for i in np.argwhere(wrong)[0])
            shown = str(value[element]), str(expected[element])
            return Difference(number, output, element, *shown, int(wrong.sum()), wrong.size)
    return None


def _layers(compiled: Compiled, cycles: Cycles | None) -> tuple[Layer, ...]:
    """The cycles of each layer under its name, if the firmware counts the layers of this model."""
    if cycles is None or len(cycles.layers) != len(compiled.program.calls):
        return ()
    pairs = zip(compiled.program.calls, cycles.layers, strict=True)
    return tuple(Layer(call.comment.removeprefix(f"layer {call.layer}, "), count) for call, count in pairs)
