"""A layer's weights as the mask of those that stay when others become zero, free or in the patterns that kernels skip.

Kernels are [..., inputs, filters], as Keras holds them for a convolution or a dense layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinygen.ir import Array

GROUP = 4
"""Inputs are looked at in fours."""
PAIRS = ((0, 2), (1, 3))
"""The two halves of four inputs: what the kernels with the DSP extension read as one word after a byte extension."""

Mask = Callable[[Array, float, bool], Array]
"""mask(kernel, share, dense): True where a weight stays, with `share` of the zeros that there are to be in the end."""


def smallest(sparsity: float) -> Mask:
    """Any weights: the `sparsity` of them that are smallest become zero."""

    def mask(kernel: Array, share: float, dense: bool) -> Array:
        magnitudes = np.abs(kernel).ravel()
        kept = np.ones(kernel.size, bool)
        kept[np.argsort(magnitudes, kind="stable")[: round(share * sparsity * kernel.size)]] = False
        return kept.reshape(kernel.shape)

    return mask


def two_of_four(kernel: Array, share: float, dense: bool) -> Array:
    """Two of each four inputs of each filter: the pattern of Mishra et al., "Accelerating sparse deep neural networks"
    (2021). Inputs that do not fill four stay.
    """
    rows, whole = _fours(kernel)
    order = np.abs(rows).argsort(axis=2, kind="stable").argsort(axis=2, kind="stable")
    lost = np.where(order < 2, np.abs(rows), 0).sum(axis=2, keepdims=True)
    return _placed(kernel, whole, (order >= 2) | ~_first(lost, share))


def shared_two_of_four(kernel: Array, share: float, dense: bool) -> Array:
    """Of each four inputs one pair of PAIRS, the same in a block of filters: what the sparse kernels exploit."""
    return _by_pairs(kernel, dense, lambda energies: _weaker(energies) & _first(energies.min(2, keepdims=True), share))


def pairs(sparsity: float) -> Mask:
    """Any pairs of PAIRS, each for a block of filters: the `sparsity` of the layer with the least energy goes."""
    return lambda kernel, share, dense: _by_pairs(kernel, dense, lambda energies: _first(energies, share * sparsity))


def _weaker(energies: Array) -> Array:
    """[places, fours, pair, block] -> True at one pair of each two, that with less energy."""
    return np.stack([energies[:, :, 0] <= energies[:, :, 1], energies[:, :, 0] > energies[:, :, 1]], axis=2)


def _by_pairs(kernel: Array, dense: bool, dropped: Callable[[Array], Array]) -> Array:
    """The mask when of the energies [places, fours, pair, block] those go that `dropped` says."""
    rows, whole = _fours(kernel)
    blocks = list(_blocks(kernel.shape[-1], dense))
    energies = np.stack(
        [np.stack([(rows[:, :, pair, :][..., block] ** 2).sum(axis=(2, 3)) for pair in PAIRS], 2) for block in blocks],
        3,
    )
    gone = dropped(energies)
    kept = np.ones(rows.shape, bool)
    for index, block in enumerate(blocks):
        for half, pair in enumerate(PAIRS):
            for channel in pair:
                kept[:, :, channel, block] = ~gone[:, :, half, index, np.newaxis]
    return _placed(kernel, whole, kept)


def _blocks(filters: int, dense: bool) -> Iterator[slice]:
    """The filters that one run of a kernel computes; those left over share the pattern of the block before them."""
    size = 8 if dense and filters >= 8 else 4
    count = max(1, filters // size)
    for index in range(count):
        yield slice(index * size, filters if index == count - 1 else (index + 1) * size)


def _fours(kernel: Array) -> tuple[Array, int]:
    """The kernel as [places, fours of inputs, 4, filters], and how many inputs of a place are in fours."""
    inputs, filters = kernel.shape[-2:]
    whole = inputs // GROUP * GROUP
    rows = kernel.reshape(-1, inputs, filters)[:, :whole]
    return rows.reshape(len(rows), whole // GROUP, GROUP, filters), whole


def _placed(kernel: Array, whole: int, kept: Array) -> Array:
    """The mask of the fours as the mask of the kernel; the other inputs stay."""
    inputs, filters = kernel.shape[-2:]
    mask = np.ones((kernel.size // (inputs * filters), inputs, filters), bool)
    mask[:, :whole] = kept.reshape(len(mask), whole, filters)
    return mask.reshape(kernel.shape)


def _first(values: Array, share: float) -> Array:
    """True at the `share` of `values` that is smallest."""
    chosen = np.zeros(values.size, bool)
    chosen[np.argsort(values.ravel(), kind="stable")[: round(share * values.size)]] = True
    return chosen.reshape(values.shape)
