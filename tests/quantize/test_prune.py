from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantize.networks import convolutional, digits, first, trained
from tinygen.errors import QuantizeError
from tinygen.quantize import masks
from tinygen.quantize.channel_groups import FIXED, Channels, channels_of, macs, without
from tinygen.quantize.evaluate import score_keras
from tinygen.quantize.prune import prune_channels, prune_magnitude, prune_pattern

TRAIN, VALIDATION = digits().train, digits().validation


def _sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 6, 2)),
            layers.Conv2D(8, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2DTranspose(12, 3),
            layers.PReLU(shared_axes=[1, 2]),
            layers.SeparableConv2D(8, 3, depth_multiplier=2, activation="relu"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu"),
            layers.Reshape((-1, 16)),
            layers.Conv1D(6, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(7, activation="relu"),
            layers.Dense(3),
        ]
    )


def _branches() -> keras.Model:
    """Additions, a concatenation, a gate with broadcasting, and a layer that is called twice."""
    inputs = keras.Input((8, 8, 3))
    a = layers.Conv2D(8, 3, padding="same", activation="relu", name="a")(inputs)
    b = layers.Conv2D(8, 1, activation="relu", name="b")(inputs)
    c = layers.Conv2D(4, 1, activation="relu", name="c")(inputs)
    added = layers.Add()([a, b])
    joined = layers.Concatenate()([added, c])
    gate = layers.Dense(12, activation="relu", name="gate")(layers.GlobalAveragePooling2D(keepdims=True)(joined))
    gated = layers.Multiply()([joined, gate])
    last = layers.Conv2D(6, 1, activation="relu", name="last")(gated + joined)
    fixed = layers.Conv2D(6, 1, activation="relu", name="fixed")(last)
    shared = layers.Dense(6, activation="relu", name="shared")
    twice = layers.Maximum()([shared(fixed), shared(shared(fixed))])
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(layers.GlobalMaxPooling2D()(twice)))


MODELS: dict[str, Callable[[], keras.Model]] = {
    "residual": convolutional,
    "sequential": _sequential,
    "branches": _branches,
}


def _randomise(model: keras.Model) -> None:
    rng = np.random.default_rng(5)
    model.set_weights(
        [
            rng.uniform(0.1, 1, w.shape) * np.where(w.ndim > 1, rng.choice([-1, 1], w.shape), 1)
            for w in model.get_weights()
        ]
    )


def _silence(model: keras.Model, channels: Channels, alive: Any) -> None:
    """Make the channels that are not alive give zero, layer by layer."""
    for site in channels.sites:
        if getattr(site.call.layer, "weights", None):
            weights = site.call.layer.get_weights()
            for index, weight in enumerate(weights):
                if site.kind == "BatchNormalization" and index > 1:
                    continue  # mean and variance; gamma and beta at zero are enough
                if site.kind == "SeparableConv2D" and index == 0:
                    continue
                mask = alive[site.outputs]
                if site.kind == "DepthwiseConv2D" and weight.ndim > 1:
                    weights[index] = weight * mask.reshape(weight.shape[-2:])
                elif site.kind == "Conv2DTranspose" and weight.ndim > 1:
                    weights[index] = weight * mask[:, np.newaxis]
                else:
                    weights[index] = weight * mask
            site.call.layer.set_weights(weights)


@pytest.mark.parametrize("name", MODELS)
def test_the_smaller_graph_computes_what_the_graph_with_silent_channels_does(name: str) -> None:
    keras.utils.set_random_seed(1)
    model = MODELS[name]()
    _randomise(model)
    channels = channels_of(model)
    rng = np.random.default_rng(2)
    alive = np.ones(channels.size, bool)
    for group in channels.groups:
        alive[rng.choice(group, len(group) // 2, replace=False)] = False
    smaller = without(model, channels, alive)
    _silence(model, channels, alive)
    x = rng.normal(size=(4, *model.input_shape[1:])).astype(np.float32)
    wanted = np.asarray(model(x))
    np.testing.assert_allclose(np.asarray(smaller(x)), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    assert smaller.count_params() < 0.8 * model.count_params()
    assert macs(channels_of(smaller), np.ones(channels_of(smaller).size, bool)) == macs(channels, alive)


def test_channels_that_are_added_are_removed_together() -> None:
    channels = channels_of(_branches())
    outputs = {site.name: site.outputs for site in channels.sites}
    np.testing.assert_array_equal(outputs["a"], outputs["b"])
    assert not set(outputs["a"]) & set(outputs["c"])
    np.testing.assert_array_equal(outputs["gate"], np.concatenate([outputs["a"], outputs["c"]]))
    assert (outputs["last"] != FIXED).all()


def test_what_a_layer_reads_that_is_not_understood_stays() -> None:
    outputs = {site.name: site.outputs for site in channels_of(_branches()).sites}
    assert "shared" not in outputs  # called three times
    assert (outputs["fixed"] == FIXED).all()


def test_the_macs_are_those_of_the_layers() -> None:
    channels = channels_of(convolutional(width=8))
    alive = np.ones(channels.size, bool)
    assert macs(channels, alive) == 16 * (9 * 8 + 9 * 8 + 8 * 8 + 9 * 8 * 16) + 4 * 16 * 10


def test_pruned_channels_meet_the_budget_and_the_accuracy_recovers() -> None:
    model = trained()
    pruned = prune_channels(model, TRAIN, VALIDATION, share=0.5, rounds=1, epochs=3, learning_rate=1e-2)
    before, after = (macs(found, np.ones(found.size, bool)) for found in (channels_of(model), channels_of(pruned)))
    assert 0.3 * before < after <= 0.5 * before
    assert all(pruned.get_layer(name).filters % 4 == 0 for name in ("stem", "pointwise", "wide"))
    assert pruned.get_layer("stem").filters == pruned.get_layer("pointwise").filters
    assert model.get_layer("wide").filters == 16  # the model that was given stays as it was
    assert score_keras(pruned, VALIDATION).accuracy > score_keras(model, VALIDATION).accuracy - 0.08


def test_layers_can_be_given_their_channels_by_name() -> None:
    pruned = prune_channels(trained(), TRAIN, VALIDATION, keep={"wid*": 0.25}, rounds=3, epochs=0)
    assert pruned.get_layer("wide").filters == 4
    assert pruned.get_layer("stem").filters == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": {"nothing*": 0.5}}, r"keep: nothing\*: no layer with that name can lose channels, expected .*stem"),
        ({"share": 0.01}, "cannot be made that small .* expected .*; keep a larger share"),
        ({"share": 1.5}, "a share of a model is between 0 and 1, found 1.5"),
    ],
)
def test_impossible_wishes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(QuantizeError, match=message):
        prune_channels(convolutional(), first(TRAIN, 64), VALIDATION, epochs=0, rounds=1, **options)


def test_magnitude_pruning_leaves_exactly_the_wanted_zeros() -> None:
    pruned = prune_magnitude(trained(), TRAIN, VALIDATION, sparsity=0.6, epochs=2, learning_rate=5e-3)
    for name in ("stem", "pointwise", "wide", "classifier"):
        kernel = pruned.get_layer(name).get_weights()[0]
        assert (kernel == 0).sum() == round(0.6 * kernel.size)
    assert (pruned.get_layer("depthwise").get_weights()[0] != 0).all()
    assert score_keras(pruned, VALIDATION).accuracy > score_keras(trained(), VALIDATION).accuracy - 0.05


def test_two_of_four_is_shared_by_the_filters_of_a_block() -> None:
    pruned = prune_pattern(trained(), first(TRAIN, 256), VALIDATION, pattern="2:4", epochs=2, learning_rate=5e-3)
    for name, block in (("wide", 4), ("pointwise", 4), ("classifier", 8)):
        kernel = pruned.get_layer(name).get_weights()[0]
        fours = (kernel == 0).reshape(-1, 4, kernel.shape[-1])
        np.testing.assert_array_equal(fours[:, 0], fours[:, 2])
        np.testing.assert_array_equal(fours[:, 1], fours[:, 3])
        np.testing.assert_array_equal(fours[:, 0], ~fours[:, 1])
        np.testing.assert_array_equal(fours[..., :block], np.repeat(fours[..., :1], block, axis=2))
    assert (pruned.get_layer("stem").get_weights()[0] != 0).all()  # one input channel: no four of them


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(QuantizeError, match="no such pattern of zeros, found 3:4, expected 2:4, pairs, 2:4 free"):
        prune_pattern(convolutional(), TRAIN, VALIDATION, pattern="3:4")


KERNEL = np.random.default_rng(7).normal(size=(3, 3, 10, 6)).astype(np.float32)


def test_two_of_four_keeps_the_larger_two() -> None:
    mask = masks.two_of_four(KERNEL, 1.0, False)
    fours = np.abs(KERNEL).reshape(9, 10, 6)[:, :8].reshape(9, 2, 4, 6)
    kept = mask.reshape(9, 10, 6)[:, :8].reshape(9, 2, 4, 6)
    assert (kept.sum(axis=2) == 2).all()
    assert (np.where(kept, fours, np.inf).min(axis=2) > np.where(kept, 0, fours).max(axis=2)).all()
    assert mask[:, :, 8:].all()


def test_pairs_drop_the_least_energy_of_the_layer() -> None:
    mask = masks.pairs(0.25)(KERNEL, 1.0, False).reshape(9, 10, 6)
    whole = mask[:, :8].reshape(9, 2, 4, 6)
    np.testing.assert_array_equal(whole, np.repeat(whole[..., :1], 6, axis=3))  # six filters: a block and its rest
    np.testing.assert_array_equal(whole[:, :, :2], whole[:, :, 2:])
    assert (~whole[:, :, :2, 0]).sum() == round(0.25 * 9 * 2 * 2)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("mask", [masks.two_of_four, masks.shared_two_of_four, masks.smallest(0.5), masks.pairs(0.5)])
def test_zeros_rise_with_the_share(mask: masks.Mask, share: float) -> None:
    kernel = KERNEL[:, :, :8]
    zeros = (~mask(kernel, share, False)).sum()
    assert zeros == pytest.approx(share * 0.5 * kernel.size, abs=8)


def test_layers_that_are_joined_keep_multiples_of_four_each() -> None:
    channels = channels_of(_branches())
    sizes = sorted(len(group) for group in channels.groups)
    assert sizes == [4, 6, 8]  # c with a part of the gate; last; a and b with the other part of it
