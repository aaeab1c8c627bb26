"""Trains a 1-16-16-1 dense network to approximate the sine and writes it as an int8 sine.tflite with its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers

FOLDER = Path(__file__).parent
SEED = 0
EPOCHS = 300
BATCH_SIZE = 64
LEARNING_RATE = 1e-2
TRAIN_COUNT = 1024
CALIBRATION_COUNT = 256


def train(angles: np.ndarray) -> keras.Model:
    """A network of 321 parameters fitted to the sine of the angles [N, 1], in radians."""
    model = keras.Sequential(
        [
            keras.Input((1,)),
            layers.Dense(16, activation="relu"),
            layers.Dense(16, activation="relu"),
            layers.Dense(1),
        ]
    )
    steps = EPOCHS * -(-len(angles) // BATCH_SIZE)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(keras.optimizers.Adam(schedule), "mse")
    model.fit(angles, np.sin(angles), batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0)
    return model


def convert(model: keras.Model, calibration: np.ndarray) -> bytes:
    """The model as .tflite with batch size 1: int8 throughout, ranges from the calibration angles."""

    def representative_dataset() -> Iterator[list[np.ndarray]]:
        for angle in calibration:
            yield [angle[np.newaxis]]

    fixed_batch = keras.Sequential([keras.Input(batch_shape=(1, 1)), *model.layers])
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


def dequantize(values: np.ndarray, details: dict) -> np.ndarray:
    """The real numbers that int8 values of the model's input or output stand for."""
    scale, zero_point = details["quantization"]
    return ((values.astype(np.float64) - zero_point) * scale).astype(np.float32)


def invoke(interpreter: Interpreter, inputs: np.ndarray) -> np.ndarray:
    """The int8 output [N, 1] for each int8 input [N, 1]."""
    input_index = interpreter.get_input_details()[0]["index"]
    output_index = interpreter.get_output_details()[0]["index"]
    outputs = []
    for value in inputs:
        interpreter.set_tensor(input_index, value[np.newaxis])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(output_index)[0])
    return np.array(outputs)


def describe_error(error: np.ndarray) -> str:
    """Root mean square and greatest absolute error."""
    return f"rms {np.sqrt(np.mean(error**2)):.4f} max {np.abs(error).max():.4f}"


def main() -> None:
    """Trains, converts, writes both files and prints the error over every int8 input."""
    keras.config.disable_interactive_logging()
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    rng = np.random.default_rng(SEED)
    model = train(rng.uniform(-np.pi, np.pi, (TRAIN_COUNT, 1)).astype(np.float32))
    content = convert(model, np.linspace(-np.pi, np.pi, CALIBRATION_COUNT, dtype=np.float32)[:, np.newaxis])
    interpreter = load_reference(content)
    inputs = np.arange(-128, 128, dtype=np.int8)[:, np.newaxis]

    (FOLDER / "sine.tflite").write_bytes(content)
    np.savez_compressed(FOLDER / "test.npz", x=inputs)
    angles = dequantize(inputs, interpreter.get_input_details()[0])
    float_error = model.predict(angles, verbose=0) - np.sin(angles)
    int8_error = dequantize(invoke(interpreter, inputs), interpreter.get_output_details()[0]) - np.sin(angles)
    print(
        f"error of the sine over {len(inputs)} inputs: "
        f"float {describe_error(float_error)}, int8 {describe_error(int8_error)}"
    )


if __name__ == "__main__":
    main()
