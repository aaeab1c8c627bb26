"""A Keras model as one whose layers hold few distinct weights, fine-tuned with those that are equal staying equal."""

from __future__ import annotations

import fnmatch
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tinygen.errors import QuantizeError
from tinygen.quantize.codebook import LEAST_SCALE, Codebook, fit_codebook
from tinygen.quantize.data import Data
from tinygen.quantize.keras_graph import fold_batch_norm
from tinygen.quantize.prune import DENSE_KINDS
from tinygen.quantize.training import Progress, fit

MOST = 256


def cluster(
    model: keras.Model,
    train: Data,
    validation: Data,
    *,
    values: int = 16,
    per_channel: bool = True,
    layers: str = "*",
    epochs: int = 20,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Progress | None = None,
) -> keras.Model:
    """The model without batch normalisation, each convolution and dense layer with one table of at most `values` codes.

    What is counted are the int8 weights after quantisation, by a scale for each filter (`per_channel`) or one for the
    layer: quantise it the same way. The compiler then stores 4, 3 or 2 bits a weight for 16, 8 or 4 codes. Depthwise
    layers stay as they are. Weight sharing with trained centroids is due to Han, Mao and Dally, "Deep compression:
    compressing deep neural networks with pruning, trained quantization and Huffman coding" (2016).

    Raises QuantizeError.
    """
    if not 2 <= values <= MOST:
        raise QuantizeError("that many values make no codebook", found=str(values), expected=f"2 to {MOST}")
    model = fold_batch_norm(model)
    chosen = [layer for layer in model.layers if type(layer).__name__ in DENSE_KINDS]
    chosen = [layer for layer in chosen if fnmatch.fnmatch(layer.name, layers)]
    if not chosen:
        raise QuantizeError("no layer has weights for a codebook", where=f"layers: {layers}")
    ties = [_Tie(layer.kernel, values, per_channel) for layer in chosen]
    if epochs:
        fit(
            model,
            train,
            validation,
            epochs=epochs,
            learning_rate=learning_rate,
            seed=seed,
            projections={tie.kernel.path: tie.project for tie in ties},
            progress=progress,
        )
    for tie in ties:
        tie.settle()
    return model


class _Tie:
    """The weights of one layer, held to scale times code."""

    def __init__(self, kernel: Any, values: int, per_channel: bool) -> None:
        self.kernel, self.per_channel = kernel, per_channel
        self.book = fit_codebook(np.asarray(kernel).reshape(-1, kernel.shape[-1]), values, per_channel)
        self.codes = tf.Variable(self.book.codes, dtype=tf.float32)
        self.scales = tf.Variable(self.book.scales, dtype=tf.float32)
        self._assign(self.book)

    def _assign(self, book: Codebook) -> None:
        self.kernel.assign(book.weights().reshape(self.kernel.shape))

    def project(self, kernel: Any) -> Any:
        """The weights near `kernel` that are scale times code, by a step of least squares for each of the two."""
        weights = tf.reshape(kernel, (-1, kernel.shape[-1]))
        scales: Any = self.scales
        if self.per_channel:
            parts = tf.gather(self.codes, self.book.indices)
            best = tf.reduce_sum(weights * parts, 0) / tf.reduce_sum(parts * parts, 0)
            scales = self.scales.assign(tf.maximum(best, LEAST_SCALE * tf.reduce_max(best)))
        above, below = (self._sums(terms) for terms in (weights * scales, tf.ones_like(weights) * scales**2))
        best = tf.where(self.book.fixed | (below == 0), self.codes, above / tf.maximum(below, 1e-30))
        codes = self.codes.assign(tf.clip_by_value(best, -1.0, 1.0))
        return tf.reshape(scales * tf.gather(codes, self.book.indices), kernel.shape)

    def _sums(self, terms: Any) -> Any:
        """The sum of `terms` over the weights of each code."""
        return tf.math.unsorted_segment_sum(tf.reshape(terms, [-1]), self.book.indices.ravel(), len(self.book.codes))

    def settle(self) -> None:
        """Bring the codes to multiples of 1/127, from the weights as they are now."""
        weights = np.asarray(self.kernel).reshape(self.book.indices.shape)
        self._assign(self.book.refitted(weights, self.per_channel))
