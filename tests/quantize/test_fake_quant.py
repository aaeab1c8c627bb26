from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.quantize.networks import digits, trained
from tinygen.errors import QuantizeError
from tinygen.quantize.fake_quant import ActivationRounder, FakeQuantized, fake_quantize, observed_layers
from tinygen.quantize.keras_graph import calls, copy_model, fold_batch_norm

X = digits().train.x[:64]


def _twins(**settings: Any) -> FakeQuantized:
    return fake_quantize(fold_batch_norm(trained()), **settings)


def _rows(kernel: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    kept = [axis % kernel.ndim for axis in axes]
    moved = np.moveaxis(kernel, kept, range(len(kept)))
    return moved.reshape(int(np.prod(moved.shape[: len(kept)])), -1)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("per_channel", [True, False])
def test_baked_weights_lie_on_a_symmetric_grid(bits: int, per_channel: bool) -> None:
    twins, before = _twins(weights=bits, per_channel=per_channel), fold_batch_norm(trained())
    twins.bake()
    greatest = {8: 127, 4: 7}[bits]
    for name, axes in (("stem", (-1,)), ("depthwise", (-2, -1)), ("wide", (-1,)), ("classifier", (-1,))):
        kernel, float_kernel = (np.asarray(model.get_layer(name).kernel) for model in (twins.plain, before))
        rows = _rows(kernel, axes if per_channel else ())
        steps = rows / np.abs(rows).max(axis=1, keepdims=True) * greatest
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
        assert np.unique(np.round(steps)).size > 7
        assert 0 < np.abs(kernel - float_kernel).mean() < np.abs(float_kernel).mean() / greatest


def test_what_the_rounded_model_computes_with_is_what_is_baked() -> None:
    twins = _twins(weights=4)
    twins.rounded(X, training=True)
    before = np.asarray(twins.rounded(X))
    twins.bake()
    np.testing.assert_allclose(np.asarray(twins.rounded(X)), before, atol=1e-5)


def test_widths_by_patterns() -> None:
    twins = _twins(weights={"*": 4, "stem": 8})
    twins.bake()
    values = {
        name: np.unique(_rows(np.asarray(twins.plain.get_layer(name).kernel), (-1,))[0]).size
        for name in ("stem", "wide")
    }
    assert values["stem"] == 9  # all 9 weights of a filter differ
    assert values["wide"] <= 15


def test_the_gradient_goes_straight_through_the_rounding() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2, name="dense")(inputs))
    model.get_layer("dense").kernel.assign([[0.1, -0.3], [0.52, 0.07], [-0.9, 1.0]])
    twins = fake_quantize(model, weights=4)
    x = np.float32([[1, 2, 3]])
    twins.rounded(10 * x, training=True)  # a range that nothing is clipped by
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(twins.rounded(x))
    (gradient,) = tape.gradient(total, [model.get_layer("dense").kernel.value])
    np.testing.assert_array_equal(gradient, np.float32([[1, 1], [2, 2], [3, 3]]))


def test_outside_its_range_an_activation_has_no_gradient() -> None:
    rounder = ActivationRounder("layer")
    rounder(np.float32([-1, 2]), training=True)
    x = tf.constant([-3.0, -0.5, 1.5, 9.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = rounder(x)
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 1, 1, 0])
    np.testing.assert_allclose(y, [-1, -0.5, 1.5, 2], atol=3 / 255)


def test_ranges_are_moving_averages_that_contain_0() -> None:
    rounder = ActivationRounder("layer")
    for low, high in ((1, 4), (-2, 6), (-4, 2)):  # averages of all batches, as long as there are few
        rounder(np.float32([low, high]), training=True)
    assert (float(rounder.low), float(rounder.high)) == (pytest.approx(-2), pytest.approx(4))
    rounder.batches.assign(1e6)
    rounder(np.float32([-12, 14]), training=True)
    assert (float(rounder.low), float(rounder.high)) == (pytest.approx(-2.1), pytest.approx(4.1))
    rounder(np.float32([-100, 100]))  # not in training
    assert float(rounder.high) == pytest.approx(4.1)


def test_outputs_that_become_tensors_are_observed() -> None:
    model = fold_batch_norm(trained())
    rectifiers = [layer.name for layer in model.layers if isinstance(layer, layers.ReLU)]
    assert observed_layers(calls(model), model) == {*rectifiers, "pointwise"}  # linear before the sum; softmax is fixed


def test_an_output_that_is_also_read_by_a_rectifier_is_observed() -> None:
    x = keras.Input((4,))
    y = layers.Dense(3, name="inner")(x)
    model = keras.Model(x, [layers.ReLU(name="outer")(y), y])
    assert observed_layers(calls(model), model) == {"inner", "outer"}


def test_an_output_that_is_normalised_or_rectified_is_not_a_tensor() -> None:
    parts = [layers.SeparableConv1D(5, 3), layers.BatchNormalization(), layers.ReLU(6, name="end")]
    model = keras.Sequential([keras.Input((8, 4)), *parts])
    assert observed_layers(calls(model), model) == {"end"}


def test_both_models_share_their_layers_and_the_original_keeps_its_weights() -> None:
    original = copy_model(trained())
    twins = _twins(weights=4)
    twins.plain.get_layer("wide").kernel.assign(np.zeros((3, 3, 8, 16)))
    assert np.asarray(twins.rounded(X)).std(axis=0).max() < 1e-6  # all samples look alike
    for one, other in zip(original.get_weights(), trained().get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_separable_transposed_and_one_dimensional_layers_are_rounded() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 4))
    x = layers.Conv1D(6, 3, name="one")(layers.SeparableConv1D(5, 3, name="separable")(inputs))
    x = layers.DepthwiseConv1D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.Conv2DTranspose(3, 2, name="transposed")(layers.Reshape((2, 1, 12))(x))
    twins = fake_quantize(keras.Model(inputs, x), weights=4)
    twins.bake()
    layer = twins.plain.get_layer
    for kernel, axes, greatest in (
        (layer("one").kernel, (-1,), 7),
        (layer("separable").depthwise_kernel, (-2, -1), 7),
        (layer("separable").pointwise_kernel, (-1,), 7),
        (layer("depthwise").kernel, (-2, -1), 7),
        (layer("transposed").kernel, (-2,), 127),  # TRANSPOSE_CONV has no 4-bit weights
    ):
        rows = _rows(np.asarray(kernel), axes)
        steps = rows / np.abs(rows).max(axis=1, keepdims=True) * greatest
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)


def test_what_cannot_be_rounded() -> None:
    inputs = keras.Input((8, 8, 1))
    inner = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(3, 3)], name="backbone")
    with pytest.raises(QuantizeError, match="backbone: layers of a model inside the model cannot be rounded; build it"):
        fake_quantize(keras.Model(inputs, inner(inputs)))
    with pytest.raises(QuantizeError, match="no layer has weights to be rounded, expected Conv1D or Conv2D"):
        fake_quantize(keras.Model(inputs, layers.ReLU()(inputs)))
    with pytest.raises(
        QuantizeError, match=r"has such a name, found cnov\*, expected a pattern for one of stem, depthwise"
    ):
        _twins(weights={"cnov*": 4})
    with pytest.raises(QuantizeError, match="found 5 bits"):
        _twins(weights=5)
