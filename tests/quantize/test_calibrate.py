from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.quantize.exact import converted
from tests.quantize.networks import digits, trained
from tinygen.errors import DataError, QuantizeError
from tinygen.quantize.calibrate import BINS, LEVELS, Histogram, Ranges, calibrate_tflite, entropy, mean_squared_error
from tinygen.quantize.calibrate import percentile as percentile_range
from tinygen.quantize.quantize import calibrate
from tinygen.quantize.tflite_file import TfliteFile, name_of

X = digits().calibration.x


def _by_layer(ranges: Ranges, layer: str) -> tuple[float, float]:
    (found,) = [limits for name, limits in ranges.items() if layer in name.split(";")[0].split("/")]
    return found


def test_minmax_is_the_least_and_greatest_value_of_every_layer() -> None:
    ranges = calibrate(trained(), X)
    assert ranges["x"] == (X.min(), X.max())
    before_sum = [layer for layer in trained().layers if isinstance(layer, keras.layers.BatchNormalization)][2]
    seen = [layer.name for layer in trained().layers if isinstance(layer, keras.layers.ReLU)] + [before_sum.name]
    assert len(seen) == 5  # the last is added to another: TensorFlow's own calibration takes it for the sum
    for layer in seen:
        values = np.asarray(keras.Model(trained().input, trained().get_layer(layer).output)(X))
        np.testing.assert_allclose(_by_layer(ranges, layer), (values.min(), values.max()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_other_methods_stay_inside_and_keep_one_scale_where_values_only_move(method: str) -> None:
    widest, ranges = calibrate(trained(), X), calibrate(trained(), X, method)
    assert ranges.keys() == widest.keys()
    assert ranges != widest
    for name, (low, high) in ranges.items():
        assert low < high, name
        slack = (widest[name][1] - widest[name][0]) / BINS
        assert low >= min(widest[name][0], 0) - slack, name
        assert high <= max(widest[name][1], 0) + slack, name
    for node in TfliteFile(converted()).nodes():
        if node.kind in ("MAX_POOL_2D", "RESHAPE"):
            assert ranges[name_of(node.outputs[0])] == ranges[name_of(node.inputs[0])]


def _histogram(values: np.ndarray) -> Histogram:
    low, high = float(values.min()), float(values.max())
    return Histogram(np.histogram(values, BINS, (low, high))[0], low, high)


def _error(values: np.ndarray, limits: tuple[float, float]) -> float:
    step = (limits[1] - limits[0]) / (LEVELS - 1)
    steps = np.clip(np.round((values - limits[0]) / step), 0, LEVELS - 1)
    return float(((limits[0] + step * steps - values) ** 2).mean())


def test_percentile_leaves_out_half_of_the_rest_at_each_end() -> None:
    values = np.arange(100_000) / 100_000  # 0.005 % at each end are 5 values, a tenth of a bin
    assert percentile_range(_histogram(values)) == pytest.approx((0, 1), abs=1 / BINS)
    outliers = np.concatenate([values, np.full(5, -50.0), np.full(5, 80.0)])
    low, high = percentile_range(_histogram(outliers))
    width = 130 / BINS
    assert (low, high) == (pytest.approx(0, abs=width), pytest.approx(1, abs=width))
    more = np.concatenate([values, np.full(12, 80.0)])  # more than 0.005 %: they stay
    assert percentile_range(_histogram(more))[1] == pytest.approx(80)


def test_mse_clips_where_that_costs_less_than_coarse_steps() -> None:
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(0, 1, 200_000), [40.0])
    limits = mean_squared_error(_histogram(values))
    assert _error(values, limits) < _error(values, (values.min(), values.max())) * 0.8
    tried = [(values.min() * part, 40 * part) for part in np.linspace(0.02, 1, 99)]
    assert _error(values, limits) <= min(_error(values, limit) for limit in tried) * 1.1
    flat = rng.uniform(-1, 1, 50_000)  # nothing to gain by clipping
    assert mean_squared_error(_histogram(flat)) == (flat.min(), flat.max())


def test_entropy_clips_a_long_tail_and_nothing_of_a_flat_distribution() -> None:
    rng = np.random.default_rng(1)
    tail = np.abs(np.append(rng.normal(0, 1, 200_000), [60.0]))
    low, high = entropy(_histogram(tail))
    assert low == 0
    assert 3 <= high <= 15
    flat = rng.uniform(0, 1, 200_000)
    assert entropy(_histogram(flat))[1] > 0.95


def test_a_tensor_that_is_always_0_has_a_range_too() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.ReLU()(keras.layers.Dense(2, kernel_initializer="zeros")(inputs)))
    for method in ("percentile", "mse", "entropy"):
        assert all(low < high for low, high in calibrate(model, np.ones((3, 3), np.float32), method).values())


def test_what_cannot_be_calibrated() -> None:
    data = converted()
    with pytest.raises(QuantizeError, match="unknown method of calibration, found median"):
        calibrate_tflite(data, X, "median")
    with pytest.raises(DataError, match="found 2, expected 1"):
        calibrate_tflite(data, [X, X])
    with pytest.raises(QuantizeError, match=r"not a \.tflite file"):
        calibrate_tflite(b"something else", X)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Lambda(keras.ops.log)(inputs))
    with pytest.raises(QuantizeError, match="a tensor takes values that are not finite"):
        calibrate(model, np.zeros((1, 3), np.float32))
