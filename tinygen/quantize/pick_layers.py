"""A calibrated model as the integer one with the fewest layers of 16-bit activations that is right often enough.

A layer counts by what the outputs lose when it has 8 bits and all others 16: two layers that need 16 bits together,
since one writes what the other reads, then both count; alone neither would gain anything. From the layer that counts
most on, as many are taken as suffice; then those are given up again that can be spared, the dearest first.

Layers one at a time, and then those kept precise that lose most, is the partial quantisation of Wu et al., "Integer
quantization for deep learning inference: principles and empirical evaluation", 2020, section 5.1.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize.data import Data
from tinygen.quantize.evaluate import Score, outputs_tflite, score
from tinygen.quantize.integer import Prepared
from tinygen.quantize.tflite_file import TfliteFile, scales_of

RANKING_SAMPLES = 128
"""Samples, spread over the set, that show what the outputs lose; all of them show what is right."""

Price = Callable[[bytes], Any]
"""A model -> what it costs, to be compared with the same of others."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Picked:
    """The model, its score, and the layers with 16-bit activations in their order: none when 8 bits suffice."""

    layers: tuple[str, ...]
    model: bytes
    score: Score


def pick_layers(
    prepared: Prepared,
    validation: Data,
    answers: Array,
    least_correct: int,
    *,
    price: Price | None = None,
    progress: Progress | None = None,
) -> Picked:
    """The model with as few such layers as bring it to `least_correct` right answers on the validation set.

    answers     those of the float model to the validation set, [samples, classes]
    price       by which layers are given up that can be spared; without it, those that count least come first

    Raises QuantizeError when 16 bits in all layers do not suffice.
    """
    trials = _Trials(prepared, validation, answers, progress)
    if trials.score(()).correct >= least_correct:
        return trials.picked(())
    layers = prepared.layers
    most = trials.score(layers)
    if most.correct < least_correct:
        found = f"{most.correct} of {most.total} right"
        raise QuantizeError("16-bit activations in all layers do not suffice", found=found, expected=str(least_correct))
    ranked = sorted(layers, key=lambda layer: -trials.loss([other for other in layers if other != layer]))
    chosen = ranked[: _fewest(ranked, lambda some: trials.score(some).correct >= least_correct)]
    return trials.picked(_spared(chosen, trials, least_correct, price))


def _fewest(ranked: Sequence[str], suffice: Callable[[Sequence[str]], bool]) -> int:
    """How many of the first layers suffice, by bisection; all of them do."""
    low, high = 1, len(ranked)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if suffice(ranked[:middle]) else (middle + 1, high)
    return low


def _spared(chosen: Sequence[str], trials: _Trials, least_correct: int, price: Price | None) -> list[str]:
    """The chosen layers without those that can be spared, the one whose loss leaves the cheapest model first."""

    def without(layer: str) -> list[str]:
        return [other for other in left if other != layer]

    left = list(chosen)
    order = left[::-1]
    if price is not None and len(left) > 1:
        order = sorted(order, key=lambda layer: price(trials.model(without(layer))))
    for layer in order:
        if len(left) > 1 and trials.score(without(layer)).correct >= least_correct:
            left = without(layer)
    return left


@dataclass(eq=False)
class _Trials:
    """Models that differ in their layers of 16 bits; each is made, and each is scored, once."""

    prepared: Prepared
    validation: Data
    answers: Array
    progress: Progress | None
    models: dict[frozenset[str], bytes] = field(default_factory=dict)
    scores: dict[frozenset[str], Score] = field(default_factory=dict)

    def model(self, layers: Collection[str]) -> bytes:
        """The model whose `layers` have 16 bits."""
        key = frozenset(layers)
        if key not in self.models:
            activations = {glob.escape(layer): 16 for layer in self.prepared.layers if layer in key}
            self.models[key] = self.prepared.integer(activations or 8)
            if self.progress is not None:  # all but one at a time, and about as many again to choose by
                self.progress(len(self.models), max(len(self.models) + 1, 2 * len(self.prepared.layers)))
        return self.models[key]

    def score(self, layers: Collection[str]) -> Score:
        """How often that model is right."""
        key = frozenset(layers)
        if key not in self.scores:
            self.scores[key] = score(outputs_tflite(self.model(layers), self.validation), self.validation)
        return self.scores[key]

    def loss(self, layers: Collection[str]) -> float:
        """The mean squared difference of that model's answers from those of the float model."""
        some = np.unique(np.linspace(0, len(self.answers) - 1, RANKING_SAMPLES).astype(int))
        model, labels = self.model(layers), self.validation.y
        assert labels is not None  # a validation set has them
        outputs = outputs_tflite(model, Data(self.validation.x[some], labels[some], self.validation.path))
        return float(((real_outputs(model, outputs) - self.answers[some]) ** 2).mean())

    def picked(self, layers: Collection[str]) -> Picked:
        """That model, with its layers in their order."""
        names = tuple(layer for layer in self.prepared.layers if layer in layers)
        return Picked(names, self.model(names), self.score(names))


def real_outputs(model: bytes, outputs: Array) -> Array:
    """The integer outputs of a model as the reals that they stand for."""
    tensor = TfliteFile(model).outputs[0]
    return np.asarray((outputs.astype(np.float64) - tensor.quantization.zeroPoint[0]) * scales_of(tensor)[0])
