"""Turns the weights of a plain C kernel that are mostly zero into lists of those that are not.

Filters are computed side by side or one at a time. For each such block and each kernel position there is a list of the
inputs for which any of its filters has a weight, each with the weights of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import weighted
from tinygen.ops.spec import Context, Kernel

OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
MOST_INPUTS = 255
"""Of a list: its length is a byte, and so is the place of an input."""
LIST_COST, ENTRY_COST, INPUT_COST, PRODUCT_COST = 8, 7, 4, 5
"""About the instructions of a list, of an entry of it beside the products, of an input without lists, of a product."""
WORTH = 0.9
"""Of the instructions of the kernel that takes all weights."""


@dataclass(frozen=True, eq=False)
class Lists:
    """The weights of a layer, so many filters at a time."""

    blocks: Array
    """[blocks, filters, positions, inputs]"""

    @property
    def kept(self) -> Array:
        """bool [blocks, positions, inputs]: whether any filter of the block has a weight."""
        return np.asarray(self.blocks.any(axis=1))

    @property
    def cost(self) -> int:
        """About the instructions for one output of each filter."""
        blocks, filters, positions, _ = self.blocks.shape
        entries = int(self.kept.sum()) * (ENTRY_COST + PRODUCT_COST * int(filters))
        return entries + LIST_COST * int(blocks * positions)

    @property
    def bytes(self) -> Array:
        """int8: for each block and position the number of inputs, then each with its weights."""
        lists = (
            (block[:, position], np.flatnonzero(kept[position]))
            for block, kept in zip(self.blocks, self.kept, strict=True)
            for position in range(kept.shape[0])
        )
        runs = [np.append(len(places), np.vstack([places, rows[:, places]]).T) for rows, places in lists]
        return np.concatenate(runs).astype(np.uint8).view(np.int8)


def applies(context: Context, filters: int) -> bool:
    """Whether the lists take clearly fewer instructions than all weights, of a group of so many filters."""
    if weighted.weights_zero_point(context, OPERANDS) or context.input(OPERANDS.weights).size == 0:
        return False
    lanes = len(weighted.lanes(filters, 1)["lanes"])
    weights, best = context.constant(OPERANDS.weights), _best(context, lanes)
    return best is not None and best.cost <= WORTH * weights.size * (INPUT_COST / lanes + PRODUCT_COST)


def kernel(context: Context, plain: Kernel) -> Kernel:
    """`plain` with its weights as lists."""
    lanes = len(plain.values["lanes"])
    best = _best(context, lanes)
    assert best is not None  # proved by applies
    count = best.blocks.shape[1]
    values: Mapping[str, Any] = {
        **plain.values,
        **weighted.lanes(count, 1),
        "lists": best.blocks.shape[2],
        "list_inputs": best.blocks.shape[3],
    }
    constants = (replace(plain.constants[0], data=best.bytes), *plain.constants[1:])
    overlaps = plain.overlaps if count == lanes else ()
    return replace(plain, values=MappingProxyType(values), constants=constants, overlaps=overlaps)


def _best(context: Context, lanes: int) -> Lists | None:
    """Side by side or one at a time; None where a kernel position has too many inputs."""
    weights = context.constant(OPERANDS.weights).astype(np.int64)
    rows = weights.reshape(len(weights), -1, weights.shape[-1])
    if rows.shape[1] == 1:
        rows = np.pad(rows, ((0, 0), (0, 0), (0, -rows.shape[2] % MOST_INPUTS if rows.shape[2] > MOST_INPUTS else 0)))
        rows = rows.reshape(len(rows), -1, min(rows.shape[2], MOST_INPUTS))
    if rows.shape[2] > MOST_INPUTS:
        return None
    ways = [Lists(rows.reshape(-1, count, *rows.shape[1:])) for count in {lanes, 1}]
    return min(ways, key=lambda way: way.cost)
