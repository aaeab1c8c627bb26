"""The process of quantize/convert.py: pickled requests on standard input, pickled answers on standard output."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.optimize.calibrator import Calibrator


def to_float(graph: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The frozen graph between the named tensors as .tflite in floating point."""
    definition = tf.compat.v1.GraphDef.FromString(graph)
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
    ends = [[wrapped.graph.get_tensor_by_name(name) for name in names] for names in (inputs, outputs)]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([wrapped.prune(*ends)])
    converter.exclude_conversion_metadata = True
    return bytes(converter.convert())


def to_int8(calibrated: bytes, per_channel: bool) -> bytes:
    """The float .tflite, whose tensors know their ranges, with 8-bit activations and weights."""
    content = mlir_quantize(
        calibrated, disable_per_channel=not per_channel, input_data_type=tf.int8, output_data_type=tf.int8
    )
    return bytes(content)


def to_int16(model: bytes, samples: Sequence[Sequence[Any]], per_channel: bool) -> bytes:
    """The float .tflite with 16-bit activations, whose ranges are those seen in `samples`, and 8-bit weights."""
    content = Calibrator(model).calibrate_and_quantize(
        lambda: (list(sample) for sample in samples),
        tf.int16,
        tf.int16,
        False,
        tf.int16,
        tf.int64,
        disable_per_channel=not per_channel,
    )
    return bytes(content)


REQUESTS: dict[str, Callable[..., bytes]] = {"float": to_float, "int8": to_int8, "int16": to_int16}


def main() -> None:
    """Answer (request, its arguments) with (bytes, "") or (b"", what the converter has against it)."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not mix with the answers
    while True:
        try:
            request, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (REQUESTS[request](*arguments), "")
        except Exception as error:  # whatever the converter raises is the answer
            answer = (b"", str(error) or type(error).__name__)
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
