from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tests.quantize.networks import convolutional, digits, first, trained
from tinygen.errors import QuantizeError
from tinygen.quantize.evaluate import score_keras
from tinygen.quantize.keras_graph import copy_model
from tinygen.quantize.sensitivity import ACTIVATION, WEIGHTS, plot, rounded_weights, sensitivity

CALIBRATION, VALIDATION = digits().calibration, digits().validation


def test_each_layer_has_its_rows_and_fewer_bits_cost_more() -> None:
    told: list[tuple[int, int]] = []
    table = sensitivity(
        trained(), CALIBRATION, VALIDATION, bits=(8, 2), progress=lambda done, total: told.append((done, total))
    )
    assert told == [(number, 5) for number in range(1, 6)]
    assert table.baseline == score_keras(trained(), VALIDATION)
    assert [row.layer for row in table.rows[::4]] == ["stem", "depthwise", "pointwise", "wide", "classifier"]
    eight, two = ([row for row in table.rows if row.bits == bits] for bits in (8, 2))
    assert max(abs(row.drop) for row in eight) <= 0.012
    assert sum(row.loss_rise for row in two) > 10 * abs(sum(row.loss_rise for row in eight))
    for row in table.rows:
        assert row.drop == pytest.approx(table.baseline.accuracy - row.score.accuracy)
    assert table.worst()[0].drop == max(row.drop for row in table.rows)
    assert {row.part for row in table.rows} == {WEIGHTS, ACTIVATION}


def test_only_the_one_layer_is_changed() -> None:
    model = copy_model(trained())
    classifier = model.get_layer("classifier")
    kernel, bias = classifier.get_weights()
    classifier.set_weights([rounded_weights("Dense", kernel, 3), bias])
    table = sensitivity(trained(), CALIBRATION, VALIDATION, bits=(3,))
    row = next(row for row in table.rows if row.layer == "classifier" and row.part == WEIGHTS)
    assert row.score == score_keras(model, VALIDATION)


@pytest.mark.parametrize(
    ("kind", "shape", "axes"),
    [("Conv2D", (3, 3, 4, 5), (0, 1, 2)), ("DepthwiseConv2D", (3, 3, 4, 2), (0, 1)), ("Dense", (6, 5), (0,))],
)
def test_weights_are_rounded_filter_by_filter(kind: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    largest = np.abs(kernel).max(axis=axes, keepdims=True)
    steps = rounded_weights(kind, kernel, 4) / (largest / 7)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-5)
    np.testing.assert_allclose(np.abs(steps).max(axis=axes), 7, rtol=1e-6)
    assert np.abs(steps - kernel / (largest / 7)).max() <= 0.5 + 1e-5


def test_the_plot_shows_every_layer(tmp_path: Path) -> None:
    few = first(VALIDATION, 60)
    figure = plot(sensitivity(convolutional(), first(CALIBRATION, 10), few, bits=(4,)))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["stem", "depthwise", "pointwise", "wide", "classifier"]
    FigureCanvasAgg(figure).print_png(tmp_path / "sensitivity.png")
    assert (tmp_path / "sensitivity.png").stat().st_size > 5_000


def test_numbers_of_bits_that_do_not_exist_are_refused() -> None:
    with pytest.raises(QuantizeError, match=r"no such number of bits, found \[8, 1\], expected 2 to 16"):
        sensitivity(keras.Sequential(), CALIBRATION, VALIDATION, bits=(8, 1))
