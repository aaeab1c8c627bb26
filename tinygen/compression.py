"""Turns a compiled model into what the zeros and the repeated values of its weights bring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.driver import Compiled
from tinygen.ir import Array
from tinygen.ops import codes

WEIGHTS = 1
"""Which input they are."""
WEIGHTED = ("conv_2d", "fully_connected")
"""Operators whose kernels know of zeros and of few values; the weights of all others are few."""
FEW_ZEROS = 0.1
"""Of a layer's weights: fewer are no pruning, they come by rounding."""
SPARSE, PACKED = "sparse", "packed"
"""What the names of the kernels say that leave zeros out, and of those with weights in fewer bits."""


@dataclass(frozen=True)
class Layer:
    """The weights of a layer."""

    location: str
    weights: int
    zeros: int
    left_out: bool
    """Whether its kernel leaves zeros out."""
    bits: int | None
    """Of a weight, where they take few enough values to be stored in less than a byte."""
    packed: bool
    """Whether they are."""
    saving_bytes: int
    """What that saves."""

    @property
    def pruned(self) -> bool:
        """Whether there are more zeros than rounding makes."""
        return self.zeros >= FEW_ZEROS * self.weights


def layers(compiled: Compiled) -> tuple[Layer, ...]:
    """Those layers whose kernels may know of zeros and of few values."""
    chosen = [choice for choice in compiled.choices if choice and choice.context.node.op in WEIGHTED]
    return tuple(_layer(c.context.node.location, c.context.constant(WEIGHTS), c.variant.name) for c in chosen)


def _layer(location: str, weights: Array, kernel: str) -> Layer:
    rows = weights.reshape(len(weights), -1)
    coded = codes.find(rows)
    zeros = int(rows.size - np.count_nonzero(rows))
    names = kernel.split("_")
    saving = rows.size - coded.bytes if coded else 0
    bits = coded.bits if coded else None
    return Layer(location, rows.size, zeros, SPARSE in names, bits, PACKED in names, saving)


def summary(found: tuple[Layer, ...], board: bool = True) -> list[tuple[str, str]]:
    """(what, what of it is used, or why not) where there is something to tell; without a `board`, what may be used."""
    return [
        *_zeros([layer for layer in found if layer.pruned], board),
        *_values([layer for layer in found if layer.bits]),
    ]


def _zeros(pruned: list[Layer], board: bool) -> list[tuple[str, str]]:
    if not pruned:
        return []
    share = 100 * sum(layer.zeros for layer in pruned) // sum(layer.weights for layer in pruned)
    used = sum(layer.left_out for layer in pruned)
    text = f"{share} % of the weights of {_layers(len(pruned))}"
    if not board:
        return [("zeros", f"{text}; `tinygen compile --board` tells whether a kernel leaves them out")]
    if used == len(pruned):
        return [("zeros", f"{text}, all of them left out")]
    left = f"left out in {used}; those of the others" if used else "they"
    why = "bring nothing: too few, or not in the blocks that kernels for this core skip (docs/compression.md)"
    return [("zeros", f"{text}: {left} {why}")]


def _values(few: list[Layer]) -> list[tuple[str, str]]:
    if not few:
        return []
    packed = [layer for layer in few if layer.packed]
    saved = sum(layer.saving_bytes for layer in packed)
    open_ = sum(layer.saving_bytes for layer in few) - saved
    text = f"the weights of {_layers(len(few))} take 16 values at most"
    if packed:
        return [("few values", f"{text}; {len(packed)} stored in {_bits(packed)} bits each, {saved:,} bytes less")]
    return [("few values", f"{text}: --optimize compact or flash stores them in about {open_:,} bytes less")]


def _bits(packed: list[Layer]) -> str:
    return " or ".join(str(bits) for bits in sorted({layer.bits for layer in packed if layer.bits}))


def _layers(count: int) -> str:
    return f"{count} layer{'s' if count > 1 else ''}"
