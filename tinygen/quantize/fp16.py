"""Constants of a float .tflite stored as float16, and back: half the file, for storage and exchange.

It is the form that TensorFlow's converter gives float16 models: a DEQUANTIZE behind each constant. Such a model still
computes in floating point; tinygen compiles it after quantize_float_tflite() only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize.tflite_file import Operator, TfliteFile, name_of

GREATEST = float(np.finfo(np.float16).max)
_SUFFIX = "_float16"
_VERSION = 3
"""Of DEQUANTIZE, for inputs of float16."""


def to_float16(data: bytes) -> bytes:
    """The float .tflite with its constants rounded to float16; raises QuantizeError for what is too large for that."""
    file = TfliteFile(data)
    constants = [
        (index, tensor)
        for index, tensor in enumerate(file.tensors)
        if tensor.type == schema.TensorType.FLOAT32 and file.is_constant(tensor)
    ]
    operators = [_store(file, index, tensor) for index, tensor in constants]
    file.graph.operators = [*operators, *file.graph.operators]
    file.drop_unused()
    return file.to_bytes()


def from_float16(data: bytes) -> bytes:
    """The inverse, but for the rounding; a file without float16 is returned as it is."""
    file = TfliteFile(data)
    kept = []
    for node in file.nodes():
        source = node.inputs[0] if node.code == Operator.DEQUANTIZE else None
        if source is None or source.type != schema.TensorType.FLOAT16 or not file.is_constant(source):
            kept.append(node.record)
            continue
        _fill(file, node.outputs[0], file.constant(source).astype(np.float32))
    if len(kept) == len(file.graph.operators):
        return data
    file.graph.operators = kept
    file.drop_unused()
    return file.to_bytes()


def _store(file: TfliteFile, index: int, tensor: Any) -> Any:
    """Make the constant tensor the output of a new operator, which is returned."""
    values = file.constant(tensor)
    if np.abs(values).max(initial=0) > GREATEST:
        raise QuantizeError(
            "a constant is too large for float16",
            where=name_of(tensor),
            found=f"{np.abs(values).max():g}",
            expected=f"at most {GREATEST:g}",
        )
    half = schema.TensorT()
    half.name = (name_of(tensor) + _SUFFIX).encode()
    half.type, half.shape = schema.TensorType.FLOAT16, tensor.shape
    half.quantization = schema.QuantizationParametersT()
    file.graph.tensors.append(half)
    _fill(file, half, values.astype(np.float16))
    tensor.buffer = 0  # empty by definition: filled at run time
    operator = schema.OperatorT()
    operator.opcodeIndex = _dequantize(file)
    operator.inputs = np.array([len(file.graph.tensors) - 1], np.int32)
    operator.outputs = np.array([index], np.int32)
    return operator


def _fill(file: TfliteFile, tensor: Any, values: Array) -> None:
    """Make a constant of a tensor that had no values."""
    tensor.buffer = len(file.model.buffers)
    file.model.buffers.append(schema.BufferT())
    file.set_bytes(tensor, values)


def _dequantize(file: TfliteFile) -> int:
    """The index of DEQUANTIZE among the file's operator codes."""
    for index, code in enumerate(file.model.operatorCodes):
        if code.builtinCode == Operator.DEQUANTIZE and code.version >= _VERSION:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = Operator.DEQUANTIZE
    code.version = _VERSION
    file.model.operatorCodes.append(code)
    return len(file.model.operatorCodes) - 1
