"""A layer's weights as a few codes, an index of one for each weight, and a scale for each filter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir import Array

LIMIT = 127
"""Weights of int8 models are from -127 to 127, and the largest of each filter is one of the two."""
ROUNDS = 30
STARTS = (1.0, 0.7, 0.5, 0.35)
"""First scales of the filters, as shares of their largest weights."""
LEAST_SCALE = 1e-3
"""The scale of a filter that is nearly zero, as a share of the layer's largest: its bias must fit into int32."""


@dataclass(frozen=True, eq=False)
class Codebook:
    """Weight [k, filter] = scales[filter] * codes[indices[k, filter]], codes from -1 to 1."""

    codes: Array
    indices: Array
    scales: Array
    fixed: Array
    """Of each code whether it is -1 or 1 for good."""

    def weights(self) -> Array:
        """The weights, [k, filters] float32."""
        return np.asarray(self.scales * self.codes[self.indices], np.float32)

    def refitted(self, weights: Array, per_channel: bool) -> Codebook:
        """The same indices with the scales and codes of `weights`; with a scale for each filter the codes are n/127."""
        scales = self.scales
        if per_channel:
            anchors = self.fixed[self.indices].argmax(axis=0)
            scales = _floored(np.abs(weights[anchors, np.arange(weights.shape[1])]).astype(np.float64))
        codes = _best_codes(weights.astype(np.float64), self.indices, scales, self.codes, self.fixed)
        if per_channel:
            codes = np.round(codes * LIMIT) / LIMIT
        return Codebook(codes, self.indices, scales, self.fixed)


def fit_codebook(weights: Array, values: int, per_channel: bool) -> Codebook:
    """At most `values` codes for `weights` [k, filters], by k-means.

    One table for the whole layer in both cases, so that it is stored once. With a scale for each filter the codes are
    those of the int8 numbers, -1 and 1 are two of them, and each filter has one of these: then a converter that scales
    by the largest weight of each filter finds the codes again. Lloyd's algorithm; scales and codes are least squares in
    turn, from several first scales, because large ones leave the many small weights to few codes.
    """
    weights = weights.astype(np.float64)
    if not per_channel:
        return _lloyd(weights, np.full(weights.shape[1], np.abs(weights).max()), values, False)
    norms = np.maximum(np.linalg.norm(weights, axis=0), 1e-12)
    equal = weights / norms  # batch normalisation leaves some filters large: the error of each counts by its own size
    books = [_lloyd(equal, np.abs(equal).max(axis=0) * start, values, True) for start in STARTS]
    best = min(books, key=lambda book: float(((book.weights() - equal) ** 2).sum()))
    return replace(best, scales=_floored(best.scales * norms))


def _lloyd(weights: Array, scales: Array, values: int, per_channel: bool) -> Codebook:
    """The codebook that Lloyd's algorithm comes to from `scales` and equally spaced or equally frequent codes."""
    scales = _floored(scales)
    fixed = np.zeros(values, bool)
    fixed[[0, -1]] = per_channel
    ends = np.linspace(0, 1, values)
    codes = 2 * ends - 1 if per_channel else np.quantile(weights / scales, ends)
    indices = _nearest(weights / scales, codes, per_channel)
    for _ in range(ROUNDS):
        if per_channel:
            scales = best_scales(weights, codes[indices])
        codes = _best_codes(weights, indices, scales, codes, fixed)
        indices = _nearest(weights / scales, codes, per_channel)
    return Codebook(codes, indices, scales, fixed)


def best_scales(weights: Array, parts: Array) -> Array:
    """For each filter the scale with which `parts` come nearest to `weights`."""
    return _floored((weights * parts).sum(axis=0) / np.maximum((parts**2).sum(axis=0), 1e-12))


def _floored(scales: Array) -> Array:
    return np.asarray(np.maximum(scales, max(LEAST_SCALE * float(scales.max()), 1e-6)))


def _nearest(ratios: Array, codes: Array, anchored: bool) -> Array:
    """The index of the code nearest to each ratio; if `anchored`, the largest of each filter gets -1 or 1."""
    order = np.argsort(codes, kind="stable")
    borders = (codes[order][1:] + codes[order][:-1]) / 2
    indices = order[np.searchsorted(borders, ratios)]
    if anchored:
        rows, filters = np.abs(ratios).argmax(axis=0), np.arange(ratios.shape[1])
        indices[rows, filters] = np.where(ratios[rows, filters] < 0, 0, len(codes) - 1)
    return np.asarray(indices)


def _best_codes(weights: Array, indices: Array, scales: Array, codes: Array, fixed: Array) -> Array:
    """Codes that come nearest to the weights that use them; one that none uses goes to where the error is largest."""
    above = np.bincount(indices.ravel(), (weights * scales).ravel(), len(codes))
    below = np.bincount(indices.ravel(), np.broadcast_to(scales**2, weights.shape).ravel(), len(codes))
    best = np.where(fixed | (below == 0), codes, above / np.maximum(below, 1e-30))
    unused = np.flatnonzero((below == 0) & ~fixed)
    if len(unused):
        errors = np.abs(weights - scales * best[indices]).ravel()
        worst = np.argsort(-errors, kind="stable")[: len(unused)]
        best[unused] = (weights / scales).ravel()[worst]
    return np.clip(best, -1, 1)
