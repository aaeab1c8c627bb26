from __future__ import annotations

import numpy as np
import pytest

from tests.quantize.networks import digits, first
from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize.augment import Change, ChangedImages, ChangedSeries, changed, with_mixtures

SERIES = np.random.default_rng(5).normal(size=(50, 40, 1, 3)).astype(np.float32)
IMAGES = first(digits().train, 50).x


def _made(change: Change, values: Array, seed: int = 0) -> Array:
    return change(values, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("change", "values"),
    [
        (ChangedImages(0, 0, 0), IMAGES),
        (ChangedSeries(0, 0, 0, 0), SERIES),
        (ChangedSeries(0, 0, 0), SERIES[:, :, 0, 0]),
    ],
)
def test_without_any_change_samples_stay(change: Change, values: Array) -> None:
    np.testing.assert_allclose(_made(change, values), values, atol=1e-6)


@pytest.mark.parametrize(("change", "values"), [(ChangedImages(), IMAGES), (ChangedSeries(), SERIES)])
def test_each_sample_is_changed_in_a_way_of_its_own_that_the_seed_tells(change: Change, values: Array) -> None:
    found = _made(change, np.repeat(values[:1], 8, axis=0))
    assert found.shape == (8, *values.shape[1:]) and found.dtype == np.float32
    assert len(np.unique(found.reshape(8, -1), axis=0)) == 8
    np.testing.assert_array_equal(_made(change, values, 1), _made(change, values, 1))
    assert (_made(change, values, 1) != _made(change, values, 2)).any()


def test_an_image_is_turned_scaled_and_shifted_by_no_more_than_said() -> None:
    y, x = np.mgrid[-8:9, -8:9]
    bar = (np.hypot(y, 3 * x) < 6).astype(np.float32)[np.newaxis, :, :, np.newaxis].repeat(200, axis=0)
    assert _centre(_made(ChangedImages(0, 0, 2 / 17), bar)).max() == pytest.approx(2, abs=0.1)
    assert np.abs(_centre(_made(ChangedImages(10, 0.1, 0), bar))).max() < 0.2
    areas = _made(ChangedImages(0, 0.2, 0), bar).sum(axis=(1, 2, 3)) / bar[0].sum()
    assert areas.min() == pytest.approx(0.8**2, abs=0.06) and areas.max() == pytest.approx(1.2**2, abs=0.06)
    turned = _made(ChangedImages(30, 0, 0), bar)[..., 0]
    angles = np.rad2deg(
        0.5 * np.arctan2(2 * (turned * x * y).sum(axis=(1, 2)), (turned * (y**2 - x**2)).sum(axis=(1, 2)))
    )
    assert angles.min() == pytest.approx(-30, abs=3) and angles.max() == pytest.approx(30, abs=3)


def _centre(images: Array) -> Array:
    """The centre of mass of each image, down and to the right, from the middle."""
    places = np.arange(images.shape[1]) - (images.shape[1] - 1) / 2
    down, right = images.sum(axis=(2, 3)) @ places, images.sum(axis=(1, 3)) @ places
    return np.stack([down, right]) / images.sum(axis=(1, 2, 3))


def test_nothing_but_zeros_comes_into_an_image_from_outside() -> None:
    ones = np.ones((20, 6, 9, 2), np.float32)
    found = _made(ChangedImages(0, 0, 0.5), ones)
    assert found.min() == 0 and found.max() <= 1
    np.testing.assert_array_equal(found[..., 0], found[..., 1])


def test_a_series_is_stretched_within_itself() -> None:
    ramps = np.tile(np.arange(101, dtype=np.float32)[:, np.newaxis], (300, 1, 1))
    found = _made(ChangedSeries(stretch=0.2, gain=0, noise=0), ramps)[..., 0]
    steps = np.diff(found, axis=1)
    np.testing.assert_allclose(steps, np.repeat(steps[:, :1], 100, axis=1), atol=1e-3)
    assert steps.min() == pytest.approx(0.8, abs=0.01) and steps.max() == pytest.approx(1, abs=0.01)
    assert found.min() >= 0 and found.max() <= 100.001
    assert found[:, 0].max() > 15 and found[:, -1].min() < 85  # parts from the start to the end


def test_gain_offset_and_noise_are_shares_of_what_the_samples_are() -> None:
    louder = _made(ChangedSeries(stretch=0, gain=0.3, noise=0), SERIES) / SERIES
    assert louder.min() == pytest.approx(0.7, abs=0.03) and louder.max() == pytest.approx(1.3, abs=0.03)
    assert np.ptp(louder.reshape(50, -1), axis=1).max() < 1e-3  # one for each sample
    moved = _made(ChangedSeries(stretch=0, gain=0, noise=0, offset=0.5), 4 * SERIES) - 4 * SERIES
    assert np.ptp(moved, axis=1).max() < 1e-4 and moved[:, 0].std() == pytest.approx(2, rel=0.2)  # one for each channel
    noise = _made(ChangedSeries(stretch=0, gain=0, noise=0.5), 4 * SERIES) - 4 * SERIES
    assert noise.std() == pytest.approx(2, rel=0.05)


def test_changed_samples_keep_their_labels() -> None:
    few = first(digits().train, 30)
    more = changed(few, 3, ChangedImages(3, 0.02, 0.02), seed=1)
    assert more.path == few.path
    np.testing.assert_array_equal(more.x[:30], few.x)
    np.testing.assert_array_equal(more.y, np.concatenate([few.y] * 4))
    distances = np.abs(more.x[30:60, np.newaxis] - few.x).sum(axis=(2, 3, 4))
    assert (distances.argmin(axis=1) == np.arange(30)).all()  # each is nearest to the one that it was


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(QuantizeError, match=r"found \[50, 40, 1\], expected \[samples, height, width, channels\]"):
        _made(ChangedImages(), SERIES[..., 0])
    with pytest.raises(QuantizeError, match=r"samples of this shape cannot be changed so, found \[50, 1, 3\]"):
        _made(ChangedSeries(), SERIES[:, 0])


def test_mixtures_lie_between_two_samples_and_go_with_their_targets() -> None:
    values = np.stack([np.arange(6.0), 10 * np.arange(6.0)], axis=1).astype(np.float32)
    mixed = with_mixtures(values, 3, seed=1)
    np.testing.assert_array_equal(mixed[:6], values)
    np.testing.assert_allclose(mixed[:, 1], 10 * mixed[:, 0], rtol=1e-6)
    assert mixed.shape == (24, 2) and mixed.min() >= 0 and mixed[:, 0].max() <= 5
    assert len(np.unique(mixed[:, 0])) > 15  # a sample may be its own partner
    targets = with_mixtures(np.eye(6, dtype=np.float32), 3, seed=1)
    np.testing.assert_allclose(targets @ np.arange(6), mixed[:, 0], rtol=1e-5, atol=1e-5)  # the same pairs and shares
