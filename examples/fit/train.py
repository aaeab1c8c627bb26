"""Trains a CNN on handwritten digits that is too large for small boards, and writes it with four sets of samples."""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 0
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
SHARES = {"train": 0.5, "calib": 0.1, "val": 0.2, "test": 0.2}
"""Which part of the samples goes into which set: to train with, for ranges, to choose by, to judge by."""


def split_digits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The sets, disjoint, each with its share of every digit: images [N, 8, 8, 1] from 0 to 1, and their digits."""
    digits = load_digits()
    x = (digits.images[..., np.newaxis] / 16).astype(np.float32)  # a pixel counts from 0 to 16
    y = digits.target.astype(np.int64)
    sets, left = {}, 1.0
    for name, share in list(SHARES.items())[:-1]:
        taken, x, taken_y, y = train_test_split(x, y, train_size=share / left, stratify=y, random_state=SEED)
        sets[name] = taken, taken_y
        left -= share
    return {**sets, "test": (x, y)}


def build_model() -> keras.Model:
    """Three convolutions and two dense layers: 105,000 weights."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(64, 3, padding="same", activation="relu", name="conv2"),
            layers.Conv2D(64, 3, strides=2, padding="same", activation="relu", name="conv3"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.3, name="dropout"),
            layers.Dense(48, activation="relu", name="dense"),
            layers.Dense(10, activation="softmax", name="classifier"),
        ]
    )


def main() -> None:
    """Trains for a fixed number of epochs and writes model.keras, train.npz, calib.npz, val.npz and test.npz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(), help="folder to write to")
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    sets = split_digits()
    model = build_model()
    model.compile(keras.optimizers.Adam(LEARNING_RATE), "sparse_categorical_crossentropy")
    model.fit(*sets["train"], batch_size=BATCH_SIZE, epochs=arguments.epochs, verbose=0)
    arguments.output.mkdir(parents=True, exist_ok=True)
    model.save(arguments.output / "model.keras")
    for name, (x, y) in sets.items():
        np.savez_compressed(arguments.output / f"{name}.npz", x=x, y=y)
    print(f"{model.count_params():,} weights, {4 * model.count_params() / 1024:,.0f} kB as float32")


if __name__ == "__main__":
    main()
