"""Turns the bytes seen at each stop of an inference into the values of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tinygen.driver import Compiled
from tinygen.errors import ToolError
from tinygen.ir import DTYPES, Array
from tinygen.program import Piece, Program

ARRAYS = "tg_board_arrays"


def arrays(program: Program) -> str:
    """C to stand behind the model's source: a table of where the arrays of its arena lie."""
    found = ", ".join(f"{array.symbol}.bytes" for array in program.arenas)
    return f"extern int8_t *const {ARRAYS}[];\nint8_t *const {ARRAYS}[] = {{{found}}};\n"


class Observer:
    """What an inference leaves at its stops, which it shows one after another."""

    def __init__(self, compiled: Compiled, read: Callable[[int, int], bytes]) -> None:
        """`read` gives so many bytes of the arena from an offset on."""
        self._compiled, self._read = compiled, read
        self._layers: list[int] = []
        self._seen: list[bytes] = []

    def stop(self, layer: int) -> None:
        """The inference shows that a part of `layer` is complete."""
        stops = self._compiled.program.stops
        if len(self._layers) < len(stops):
            self._seen += [self._read(piece.offset, piece.bytes) for piece in stops[len(self._layers)].pieces]
        self._layers.append(layer)

    def values(self) -> dict[int, Array]:
        """Tensor id -> value; raises ToolError unless the stops were those of the program."""
        expected = [stop.layer for stop in self._compiled.program.stops]
        if self._layers != expected:
            at = next((i for i, pair in enumerate(zip(self._layers, expected, strict=False)) if len(set(pair)) > 1), 0)
            found, wanted = f"{len(self._layers)} stops", f"{len(expected)} stops"
            raise ToolError("the program went astray", where=f"stop {at}", found=found, expected=wanted)
        return values(self._compiled, self._seen)


def pieces(compiled: Compiled) -> Iterator[Piece]:
    """All that an observer sees, in the order of the stops."""
    for stop in compiled.program.stops:
        yield from stop.pieces


def values(compiled: Compiled, seen: Sequence[bytes]) -> dict[int, Array]:
    """Tensor id -> value, from the bytes of each of the `pieces`."""
    tensors = compiled.graph.tensors
    found: dict[int, Array] = {}
    for piece, data in zip(pieces(compiled), seen, strict=True):
        tensor = tensors[piece.tensor]
        value = found.setdefault(piece.tensor, np.zeros(tensor.shape, DTYPES[tensor.dtype]))
        value.reshape(-1).view(np.uint8)[piece.start : piece.start + piece.bytes] = np.frombuffer(data, np.uint8)
    return found
