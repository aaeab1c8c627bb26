"""The example sketch: run on an emulated Arduino, and what it prints compared with the NumPy reference."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np

from tinygen import reference, target
from tinygen.driver import Model
from tinygen.ir import Array
from tinygen.quant import Numerics
from tinygen.run.avr import Avr
from tinygen.run.image import read_image

LIMIT_SECONDS = 60


class Sketch:
    """A sketch on an emulated board, and the serial monitor's two ends."""

    def __init__(self, elf: Path, board: str = "uno") -> None:
        self._link = Avr(target.load(board), read_image(elf))
        self._said = b""

    def line(self) -> str:
        """The next line that the sketch prints."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while b"\n" not in self._said:
            assert time.monotonic() < deadline, self._said
            self._said += self._link.read(1)
        line, _, self._said = self._said.partition(b"\n")
        return line.decode("ascii").strip()

    def answer(self, text: str) -> str:
        """What it says to a line of text."""
        self._link.write(text.encode("ascii"))
        return self.line()


def assert_prints_the_reference(sketch: Sketch, model: Model) -> None:
    """For nothing, some and all inputs typed, the outputs are the reference's: their decimals tell values apart."""
    source = model.graph.tensors[model.graph.inputs[0]]
    assert "numbers, then Enter" in sketch.line()
    rng = np.random.default_rng(1)
    for count in (0, source.size // 2, source.size + 2):
        stored = np.full(source.size, source.zero_point, np.int64)
        typed = rng.integers(-128, 128, count)
        stored[: min(count, source.size)] = typed[: source.size]
        words = [f"{source.scale * (value - source.zero_point):.6g}" for value in typed.tolist()]
        printed = _values(sketch.answer(" ".join(words) + "\n"))
        expected = _reference(model, stored.astype(np.int8).reshape(source.shape))
        np.testing.assert_array_equal(_stored(printed, model), expected)


def _values(line: str) -> list[float]:
    assert re.fullmatch(r"(-?\d+\.\d{4} )+in us: \d+", line), line
    return [float(text) for text in re.findall(r"-?\d+\.\d{4}", line)]


def _stored(printed: list[float], model: Model) -> Array:
    output = model.graph.tensors[model.graph.outputs[0]]
    assert output.scale > 0.001
    return np.array([round(value / output.scale) + output.zero_point for value in printed])


def _reference(model: Model, value: Array) -> Array:
    return reference.run(model.graph, [value], Numerics.TFLITE)[model.graph.outputs[0]].ravel()
