"""Turns layers whose weights are mostly zero into kernels of byte pairs that leave zeros out, for the DSP extension.

A block of channels multiplies two inputs at a time, those of one word of scratch. Where the weights of all its channels
for both are zero, it goes on to the next two inputs: each step says how far it is from the one before. Which inputs
share a word: of each four channels the first and the third, the second and the fourth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import byte_pairs
from tinygen.ops.byte_pairs import Finish
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Constant, Kernel

ROUND_CYCLES = 4
"""Of the branch behind a round."""
WORTH = 0.95
"""Of those cycles: a kernel that saves less is not worth its words."""
MOST_STEPS = 16
"""Of a round: 1 kB of instructions."""
LAST_ROUND = 1 << 15
MOST_DISTANCE = 1 << 16


@dataclass(frozen=True)
class Cycles:
    """Of a step, two inputs of each output by a block of channels."""

    sparse: float
    dense: float
    """In the kernel that leaves none out."""


TWO_OUTPUTS, TWO_PIXELS, OF_A_CHAIN = Cycles(18, 15), Cycles(18, 13), Cycles(18, 12)
"""By four channels; dense pixels come in chains of four, as outputs do of most convolutions."""
ONE_OUTPUT: Mapping[int, Cycles] = MappingProxyType({4: Cycles(14, 10.5), 8: Cycles(23, 17.5)})
"""Channels of a block -> its cycles."""


@dataclass(frozen=True, eq=False)
class Layer:
    """What a layer's weights leave to be done."""

    found: Sums
    order: Array
    """[steps, 2]: the two weights of each step, as indices into a row; -1 is none."""
    addresses: Array
    """[steps]: the bytes of scratch in front of their inputs."""
    size: int
    """Channels of a block."""
    cycles: Cycles

    @property
    def starts(self) -> list[int]:
        """The first channels of the blocks."""
        return byte_pairs.block_starts(len(self.found.rows), self.size)

    def kept(self, first: int) -> Array:
        """The steps of a block that have a weight, in the order of their inputs."""
        weights = self.weights(first, np.arange(len(self.order)))
        steps = np.flatnonzero(weights.any(axis=(0, 2)))
        return np.asarray(steps[np.argsort(self.addresses[steps], kind="stable")])

    def weights(self, first: int, steps: Array) -> Array:
        """[channels, steps, 2]: the weights of a block."""
        rows = np.pad(self.found.rows[first : first + self.size], ((0, 0), (0, 1)))
        return np.asarray(rows[:, self.order[steps]])

    def round_steps(self) -> int:
        """Of a round: as many as cost least."""
        return min(range(2, MOST_STEPS + 1, 2), key=lambda steps: (self.sparse_cycles(steps), steps))

    def sparse_cycles(self, round_steps: int) -> float:
        """Of all blocks, in rounds of so many steps."""
        rounds = [max(1, -(-len(self.kept(first)) // round_steps)) for first in self.starts]
        return sum(rounds) * (round_steps * self.cycles.sparse + (ROUND_CYCLES if max(rounds) > 1 else 0))

    @property
    def worth(self) -> bool:
        """Whether it takes fewer cycles than with all steps."""
        dense = self.cycles.dense * len(self.starts) * len(self.order)
        near = int(self.addresses.max()) < MOST_DISTANCE
        return near and self.sparse_cycles(self.round_steps()) <= WORTH * dense


def kernel(dense: Kernel, layer: Layer, finish: Finish, prefix: int = 0, counted: int | None = None) -> Kernel:
    """The same layer as `dense`, with the words of the steps that are left.

    `prefix` words stand in front of all blocks; word `counted` of them says how many words these have.
    """
    round_steps = layer.round_steps()
    steps = [_in_rounds(layer.kept(first), round_steps) for first in layer.starts]
    parts = [_block(finish, layer, first, kept, round_steps) for first, kept in zip(layer.starts, steps, strict=True)]
    blocks = np.concatenate(parts)
    words = np.concatenate([dense.constants[0].data[:prefix], blocks])
    if counted is not None:
        words[counted] = blocks.size
    values: Mapping[str, Any] = {
        **dense.values,
        "blocks_words": blocks.size,
        "sparse": {"round_steps": round_steps, "many_rounds": max(map(len, steps)) > round_steps},
    }
    return replace(dense, values=values, constants=(Constant("words", words), *dense.constants[1:]))


def _in_rounds(steps: Array, round_steps: int) -> Array:
    """The steps filled up with -1 to whole rounds, one at least."""
    length = max(1, -(-len(steps) // round_steps)) * round_steps
    return np.pad(steps, (0, length - len(steps)), constant_values=-1)


def _block(finish: Finish, layer: Layer, first: int, steps: Array, round_steps: int) -> Array:
    """int32: where sums start, for each two steps their distances and weights, the first channel, how to store it."""
    channels = np.arange(first, first + layer.size)
    even, odd = channels[::2], channels[1::2]
    stored = np.concatenate([finish.even[even], finish.odd[odd]], axis=1)
    parts: list[Any] = [finish.start[odd], _steps(layer, first, steps, round_steps).ravel(), [first], stored.ravel()]
    return np.concatenate(parts).astype(np.int32)


def _steps(layer: Layer, first: int, steps: Array, round_steps: int) -> Array:
    """int64 [steps / 2, words]: for each two steps both distances, then the weights of each pair of channels."""
    weights = layer.weights(first, steps) * (steps >= 0)[:, None]
    pairs = (weights[1::2] << byte_pairs.SHIFT) + weights[::2]
    halves = ((pairs[..., 1] << 16) + (pairs[..., 0] & 0xFFFF)).T.reshape(len(steps) // 2, -1)
    return np.concatenate([_distances(layer, steps, round_steps)[:, None], halves], axis=1)


def _distances(layer: Layer, steps: Array, round_steps: int) -> Array:
    """int64 [steps / 2]: of the second in the high half, of the first in the low one (halved in a round's first)."""
    kept = layer.addresses[steps[steps >= 0]]
    distances = np.zeros(len(steps), np.int64)
    distances[: len(kept)] = np.diff(kept, prepend=0)
    distances[::round_steps] //= 2
    distances[len(steps) - round_steps] |= LAST_ROUND
    return np.asarray((distances[1::2] << 16 | distances[::2]).astype(np.uint32).view(np.int32).astype(np.int64))
