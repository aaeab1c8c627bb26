"""Compares a compiled model with both references, sample by sample, layer by layer, bit for bit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import reference
from tinygen.driver import Compiled
from tinygen.errors import ToolError
from tinygen.ir import Array, Graph, Tensor
from tinygen.quant import Numerics
from tinygen.target import Target
from tinygen.verify.board import Board, emulate
from tinygen.verify.golden import Golden
from tinygen.verify.host import HostModel
from tinygen.verify.samples import Sample

BATCH = 8
"""Samples sent to the interpreter at a time."""


@dataclass(frozen=True)
class Difference:
    """The first element that is not the same on both sides."""

    ours: str
    theirs: str
    sample: int
    layer: str
    tensor: str
    element: tuple[int, ...]
    found: str
    expected: str
    differing: int
    elements: int

    def __str__(self) -> str:
        where = "".join(f"[{i}]" for i in self.element)
        return (
            f"{self.ours} differs from {self.theirs} in {self.layer}, tensor '{self.tensor}'{where}, "
            f"sample {self.sample}: found {self.found}, expected {self.expected} "
            f"({self.differing} of {self.elements} elements differ)"
        )


@dataclass(frozen=True)
class Verdict:
    """What a verification found."""

    samples: int
    layers: int
    elements: int
    """Elements compared, over all layers, samples and pairs of oracles."""
    interpreter: bool
    """Whether the reference interpreter took part."""
    emulated: str | None
    """The board whose firmware took part, in an emulator."""
    difference: Difference | None
    correct: int | None
    """Samples whose greatest output is at their label, when there are labels."""

    def as_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {"same": self.difference is None, **asdict(self), "accuracy": self.accuracy}

    @property
    def accuracy(self) -> float | None:
        """Share of samples with the right label."""
        return None if self.correct is None or not self.samples else self.correct / self.samples


def verify(
    compiled: Compiled,
    samples: Sequence[Sample],
    labels: Array | None = None,
    interpreter: bool = True,
    board: Target | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Verdict:
    """Run every sample through the C, the NumPy reference and (if asked) the interpreter, up to the first difference.

    With a `board`, the C is also cross-compiled for it and run in an emulator. The interpreter has one profile of
    numerics: under another, the NumPy reference is compared with it under that one as well, and the C with the NumPy
    reference under its own.
    """
    run = _Run(compiled)
    with tempfile.TemporaryDirectory(prefix="tinygen-") as folder, Golden() as golden:
        programs: dict[str, Board] = {"the generated C": HostModel(compiled, Path(folder) / "host")}
        if board is not None:
            programs[f"the firmware for {board.name}"] = emulate(compiled, board, Path(folder) / "board")
        for start in range(0, len(samples), BATCH):
            batch = samples[start : start + BATCH]
            truths = golden.run(compiled.model.data, batch) if interpreter else [None] * len(batch)
            for number, (sample, truth) in enumerate(zip(batch, truths, strict=True), start):
                run.compare(number, sample, truth, programs)
                if run.difference:
                    break
                if labels is not None:
                    run.judge(int(labels[number]))
                progress(number + 1)
            if run.difference:
                break
    return Verdict(
        run.samples,
        len(compiled.program.calls),
        run.elements,
        interpreter,
        board.name if board else None,
        run.difference,
        run.correct if labels is not None else None,
    )


class _Run:
    """The state of one verification."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled, self.graph = compiled, compiled.model.graph
        self.numerics = Numerics(compiled.manifest["numerics"])
        self.samples = self.elements = self.correct = 0
        self.difference: Difference | None = None
        self._outputs: list[Array] = []

    def compare(
        self,
        number: int,
        sample: Sample,
        truth: Mapping[int, Array] | None,
        programs: Mapping[str, Board],
    ) -> None:
        """One sample through all oracles."""
        computed = [tensor for node in self.graph.nodes for tensor in node.outputs]
        if truth is not None:
            missing = [tensor for tensor in computed if tensor not in truth]
            if missing:
                raise ToolError("the reference interpreter does not show every tensor", found=f"none for {missing[0]}")
            values = reference.run(self.graph, sample, Numerics.TFLITE)
            self._check(
                number, self.graph, {t: values[t] for t in computed}, truth, "the NumPy reference", "the interpreter"
            )
        values, graph = reference.run(self.graph, sample, self.numerics), self.compiled.graph
        for name, program in programs.items():
            layers, self._outputs = program.run(sample)
            self._check(number, graph, layers, values, name, "the NumPy reference")
            outputs = dict(zip(graph.outputs, self._outputs, strict=True))
            self._check(number, graph, outputs, values, f"{name} after its last layer", "the NumPy reference")
        self.samples += 1

    def judge(self, label: int) -> None:
        """Count the last sample as right or wrong."""
        self.correct += int(self._outputs[0].ravel().argmax()) == label

    def _check(
        self,
        number: int,
        graph: Graph,
        ours: Mapping[int, Array],
        theirs: Mapping[int, Array],
        who: str,
        whose: str,
    ) -> None:
        """Compare what the tensors of `graph` hold with that part of the file's tensors."""
        for i, value in ours.items():
            if self.difference:
                return
            self.elements += value.size
            tensor, expected = graph.tensors[i], graph.tensors[i].part_of(theirs[graph.tensors[i].source])
            if value.dtype != expected.dtype or value.tobytes() != expected.tobytes():
                layer = next((node.location for node in self.graph.nodes if i in node.outputs), "a model input")
                self.difference = _difference(tensor, layer, number, value, expected, who, whose)


def _difference(
    tensor: Tensor, layer: str, number: int, found: Array, expected: Array, who: str, whose: str
) -> Difference:
    """The first element that differs, at its place in the file's tensor."""
    name = tensor.name
    if found.dtype != expected.dtype or found.shape != expected.shape:
        kinds = [f"{a.dtype}{list(a.shape)}" for a in (found, expected)]
        return Difference(who, whose, number, layer, name, (), kinds[0], kinds[1], found.size, found.size)
    found, expected = (value.reshape(tensor.shape_in_file) for value in (found, expected))
    bits = f"u{found.dtype.itemsize}"
    wrong = np.ascontiguousarray(found).view(bits) != np.ascontiguousarray(expected).view(bits)
    element = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = element if tensor.channels is None else (*element[:-1], tensor.channels[element[-1]])
    return Difference(
        who,
        whose,
        number,
        layer,
        name,
        place,
        str(found[element]),
        str(expected[element]),
        int(wrong.sum()),
        wrong.size,
    )
