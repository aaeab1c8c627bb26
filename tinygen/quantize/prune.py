"""A Keras model as one with fewer channels, or with zeros among its weights, fine-tuned."""

from __future__ import annotations

import fnmatch
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize import masks
from tinygen.quantize.channel_groups import FIXED, Channels, channels_of, macs, without
from tinygen.quantize.data import Data
from tinygen.quantize.importance import channel_importance
from tinygen.quantize.keras_graph import copy_model
from tinygen.quantize.training import Progress, fit

DENSE_KINDS = frozenset({"Conv1D", "Conv2D", "Dense"})
"""Layers whose kernels are [..., inputs, filters]; a depthwise kernel is too small to lose weights."""
MULTIPLE = 4
"""Channels go in blocks of this many: kernels compute four filters at a time, a fifth costs as much as four more."""


def prune_channels(
    model: keras.Model,
    train: Data,
    validation: Data,
    *,
    share: float = 0.5,
    keep: Mapping[str, float] | None = None,
    multiple: int = MULTIPLE,
    rounds: int = 3,
    epochs: int = 30,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Progress | None = None,
) -> keras.Model:
    """A smaller graph with at most `share` of the multiply-accumulates, fine-tuned after each of several rounds.

    In each round the least important block of `multiple` channels for the multiply-accumulates that it saves goes, one
    after the other. Channels that additions and depthwise convolutions tie together go together. With `keep`
    (pattern of layer names -> share of channels) the number of channels left is given layer by layer instead.
    Filter pruning is due to Li et al., "Pruning filters for efficient ConvNets" (2017); see `channel_importance` and
    `channels_of` for the ranking and the groups. Raises QuantizeError when there is nothing to remove.
    """
    for part in keep.values() if keep else [share]:
        _check_share(part)
    channels = channels_of(model)
    full = macs(channels, _all_alive(channels))
    wanted = _wanted(channels, keep or {}, multiple)
    done = 0
    for number in range(1, rounds + 1):
        channels = channels_of(model)
        importance = channel_importance(model, channels, train)
        progressed = number / rounds
        alive = (
            _by_layer(channels, importance, {index: _between(*ends, progressed) for index, ends in wanted.items()})
            if keep
            else _by_cost(channels, importance, int(full * share**progressed), multiple)
        )
        model = without(model, channels, alive)
        these = epochs * number // rounds - done
        if these:
            report = _part_of(progress, done, epochs)
            fit(model, train, validation, epochs=these, learning_rate=learning_rate, seed=seed, progress=report)
        done += these
    return model


def _part_of(progress: Progress | None, before: int, total: int) -> Progress | None:
    """`progress` for a round that starts after `before` of all `total` epochs."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def _all_alive(channels: Channels) -> Array:
    return np.ones(channels.size, bool)


def _by_cost(channels: Channels, importance: Array, budget: int, multiple: int) -> Array:
    """What is left when blocks go, the least important for what they save first, until `budget` MACs are met."""
    alive = _all_alive(channels)
    while (now := macs(channels, alive)) > budget:
        blocks = [_weakest(group, alive, importance, multiple) for group in channels.groups]
        costs = [_price(channels, alive, block, importance, now) for block in blocks if len(block)]
        if not costs:
            raise QuantizeError(
                "the model cannot be made that small by removing channels",
                found=f"{now:,} multiply-accumulates with {multiple} channels left in every layer",
                expected=f"{budget:,}",
                remedy="keep a larger share, or use a smaller `multiple`",
            )
        alive[min(costs, key=lambda cost: cost[0])[1]] = False
    return alive


def _weakest(group: Array, alive: Array, importance: Array, multiple: int) -> Array:
    """The least important units of `group` that bring it to the next lower multiple; none if it would be empty."""
    living = group[alive[group]]
    count = (len(living) - 1) % multiple + 1
    if len(living) - count < min(multiple, len(group)):
        return living[:0]
    return living[np.argsort(importance[living], kind="stable")[:count]]


def _price(channels: Channels, alive: Array, block: Array, importance: Array, now: int) -> tuple[float, Array]:
    """(importance lost for each multiply-accumulate saved, the block)."""
    after = alive.copy()
    after[block] = False
    return importance[block].sum() / max(1, now - macs(channels, after)), block


def _wanted(channels: Channels, keep: Mapping[str, float], multiple: int) -> dict[int, tuple[int, int]]:
    """Group of `channels` -> (its channels, how many of them are to stay), for the layers that `keep` names."""
    sites = {site.name: site for site in channels.sites if site.chooses and (site.outputs != FIXED).any()}
    wanted = {}
    for pattern, part in keep.items():
        names = fnmatch.filter(sites, pattern)
        if not names:
            raise QuantizeError(
                "no layer with that name can lose channels", where=f"keep: {pattern}", expected=", ".join(sites)
            )
        units = np.concatenate([sites[name].outputs for name in names])
        for index, group in enumerate(channels.groups):
            if np.isin(group, units).any():
                wanted[index] = len(group), rounded(part, len(group), multiple)
    return wanted


def rounded(share: float, count: int, multiple: int) -> int:
    """The multiple nearest to `share` of `count` channels, one at least; all of them where they are fewer."""
    return min(count, max(multiple, round(share * count / multiple) * multiple))


def _between(first: int, last: int, progressed: float) -> int:
    """A count on the way from `first` to `last`, by equal factors."""
    return round(first * math.pow(last / first, progressed))


def _by_layer(channels: Channels, importance: Array, counts: Mapping[int, int]) -> Array:
    """What is left when each given group keeps so many channels, its most important ones."""
    alive = _all_alive(channels)
    for index, count in counts.items():
        units = channels.groups[index]
        alive[units[np.argsort(importance[units], kind="stable")[: len(units) - count]]] = False
    return alive


def prune_magnitude(
    model: keras.Model,
    train: Data,
    validation: Data,
    *,
    sparsity: float = 0.5,
    layers: str = "*",
    schedule: float = 0.5,
    epochs: int = 30,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Progress | None = None,
) -> keras.Model:
    """The model with the smallest `sparsity` of the weights of each layer set to zero, fine-tuned.

    The zeros rise as 1 - (1 - t)^3 over the first `schedule` of the epochs: most weights go early, while many are left
    (Zhu and Gupta, "To prune, or not to prune", 2017). Flash and time fall only where the compiler has kernels for such
    zeros, which for single ones it rarely has: see `prune_pattern`. Raises QuantizeError.
    """
    _check_share(sparsity)
    tuning = Tuning(schedule, epochs, learning_rate, seed, progress)
    return _masked(model, train, validation, masks.smallest(sparsity), layers, tuning)


def prune_pattern(
    model: keras.Model,
    train: Data,
    validation: Data,
    *,
    pattern: str = "2:4",
    sparsity: float = 0.5,
    layers: str = "*",
    schedule: float = 0.5,
    epochs: int = 30,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Progress | None = None,
) -> keras.Model:
    """The model with zeros in a pattern in its convolutions and dense layers, fine-tuned as in `prune_magnitude`.

    "2:4": of four inputs one of two pairs stays, the same for a block of filters, so that kernels skip the others.
    "pairs": such pairs anywhere, `sparsity` of them zero. "2:4 free": any two of four in each filter, as known from
    GPUs; no kernel here exploits that. Raises QuantizeError.
    """
    _check_share(sparsity)
    patterns = {"2:4": masks.shared_two_of_four, "pairs": masks.pairs(sparsity), "2:4 free": masks.two_of_four}
    if pattern not in patterns:
        raise QuantizeError("no such pattern of zeros", found=pattern, expected=", ".join(patterns))
    tuning = Tuning(schedule, epochs, learning_rate, seed, progress)
    return _masked(model, train, validation, patterns[pattern], layers, tuning)


@dataclass(frozen=True)
class Tuning:
    """How the training with rising zeros goes: for which share of the epochs they rise, and the rest as in `fit`."""

    schedule: float
    epochs: int
    learning_rate: float
    seed: int
    progress: Progress | None


def _masked(
    model: keras.Model, train: Data, validation: Data, mask: masks.Mask, layers: str, tuning: Tuning
) -> keras.Model:
    """A copy of `model` that was trained while more and more of its weights became zero."""
    model = copy_model(model)
    chosen = [layer for layer in model.layers if type(layer).__name__ in DENSE_KINDS]
    chosen = [layer for layer in chosen if fnmatch.fnmatch(layer.name, layers)]
    if not chosen:
        raise QuantizeError("no layer has weights that could become zero", where=f"layers: {layers}")
    kept = {layer.kernel.path: tf.Variable(np.ones(layer.kernel.shape, np.float32)) for layer in chosen}
    ramp = max(1, round(tuning.schedule * tuning.epochs))

    def rise(epoch: int, logs: Any = None) -> None:
        share = 1 - (1 - min(1, (epoch + 1) / ramp)) ** 3
        for layer in chosen:
            values = np.asarray(layer.kernel)
            zeros = mask(values, share, type(layer).__name__ == "Dense").astype(np.float32)
            kept[layer.kernel.path].assign(zeros)
            layer.kernel.assign(values * zeros)

    fit(
        model,
        train,
        validation,
        epochs=tuning.epochs,
        learning_rate=tuning.learning_rate,
        seed=tuning.seed,
        projections={path: functools.partial(tf.multiply, variable) for path, variable in kept.items()},
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=rise)],
        keep_from=ramp,
        progress=tuning.progress,
    )
    return model


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise QuantizeError("a share of a model is between 0 and 1", found=str(share), expected="0.5, say")
