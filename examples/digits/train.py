"""Trains a small CNN on scikit-learn's handwritten digits and writes it as an int8 digits.tflite with its test set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

FOLDER = Path(__file__).parent
SEED = 0
EPOCHS = 60
BATCH_SIZE = 32
LEARNING_RATE = 4e-3


class Samples(NamedTuple):
    """Images [N, 8, 8, 1], from 0 to 1 or quantised, with the digit that each one shows."""

    x: np.ndarray
    y: np.ndarray


def split_digits() -> tuple[Samples, Samples, Samples]:
    """Training, calibration and test set: disjoint, 60 %, 20 % and 20 % of each digit."""
    digits = load_digits()
    x = (digits.images[..., np.newaxis] / 16).astype(np.float32)  # a pixel counts from 0 to 16
    y = digits.target.astype(np.int64)
    x_train, x_rest, y_train, y_rest = train_test_split(x, y, test_size=0.4, stratify=y, random_state=SEED)
    x_calibration, x_test, y_calibration, y_test = train_test_split(
        x_rest, y_rest, test_size=0.5, stratify=y_rest, random_state=SEED
    )
    return Samples(x_train, y_train), Samples(x_calibration, y_calibration), Samples(x_test, y_test)


def build_model() -> keras.Model:
    """Two convolutions, a separable one and a classifier; the converter folds the batch normalisations away."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Conv2D(24, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Conv2D(32, 1, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10, activation="softmax"),
        ]
    )


def train(train_set: Samples) -> keras.Model:
    """The model after a fixed number of epochs: no other set has a say in when to stop."""
    model = build_model()
    steps = EPOCHS * -(-len(train_set.x) // BATCH_SIZE)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")
    model.fit(train_set.x, train_set.y, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0)
    return model


def convert(model: keras.Model, calibration: np.ndarray) -> bytes:
    """The model as .tflite with batch size 1: int8 throughout, ranges from the calibration images."""

    def representative_dataset() -> Iterator[list[np.ndarray]]:
        for image in calibration:
            yield [image[np.newaxis]]

    fixed_batch = keras.Sequential([keras.Input(batch_shape=(1, 8, 8, 1)), *model.layers])
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed_batch)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return converter.convert()


def load_reference(content: bytes) -> Interpreter:
    """TensorFlow Lite with its reference kernels, ready to be invoked."""
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
    )
    interpreter.allocate_tensors()
    return interpreter


def quantize_input(interpreter: Interpreter, x: np.ndarray) -> np.ndarray:
    """The values as int8, by the scale and zero point of the model's input."""
    scale, zero_point = interpreter.get_input_details()[0]["quantization"]
    return np.clip(np.round(x / scale) + zero_point, -128, 127).astype(np.int8)


def classify(interpreter: Interpreter, images: np.ndarray) -> np.ndarray:
    """The most likely digit of each quantised image."""
    input_index = interpreter.get_input_details()[0]["index"]
    output_index = interpreter.get_output_details()[0]["index"]
    classes = []
    for image in images:
        interpreter.set_tensor(input_index, image[np.newaxis])
        interpreter.invoke()
        classes.append(interpreter.get_tensor(output_index).argmax())
    return np.array(classes)


def describe_accuracy(hits: np.ndarray) -> str:
    """Share of hits and its standard error."""
    accuracy = hits.mean()
    return f"{accuracy:.4f} +- {np.sqrt(accuracy * (1 - accuracy) / hits.size):.4f}"


def main() -> None:
    """Trains, converts, writes both files and prints the accuracy on the test set."""
    keras.config.disable_interactive_logging()
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    train_set, calibration_set, test_set = split_digits()
    model = train(train_set)
    content = convert(model, calibration_set.x)
    interpreter = load_reference(content)
    quantised = Samples(quantize_input(interpreter, test_set.x), test_set.y)

    (FOLDER / "digits.tflite").write_bytes(content)
    np.savez_compressed(FOLDER / "test.npz", x=quantised.x, y=quantised.y)
    float_hits = model.predict(test_set.x, verbose=0).argmax(axis=1) == test_set.y
    int8_hits = classify(interpreter, quantised.x) == quantised.y
    print(
        f"accuracy on {len(test_set.y)} test images: "
        f"float {describe_accuracy(float_hits)}, int8 {describe_accuracy(int8_hits)}"
    )


if __name__ == "__main__":
    main()
