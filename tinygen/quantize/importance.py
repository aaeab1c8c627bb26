"""A model and labelled samples as what each weight and each channel matters to the loss."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from tinygen.ir import Array
from tinygen.quantize.channel_groups import SEPARABLE, Channels, Site
from tinygen.quantize.data import Data
from tinygen.quantize.keras_graph import DEPTHWISE, OUTPUT_AXES
from tinygen.quantize.training import cross_entropy

BATCH = 64
BATCHES = 16
"""How many batches of the training set are looked at: the ranking settles long before a large set is through."""


def channel_importance(model: keras.Model, channels: Channels, data: Data) -> Array:
    """For each unit of `channels` the squared change of the loss that removing it would make, to first order.

    The sum of gradient times weight over all that belongs to a channel, squared, averaged over batches, and summed
    over the layers that share the channel (Molchanov et al., "Importance estimation for neural network pruning", 2019).
    """
    sites = [site for site in channels.sites if getattr(site.call.layer, "trainable_weights", None)]
    total = np.zeros(channels.size)
    for gradients in _gradients(model, data):
        for site in sites:
            products = [np.asarray(w) * gradients[w.path] for w in site.call.layer.trainable_weights]
            per_channel = sum(_per_output(site, product) for product in products)
            change = np.zeros(channels.size)
            np.add.at(change, site.outputs, per_channel)
            total += change**2
    return total


def _per_output(site: Site, product: Array) -> Array:
    """The sum of `product`, shaped as one of the weights of a layer, over all but its output channels."""
    count = len(site.outputs)
    if product.ndim == 1:
        return product if len(product) == count else np.zeros(count)
    if site.kind in DEPTHWISE:
        return np.asarray(product.reshape(-1, count).sum(axis=0))
    if site.kind in SEPARABLE and product.shape[-1] != count:
        return np.zeros(count)  # the depthwise half belongs to the input channels, which their own layers stand for
    axis = OUTPUT_AXES.get(site.kind, -1) % product.ndim
    return np.asarray(product.sum(axis=tuple(other for other in range(product.ndim) if other != axis)))


def _gradients(model: keras.Model, data: Data) -> Iterator[dict[str, Array]]:
    """Weight path -> gradient of the loss, for each batch; the model runs as at inference."""
    loss = cross_entropy(model, data.x)
    variables = model.trainable_variables

    assert data.y is not None
    for start in range(0, min(len(data.x), BATCH * BATCHES), BATCH):
        with tf.GradientTape() as tape:
            value = loss(data.y[start : start + BATCH], model(data.x[start : start + BATCH], training=False))
        values = tape.gradient(value, [variable.value for variable in variables])
        yield {
            variable.path: np.zeros(variable.shape) if value is None else np.asarray(value)
            for variable, value in zip(variables, values, strict=True)
        }
