from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from tests.quantize.exact import assert_bit_exact, converted, quantization, weighted
from tests.quantize.networks import digits, trained
from tinygen.errors import DataError, QuantizeError
from tinygen.quantize.evaluate import outputs_keras, outputs_tflite, score_keras, score_tflite
from tinygen.quantize.quantize import quantize
from tinygen.quantize.tflite_file import TfliteFile, name_of, scales_of, shape_of
from tinygen.quantize.weights import integer_weights
from tinygen.verify.golden import Golden

CALIBRATION = digits().calibration.x
KERNELS = ("stem", "depthwise", "pointwise", "wide", "classifier")


@functools.cache
def _plain() -> bytes:
    return quantize(trained(), CALIBRATION)


@functools.cache
def _narrow() -> bytes:
    return quantize(trained(), CALIBRATION, weights=4)


@functools.cache
def _float_weights() -> dict[str, np.ndarray]:
    data = converted()
    return {layer: TfliteFile(data).constant(node.weights) for layer, node in weighted(data).items()}


def _by_converter(model: keras.Model, x: np.ndarray) -> bytes:
    """What TensorFlow's converter makes of the model when it is asked as its manual says."""

    def samples() -> Iterator[list[np.ndarray]]:
        for sample in x:
            yield [sample[np.newaxis]]

    fixed = keras.models.clone_model(model, input_tensors=keras.Input(batch_shape=(1, *model.input_shape[1:])))
    fixed.set_weights(model.get_weights())
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
def test_without_settings_it_is_what_the_converter_makes() -> None:
    ours, theirs = TfliteFile(_plain()), TfliteFile(_by_converter(trained(), CALIBRATION))
    # The converter looks at the inputs of ADD when the sum is already in their place (see test_calibrate)
    summands = {name_of(tensor) for node in ours.nodes() if node.kind == "ADD" for tensor in node.inputs}
    for one, other in zip(ours.nodes(), theirs.nodes(), strict=True):
        assert one.kind == other.kind
        for mine, its in zip((*one.inputs, *one.outputs), (*other.inputs, *other.outputs), strict=True):
            assert (mine.type, shape_of(mine)) == (its.type, shape_of(its))
            if name_of(mine) in summands:
                continue
            if mine.type == schema.TensorType.INT8 and ours.is_constant(mine):
                np.testing.assert_array_equal(ours.constant(mine), theirs.constant(its))
            elif ours.is_constant(mine):  # a bias follows from the scales
                np.testing.assert_allclose(ours.constant(mine), theirs.constant(its), atol=1)
            if its.quantization.scale is None:
                continue
            for part, expected in zip(quantization(mine), quantization(its), strict=True):
                if expected.size:  # the last bit of a range depends on the order of sums in the float model
                    np.testing.assert_allclose(part, expected, rtol=1e-6)


def test_8_bits_answer_as_the_float_model() -> None:
    # 3 of the 630 test samples are half a point; the scales of 8-bit weights change an answer only where two are close
    test = digits().test
    assert abs(score_tflite(_plain(), test).correct - score_keras(trained(), test).correct) <= 3


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"per_channel": False},
        {"symmetric": True},
        {"method": "percentile"},
        {"method": "mse"},
        {"method": "entropy"},
        {"equalize": True, "correct_bias": True},
        {"weights": 4},
        {"weights": 4, "per_channel": False, "equalize": True, "correct_bias": True},
        {"weights": {"wide": 4, "classifier": 4}},
    ],
    ids=str,
)
def test_every_model_is_computed_bit_for_bit(settings: dict[str, Any], golden: Golden) -> None:
    assert_bit_exact(quantize(trained(), CALIBRATION[:20], **settings), golden)


def test_the_same_arguments_give_the_same_bytes() -> None:
    assert quantize(trained(), CALIBRATION, weights=4, method="mse", equalize=True, correct_bias=True) == quantize(
        trained(), CALIBRATION, weights=4, method="mse", equalize=True, correct_bias=True
    )


def test_scales_per_channel_or_per_layer() -> None:
    whole = quantize(trained(), CALIBRATION[:5], per_channel=False)
    for layer, node in weighted(_plain()).items():
        assert len(scales_of(node.weights)) == shape_of(node.weights)[node.channel_axis], layer
    for layer, node in weighted(whole).items():
        assert len(scales_of(node.weights)) == 1, layer
        np.testing.assert_allclose(scales_of(node.weights), np.abs(_float_weights()[layer]).max() / 127, rtol=1e-6)


def test_symmetric_activations_have_zero_point_0() -> None:
    file = TfliteFile(quantize(trained(), CALIBRATION[:5], symmetric=True))
    for node in file.nodes():
        if node.kind != "SOFTMAX":  # its output is 0 to 255/256 by definition
            assert (quantization(node.outputs[0])[1] == 0).all(), node.kind
    affine = {name_of(node.outputs[0]): quantization(node.outputs[0])[1] for node in TfliteFile(_plain()).nodes()}
    assert any((zero_point == -128).all() for zero_point in affine.values())


def test_4_bit_weights_are_nibbles_on_the_nearest_grid() -> None:
    file = TfliteFile(_narrow())
    for layer, node in weighted(_narrow()).items():
        assert node.weights.type == schema.TensorType.INT4
        assert len(file.model.buffers[node.weights.buffer].data) == -(-np.prod(shape_of(node.weights)) // 2)
        steps, real = integer_weights(file, node.weights), _float_weights()[layer]
        axes = [-1 if axis == node.channel_axis else 1 for axis in range(real.ndim)]
        scales = scales_of(node.weights).reshape(axes)
        np.testing.assert_array_equal(steps, np.clip(np.round(real / scales), -7, 7))
        np.testing.assert_array_equal(scales_of(node.bias), scales_of(node.inputs[0]) * scales_of(node.weights))
    assert weighted(_narrow()).keys() == set(KERNELS)
    saved = sum(weights.size for weights in _float_weights().values()) // 2
    assert len(_plain()) - len(_narrow()) > saved * 0.8  # records and padding grow a little


def test_4_bit_biases_are_those_of_the_float_model() -> None:
    narrow, plain = TfliteFile(_narrow()), TfliteFile(_plain())
    for layer, node in weighted(_narrow()).items():
        other = weighted(_plain())[layer]
        real = [file.constant(n.bias) * scales_of(n.bias) for file, n in ((narrow, node), (plain, other))]
        np.testing.assert_allclose(*real, atol=float(scales_of(node.bias).max()))


def test_a_better_grid_is_found_than_that_of_the_greatest_weight() -> None:
    for layer, node in weighted(_narrow()).items():
        real = np.moveaxis(_float_weights()[layer], node.channel_axis, 0).reshape(len(scales_of(node.weights)), -1)
        greatest = np.abs(real).max(axis=1) / 7
        errors = []
        for scales in (scales_of(node.weights), greatest):
            grid = scales[:, None] * np.clip(np.round(real / scales[:, None]), -7, 7)
            errors.append(((grid - real) ** 2).sum(axis=1))
        assert (errors[0] <= errors[1] * (1 + 1e-5)).all(), layer
        assert (errors[0] < errors[1]).any(), layer


def test_widths_by_patterns_the_last_match_counts() -> None:
    data = quantize(trained(), CALIBRATION[:5], weights={"*": 4, "s*": 8, "depthwise": 8})
    types = {layer: node.weights.type for layer, node in weighted(data).items()}
    eight, four = schema.TensorType.INT8, schema.TensorType.INT4
    assert types == {"stem": eight, "depthwise": eight, "pointwise": four, "wide": four, "classifier": four}


def test_16_bit_activations_are_nearer_to_the_float_model() -> None:
    data = digits().validation
    real = outputs_keras(trained(), data.x)
    fine = outputs_tflite(quantize(trained(), CALIBRATION, activations=16), data) / 32768
    coarse = (outputs_tflite(_plain(), data).astype(np.float64) + 128) / 256
    assert np.abs(fine - real).mean() < np.abs(coarse - real).mean() / 2


def test_16_bits_for_layers_that_need_them(golden: Golden) -> None:
    """What they read and write is converted; all else has 8 bits, the model's inputs and outputs too."""
    content = quantize(trained(), CALIBRATION, activations={"*": 8, "point*": 16, "classifier": 16})
    inputs = {layer: node.inputs[0].type for layer, node in weighted(content).items()}
    wide, narrow = schema.TensorType.INT16, schema.TensorType.INT8
    assert inputs == {"stem": narrow, "depthwise": narrow, "pointwise": wide, "wide": narrow, "classifier": wide}
    assert {tensor.type for tensor in (*TfliteFile(content).inputs, *TfliteFile(content).outputs)} == {narrow}
    assert_bit_exact(content, golden)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": 3}, "weights cannot have this width, found 3 bits, expected 8 or 4 bits"),
        ({"weights": {"wide": 2}}, "found 2 bits"),
        (
            {"weights": {"cnov*": 4}},
            "no layer with weights has such a name, found cnov.*, expected a pattern for one of stem, ",
        ),
        ({"activations": 4}, "activations cannot have this width, found 4, expected 8 or 16"),
        ({"activations": 16, "weights": 4}, "activations of 16 bits go with weights of 8"),
        ({"activations": {"wide": 16}, "weights": {"stem": 4}}, "activations of 16 bits go with weights of 8"),
        ({"activations": {"wide": 12}}, "activations cannot have this width, found 12, expected 8 or 16"),
        (
            {"activations": {"no*": 16}},
            "no layer with weights has such a name, found no\\*, expected a pattern for one of",
        ),
        ({"activations": 16, "method": "mse"}, "activations of 16 bits lose nothing by wide ranges; use method minmax"),
        (
            {"method": "median"},
            "unknown method of calibration, found median, expected minmax, percentile, mse, entropy",
        ),
    ],
)
def test_settings_that_there_are_not(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(QuantizeError, match=message):
        quantize(trained(), CALIBRATION[:2], **settings)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            CALIBRATION[:, :7],
            r"x: samples for calibration have another shape .* found \[.*, 7, 8, 1\], expected \[samples, 8, 8, 1\]",
        ),
        (CALIBRATION[:0], "samples for calibration have another shape"),
        (np.full((3, 8, 8, 1), np.nan, np.float32), "x: samples for calibration hold NaN or infinity"),
        ([CALIBRATION, CALIBRATION], "another number of inputs, found 2, expected 1"),
    ],
)
def test_samples_that_do_not_suit(x: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        quantize(trained(), x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            layers.LayerNormalization(name="norm"),
            r"found norm \(NEG\), expected integers throughout; use BatchNormalization",
        ),
        (layers.ELU(name="soft"), r"found soft \(ELU\).*use ReLU or hard_swish"),
        (layers.Lambda(keras.ops.erf, name="odd"), "odd: TensorFlow's converter refuses|found odd"),
    ],
    ids=("norm", "elu", "lambda"),
)
def test_layers_that_stay_in_floating_point_are_named_with_a_remedy(layer: keras.Layer, message: str) -> None:
    inputs = keras.Input((4, 4, 2))
    outputs = layers.Conv2D(3, 1)(layer(layers.Conv2D(3, 3, name="fine")(inputs)))
    with pytest.raises(QuantizeError, match=message):
        quantize(keras.Model(inputs, outputs), np.ones((4, 4, 4, 2), np.float32))
