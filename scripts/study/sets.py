"""A seed as a data set in four parts, none of which needs a download: images, a waveform, the motion of a sensor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tinygen.quantize.data import Data

Array = NDArray[np.float64]
FEW = (0.45, 0.05, 0.15)
"""The shares of training, calibration and validation set where samples are few; the rest is the test set."""
MANY = (0.22, 0.03, 0.12)
"""The shares where a generator gives as many as wanted: a larger test set means a smaller standard error."""
WAVES_EACH = 600
WAVE_LENGTH = 64
MOTIONS_EACH = 720
MOTION_LENGTH = 48


class Sets(NamedTuple):
    """Four disjoint parts of a data set, each with its share of every class."""

    train: Data
    calibration: Data
    validation: Data
    test: Data


def digits(seed: int) -> Sets:
    """scikit-learn's 1,797 handwritten digits, 8x8x1 from 0 to 1, 10 classes."""
    bunch = load_digits()
    return split(bunch.images[..., np.newaxis] / 16, bunch.target, FEW, seed, "digits")


def waves(seed: int) -> Sets:
    """Six wave forms of random pitch and phase in noise, 64x1: 1-D, 6 classes."""
    rng = np.random.default_rng([1, seed])
    time = np.arange(WAVE_LENGTH) / WAVE_LENGTH
    forms = [_wave(form, time, rng) for form in range(6) for _ in range(WAVES_EACH)]
    x = np.stack(forms) + rng.normal(0, 0.35, (len(forms), WAVE_LENGTH))
    return split(x[..., np.newaxis], np.repeat(np.arange(6), WAVES_EACH), MANY, seed, "waves")


def _wave(form: int, time: Array, rng: np.random.Generator) -> Array:
    """One wave: sine, square, triangle, sawtooth, pulse or chirp."""
    turns = rng.uniform(2, 5) * time + rng.uniform()
    saw = 2 * (turns % 1) - 1
    if form == 0:
        return np.sin(2 * np.pi * turns)
    if form == 1:
        return np.sign(saw)
    if form == 2:
        return 2 * np.abs(saw) - 1
    if form == 3:
        return saw
    if form == 4:
        return np.where(turns % 1 < 0.2, 1.6, -0.4)
    return np.sin(2 * np.pi * turns * (1 + rng.uniform(0.25, 0.6) * time))


def motion(seed: int) -> Sets:
    """Windows of a three-axis accelerometer in five kinds of motion, 48x1x3: a time series of 5 classes.

    Each kind is a gait of its own (pitch, harmonics, coupling of the axes) under random gravity and drift.
    """
    rng = np.random.default_rng([2, seed])
    kinds = np.random.default_rng(2)  # the kinds stay the same for every seed
    pitches = np.array([1.6, 1.9, 2.2, 2.5, 2.8])
    mixes = kinds.normal(0, 1, (5, 3, 3))
    windows = [_motion(pitches[kind], mixes[kind], rng) for kind in range(5) for _ in range(MOTIONS_EACH)]
    return split(np.stack(windows)[:, :, np.newaxis], np.repeat(np.arange(5), MOTIONS_EACH), MANY, seed, "motion")


def _motion(pitch: float, mix: Array, rng: np.random.Generator) -> Array:
    """[MOTION_LENGTH, 3]: three harmonics of a step, mixed into three axes, with drift and correlated noise."""
    time = np.arange(MOTION_LENGTH) / 16  # seconds: 16 samples a second
    phase = 2 * np.pi * (pitch * rng.normal(1, 0.12) * time + rng.uniform())
    harmonics = np.stack([np.sin(phase), np.sin(2 * phase + 0.7), np.sin(3 * phase + 1.9)], axis=1)
    steps = harmonics @ (mix + rng.normal(0, 0.35, (3, 3))) * rng.uniform(0.5, 1.3)
    gravity = rng.normal(0, 0.6, 3) + np.outer(time, rng.normal(0, 0.15, 3))
    noise = np.cumsum(rng.normal(0, 0.5, (MOTION_LENGTH, 3)), axis=0) * 0.25 + rng.normal(0, 0.8, (MOTION_LENGTH, 3))
    return 0.4 * (steps + gravity + noise)


def split(x: Array, y: NDArray[np.int64], shares: tuple[float, float, float], seed: int, name: str) -> Sets:
    """The samples in four disjoint parts."""
    parts, rest_x, rest_y, left = [], x.astype(np.float32), y.astype(np.int64), 1.0
    for part, share in zip(Sets._fields, shares, strict=False):
        taken_x, rest_x, taken_y, rest_y = train_test_split(
            rest_x, rest_y, train_size=share / left, stratify=rest_y, random_state=seed
        )
        parts.append(Data(taken_x, taken_y, f"{name}, {part}"))
        left -= share
    return Sets(*parts, Data(rest_x, rest_y, f"{name}, test"))
