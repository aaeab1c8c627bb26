from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.quantize.networks import convolutional, digits, first, trained
from tinygen.errors import QuantizeError
from tinygen.frontend import tflite
from tinygen.quantize.cluster import cluster
from tinygen.quantize.codebook import fit_codebook
from tinygen.quantize.evaluate import score_keras, score_tflite
from tinygen.quantize.quantize import quantize

TRAIN, VALIDATION = digits().train, digits().validation


def _distinct(model: bytes, op: str) -> list[int]:
    """How many values the weights of each node of `op` take."""
    graph = tflite.read(model, "clustered.tflite", 0)
    weights = [graph.tensors[node.inputs[1]].data for node in graph.nodes if node.op == op]
    return [len(np.unique(data)) for data in weights if data is not None]


@pytest.mark.parametrize(("values", "per_channel", "loss"), [(16, True, 0.03), (4, False, 0.12)])
def test_the_int8_weights_take_so_many_values_and_the_accuracy_holds(
    values: int, per_channel: bool, loss: float
) -> None:
    model = cluster(
        trained(), first(TRAIN, 400), VALIDATION, values=values, per_channel=per_channel, epochs=2, learning_rate=3e-3
    )
    quantised = quantize(model, digits().calibration.x, per_channel=per_channel)
    assert max(_distinct(quantised, "conv_2d")) <= values
    assert max(_distinct(quantised, "fully_connected")) <= values
    assert min(_distinct(quantised, "depthwise_conv_2d")) > values
    before = score_keras(trained(), VALIDATION).accuracy
    assert score_tflite(quantised, VALIDATION).accuracy > before - loss


def test_equal_weights_stay_equal_through_the_training() -> None:
    options: dict[str, Any] = {"values": 8, "per_channel": False, "layers": "wide", "learning_rate": 1e-2}
    few = first(TRAIN, 128)
    start, end = (
        cluster(trained(), few, VALIDATION, epochs=epochs, **options).get_layer("wide").get_weights()[0].ravel()
        for epochs in (0, 2)
    )
    assert len(np.unique(start)) == len(np.unique(end)) == 8
    np.testing.assert_array_equal(np.unique(start, return_inverse=True)[1], np.unique(end, return_inverse=True)[1])
    assert (np.unique(start) != np.unique(end)).any()


def test_a_codebook_is_found_again() -> None:
    rng = np.random.default_rng(0)
    codes = np.array([-127, -40, -7, 0, 20, 58, 90, 127]) / 127
    indices = rng.integers(0, 8, (60, 5))
    scales = rng.uniform(0.1, 3, 5)
    weights = scales * codes[indices]
    book = fit_codebook(weights, 8, True)
    np.testing.assert_allclose(book.weights(), weights, rtol=1e-5, atol=1e-6)
    again = book.refitted(book.weights(), True)
    np.testing.assert_array_equal(np.sort(again.codes * 127).round(), (codes * 127).round())
    np.testing.assert_allclose(again.scales, scales, rtol=1e-5)


@pytest.mark.parametrize("values", [2, 4, 16])
def test_every_filter_has_a_weight_at_the_end_of_int8(values: int) -> None:
    weights = np.random.default_rng(1).normal(size=(9, 12)) * np.geomspace(1e-9, 1, 12)
    book = fit_codebook(weights, values, True)
    book = book.refitted(book.weights(), True)
    written = book.weights()
    steps = np.abs(written).max(axis=0) / 127
    codes = np.round(written / steps)
    assert len(np.unique(codes)) <= values
    assert (np.abs(codes).max(axis=0) == 127).all()
    assert steps.min() >= 0.9e-3 * steps.max()  # the bias of a filter of nearly zero weights must fit into int32


def test_without_scales_for_filters_codes_follow_the_weights_of_the_layer() -> None:
    weights = np.random.default_rng(2).choice([-0.5, 0.1, 0.2, 3.0], (50, 4))
    np.testing.assert_allclose(fit_codebook(weights, 4, False).weights(), weights, rtol=1e-6)
    fewer = fit_codebook(weights, 3, False).weights()
    assert len(np.unique(fewer)) == 3
    assert np.abs(fewer - weights).max() < 0.06  # 0.1 and 0.2 meet between them


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": 1}, "that many values make no codebook, found 1, expected 2 to 256"),
        ({"layers": "none*"}, r"layers: none\*: no layer has weights for a codebook"),
    ],
)
def test_impossible_wishes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(QuantizeError, match=message):
        cluster(convolutional(), TRAIN, VALIDATION, **options)
