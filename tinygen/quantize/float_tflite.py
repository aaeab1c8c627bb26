"""A .tflite file in floating point as one in integers, by AI Edge Quantizer and without TensorFlow.

Ranges, 4-bit weights, equalised layers and corrected biases are those of tinygen.quantize.quantize; only the step to 8
bits is another program's, so that scales can differ from those of TensorFlow's converter where operators share one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize.calibrate import Ranges
from tinygen.quantize.fp16 import from_float16
from tinygen.quantize.integer import Prepared, Settings, prepare
from tinygen.quantize.tflite_file import Operator, TfliteFile, name_of
from tinygen.quantize.weights import Bits
from tinygen.quantize.wide_layers import wide_operators


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
    return prepare_float_tflite(data, calibration_x, settings).integer()


def prepare_float_tflite(data: bytes, calibration_x: Array | Sequence[Array], settings: Settings) -> Prepared:
    """The model calibrated, for many ways to make it integers; raises as `quantize_float_tflite` does."""
    settings.check()
    _check_float(data)
    return prepare(from_float16(data), calibration_x, settings, with_ai_edge_quantizer)


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
    for scope, operator, width in _scopes(TfliteFile(data), settings.activations):
        quantizer.add_static_config(scope, operator, width, 8, granularity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about how it starts the interpreter
        try:
            content = quantizer.quantize(seen, enable_progress_bar=False, enable_progress_report=False).quantized_model
        except (ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise QuantizeError("AI Edge Quantizer refuses this model", found=reason) from None
    assert content is not None  # it was just made
    return _mended(bytes(content), ranges)


def _scopes(file: TfliteFile, activations: Bits) -> list[tuple[str, TFLOperationName, int]]:
    """(what matches the outputs of operators, their kind, bits of their activations); the last that matches counts."""
    every, output = TFLOperationName.ALL_SUPPORTED, TFLOperationName.OUTPUT
    if isinstance(activations, int):
        return [(".*", every, activations)]
    outputs = ["".join(f"{name_of(tensor)};" for tensor in node.outputs) for node in wide_operators(file, activations)]
    # Configurations of the same pattern count where the first of them stands: that of the outputs has its own.
    return [(".*", every, 8), *((f"^{re.escape(names)}$", every, 16) for names in outputs), ("^.*$", output, 8)]


def _mended(data: bytes, ranges: Ranges) -> bytes:
    """The same, where 16 bits are concerned, without what the quantiser's defaults lose.

    16-bit sums may have any scales, not powers of two alone. A model's outputs that are made 8 bits again use all of
    them: a softmax of 16 bits has a symmetric range, half of which is never seen.
    """
    file = TfliteFile(data)
    nodes = list(file.nodes())
    makers = {id(tensor): node for node in nodes for tensor in node.outputs}
    outputs = {id(tensor) for tensor in file.outputs}
    wide = [node for node in nodes if any(t and t.type == schema.TensorType.INT16 for t in node.inputs)]
    for node in wide:
        source, result = node.inputs[0], node.outputs[0]
        if node.code in (Operator.ADD, Operator.SUB):
            node.record.builtinOptions.potScaleInt16 = False
        if node.code == Operator.QUANTIZE and id(result) in outputs:
            is_share = id(source) in makers and makers[id(source)].code in (Operator.SOFTMAX, Operator.LOGISTIC)
            _set_range(result, *((0.0, 255 / 256) if is_share else ranges[name_of(source)]))
    return file.to_bytes() if wide else data


def _set_range(tensor: Any, low: float, high: float) -> None:
    """Give an int8 tensor the scale and zero point of a range."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(high - low, float(np.finfo(np.float32).tiny)) / 255
    tensor.quantization.scale = np.array([scale], np.float32)
    tensor.quantization.zeroPoint = np.array([-128 - round(low / scale)], np.int64)


def _check_float(data: bytes) -> None:
    for tensor in TfliteFile(data).inputs:
        if tensor.type != schema.TensorType.FLOAT32:
            raise QuantizeError(
                "the model is quantised already",
                where=name_of(tensor),
                expected="a model in floating point",
                remedy="compile it as it is, or give the float model it was made from",
            )
