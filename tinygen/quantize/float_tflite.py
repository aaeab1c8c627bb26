"""A .tflite file in floating point as one in integers, by AI Edge Quantizer and without TensorFlow.

Ranges, 4-bit weights, equalised layers and corrected biases are those of tinygen.quantize.quantize; only the step to 8
bits is another program's, so that scales can differ from those of TensorFlow's converter where operators share one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize.calibrate import Ranges
from tinygen.quantize.fp16 import from_float16
from tinygen.quantize.integer import Settings, to_integer
from tinygen.quantize.tflite_file import TfliteFile, name_of
from tinygen.quantize.weights import Bits, bits_of, check_patterns


def quantize_float_tflite(
    data: bytes,
    calibration_x: Array | Sequence[Array],
    *,
    weights: Bits = 8,
    activations: Bits = 8,
    per_channel: bool = True,
    symmetric: bool = False,
    method: str = "minmax",
    equalize: bool = False,
    correct_bias: bool = False,
) -> bytes:
    """The float .tflite in integers; arguments as for tinygen.quantize.quantize.quantize, bytes the same for the same.

    Patterns in `weights` are for parts of the names of tensors, where the converter keeps the names of layers. Weights
    stored as float16 are taken too. Raises DataError, QuantizeError.
    """
    settings = Settings(weights, activations, per_channel, symmetric, method, equalize, correct_bias)
    settings.check()
    _check_float(data)
    return to_integer(from_float16(data), calibration_x, settings, with_ai_edge_quantizer)


def with_ai_edge_quantizer(
    data: bytes, ranges: Ranges, samples: Sequence[Sequence[Array]], settings: Settings
) -> bytes:
    """The float .tflite with 8-bit weights and the given ranges."""
    seen = {
        name: {"min": np.asarray(min(low, 0.0), np.float32), "max": np.asarray(max(high, 0.0), np.float32)}
        for name, (low, high) in ranges.items()
    }
    quantizer = Quantizer(bytearray(data))
    granularity = QuantGranularity.CHANNELWISE if settings.per_channel else QuantGranularity.TENSORWISE
    for scope, width in _scopes(TfliteFile(data), settings.activations):
        quantizer.add_static_config(scope, TFLOperationName.ALL_SUPPORTED, width, 8, granularity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about how it starts the interpreter
        try:
            content = quantizer.quantize(seen, enable_progress_bar=False, enable_progress_report=False).quantized_model
        except (ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise QuantizeError("AI Edge Quantizer refuses this model", found=reason) from None
    assert content is not None  # it was just made
    return bytes(content)


def _scopes(file: TfliteFile, activations: Bits) -> list[tuple[str, int]]:
    """(what matches the outputs of operators, bits of their activations); the last that matches counts."""
    if isinstance(activations, int):
        return [(".*", activations)]
    check_patterns(file, activations)
    wide = [node for node in file.weighted() if bits_of(node, activations) == 16]
    return [(".*", 8), *((f"^{re.escape(name_of(node.outputs[0]))};$", 16) for node in wide)]


def _check_float(data: bytes) -> None:
    for tensor in TfliteFile(data).inputs:
        if tensor.type != schema.TensorType.FLOAT32:
            raise QuantizeError(
                "the model is quantised already",
                where=name_of(tensor),
                expected="a model in floating point",
                remedy="compile it as it is, or give the float model it was made from",
            )
