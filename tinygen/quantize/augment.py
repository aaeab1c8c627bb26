"""Samples as more of them: each changed a little, as it could also have been measured, or mixed with another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize.data import Data

Change = Callable[[Array, np.random.Generator], Array]
"""Samples, one along the first axis -> as many of the same shape, each changed so that its class stays."""


@dataclass(frozen=True)
class ChangedImages:
    """Images [samples, height, width, channels], each turned about its centre, scaled and shifted; zeros come in.

    All changes are uniform between none and the one that is named, in either direction.
    """

    degrees: float = 10.0
    scale: float = 0.1
    shift: float = 0.1
    """As a share of the height and of the width."""

    def __call__(self, values: Array, rng: np.random.Generator) -> Array:
        if values.ndim != 4:
            raise _wrong(values, "[samples, height, width, channels]")
        count, height, width = values.shape[:3]
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees, (count, 1, 1)))
        shrunk = 1 / rng.uniform(1 - self.scale, 1 + self.scale, (count, 1, 1))
        down, right = (rng.uniform(-self.shift, self.shift, (count, 1, 1)) * size for size in (height, width))
        y, x = (np.arange(size) - (size - 1) / 2 for size in (height, width))
        cos, sin = shrunk * np.cos(angle), shrunk * np.sin(angle)
        from_y = cos * y[:, np.newaxis] - sin * x + (height - 1) / 2 + down
        from_x = sin * y[:, np.newaxis] + cos * x + (width - 1) / 2 + right
        return _between_pixels(values, from_y, from_x)


@dataclass(frozen=True)
class ChangedSeries:
    """Series [samples, time, ...], of each a part at random stretched to the whole, louder or softer, with noise.

    `gain`, `noise` and `offset` are shares: of the amplitude, and of the deviation of all values. An offset is one
    value for each channel of a sample, as gravity is.
    """

    stretch: float = 0.1
    gain: float = 0.1
    noise: float = 0.2
    offset: float = 0.0

    def __call__(self, values: Array, rng: np.random.Generator) -> Array:
        if values.ndim < 2 or values.shape[1] < 2:
            raise _wrong(values, "[samples, time, ...]")
        each = (len(values), *[1] * (values.ndim - 1))
        deviation = values.std()
        part = 1 - rng.uniform(0, self.stretch, len(values))
        start = rng.uniform(0, 1 - part) * (values.shape[1] - 1)
        changed = _between_times(values, start[:, np.newaxis] + part[:, np.newaxis] * np.arange(values.shape[1]))
        changed = changed * rng.uniform(1 - self.gain, 1 + self.gain, each)
        changed = changed + rng.normal(0, self.offset * deviation, (*each[:-1], values.shape[-1]))
        return np.asarray(changed + rng.normal(0, self.noise * deviation, values.shape), np.float32)


def changed(data: Data, copies: int, change: Change, seed: int) -> Data:
    """The samples, and `copies` times as many that `change` makes of them, with the same labels."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([data.x, *(change(data.x, rng) for _ in range(copies))])
    return replace(data, x=x, y=None if data.y is None else np.tile(data.y, 1 + copies))


def with_mixtures(values: Array, copies: int, seed: int) -> Array:
    """`values`, and `copies` times as many sums of two of them, of random shares; the same seed, the same pairs.

    For samples and for targets alike (Zhang et al., "mixup: beyond empirical risk minimization", 2018).
    """
    rng = np.random.default_rng(seed)
    parts = [values]
    for _ in range(copies):
        others = rng.permutation(len(values))
        shares = rng.uniform(size=(len(values),) + (1,) * (values.ndim - 1)).astype(np.float32)
        parts.append(shares * values + (1 - shares) * values[others])
    return np.concatenate(parts)


def _between_pixels(values: Array, y: Array, x: Array) -> Array:
    """The images at the places `y`, `x` [samples, height, width], interpolated in both directions; 0 outside."""
    height, width = values.shape[1:3]
    y, x = np.clip(y, -1, height) + 1, np.clip(x, -1, width) + 1  # in images with a border of zeros
    padded = np.pad(values, ((0, 0), (1, 2), (1, 2), (0, 0)))
    top, left = y.astype(int), x.astype(int)
    down, right = (y - top)[..., np.newaxis], (x - left)[..., np.newaxis]
    each = np.arange(len(values))[:, np.newaxis, np.newaxis]
    upper = (1 - right) * padded[each, top, left] + right * padded[each, top, left + 1]
    lower = (1 - right) * padded[each, top + 1, left] + right * padded[each, top + 1, left + 1]
    return np.asarray((1 - down) * upper + down * lower, np.float32)


def _between_times(values: Array, times: Array) -> Array:
    """The series at `times` [samples, time], interpolated."""
    before = np.minimum(times.astype(int), values.shape[1] - 2)
    after = (times - before).reshape(*times.shape, *[1] * (values.ndim - 2))
    each = np.arange(len(values))[:, np.newaxis]
    return np.asarray((1 - after) * values[each, before] + after * values[each, before + 1])


def _wrong(values: Array, expected: str) -> QuantizeError:
    return QuantizeError("samples of this shape cannot be changed so", found=str(list(values.shape)), expected=expected)
