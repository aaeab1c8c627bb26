"""The bytes of a .tflite file as an object whose tensors and operators can be changed, and back to bytes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinygen.errors import QuantizeError
from tinygen.ir import Array

Operator = schema.BuiltinOperator
TYPES: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype("f4"),
    schema.TensorType.FLOAT16: np.dtype("f2"),
    schema.TensorType.INT32: np.dtype("i4"),
    schema.TensorType.UINT8: np.dtype("u1"),
    schema.TensorType.INT64: np.dtype("i8"),
    schema.TensorType.INT16: np.dtype("i2"),
    schema.TensorType.INT8: np.dtype("i1"),
    schema.TensorType.BOOL: np.dtype("?"),
}
"""The types of tensors whose elements are whole bytes."""
_NAMES = {value: name for name, value in vars(Operator).items() if isinstance(value, int)}
WEIGHTED = (Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D, Operator.FULLY_CONNECTED)
"""Operators with weights as their second input and a bias as their third, one per output channel."""
_IDENTIFIER = b"TFL3"
_BUILDER_BYTES = 1024


@dataclass(frozen=True, eq=False)
class Node:
    """An operator of the file: its code, its record and its tensors; an input that is left out is None."""

    code: int
    record: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]

    @property
    def kind(self) -> str:
        """The operator's name in the schema, such as CONV_2D."""
        return str(_NAMES[self.code])

    @property
    def activation(self) -> int:
        """The activation function that is fused into the operator (NONE without one)."""
        options = self.record.builtinOptions
        return int(getattr(options, "fusedActivationFunction", schema.ActivationFunctionType.NONE))

    @property
    def weights(self) -> Any:
        """The tensor of weights of a WEIGHTED operator."""
        return self.inputs[1]

    @property
    def bias(self) -> Any:
        """The tensor of the bias of a WEIGHTED operator, None without one."""
        return self.inputs[2] if len(self.inputs) > 2 else None

    @property
    def channel_axis(self) -> int:
        """The axis of the weights along which the output channels lie."""
        return 3 if self.code == Operator.DEPTHWISE_CONV_2D else 0


class TfliteFile:
    """A .tflite file with one subgraph, to be read and changed."""

    def __init__(self, data: bytes) -> None:
        if data[4:8] != _IDENTIFIER:
            raise QuantizeError("not a .tflite file", found=f"bytes {data[:8].hex(' ')}", expected="'TFL3' at byte 4")
        self.model: Any = schema.ModelT.InitFromPackedBuf(data, 0)
        if len(self.model.subgraphs) != 1:
            raise QuantizeError(
                "a model with control flow cannot be quantised",
                found=f"{len(self.model.subgraphs)} subgraphs",
                expected="1",
                remedy="unroll its loops and branches",
            )
        self.graph: Any = self.model.subgraphs[0]

    @property
    def tensors(self) -> list[Any]:
        """The tensors by index."""
        return list(self.graph.tensors)

    @property
    def inputs(self) -> list[Any]:
        """The tensors that go into the model."""
        return [self.graph.tensors[i] for i in self.graph.inputs]

    @property
    def outputs(self) -> list[Any]:
        """The tensors that come out of the model."""
        return [self.graph.tensors[i] for i in self.graph.outputs]

    def nodes(self) -> Iterator[Node]:
        """The operators in their order."""
        for record in self.graph.operators:
            code = self.model.operatorCodes[record.opcodeIndex]
            number = max(code.builtinCode, code.deprecatedBuiltinCode)
            yield Node(number, record, self._tensors(record.inputs), self._tensors(record.outputs))

    def weighted(self) -> list[Node]:
        """The operators with constant weights."""
        return [node for node in self.nodes() if node.code in WEIGHTED and self.is_constant(node.weights)]

    def is_constant(self, tensor: Any) -> bool:
        """Whether the file holds the tensor's values."""
        data = self.model.buffers[tensor.buffer].data
        return data is not None and len(data) > 0

    def constant(self, tensor: Any) -> Array:
        """The values of a constant tensor whose elements are whole bytes."""
        stored: Array = np.asarray(self.model.buffers[tensor.buffer].data, np.uint8)
        dtype: np.dtype[Any] = TYPES[tensor.type]
        return stored.view(dtype).reshape(shape_of(tensor))

    def set_bytes(self, tensor: Any, values: Array) -> None:
        """Make the bytes of `values` those of the constant tensor, and of no other that shared its buffer."""
        if sum(other.buffer == tensor.buffer for other in self.graph.tensors) > 1:
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(schema.BufferT())
        self.model.buffers[tensor.buffer].data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)

    def drop_unused(self) -> None:
        """Take out the tensors that no operator touches, and the buffers that nothing refers to."""
        records = self.graph.operators
        lists = [self.graph.inputs, self.graph.outputs, *(r.inputs for r in records), *(r.outputs for r in records)]
        touched = sorted({int(index) for indices in lists for index in indices if index >= 0})
        tensor_at = {old: new for new, old in enumerate(touched)} | {-1: -1}
        self.graph.tensors = [self.graph.tensors[index] for index in touched]
        for owner in (self.graph, *records):
            owner.inputs = np.array([tensor_at[int(index)] for index in owner.inputs], np.int32)
            owner.outputs = np.array([tensor_at[int(index)] for index in owner.outputs], np.int32)
        for signature in self.model.signatureDefs or []:
            for end in (*signature.inputs, *signature.outputs):
                end.tensorIndex = tensor_at[int(end.tensorIndex)]
        holders = [*self.graph.tensors, *(self.model.metadata or [])]
        held = sorted({0} | {int(holder.buffer) for holder in holders})  # the first is the empty one
        for holder in holders:
            holder.buffer = held.index(holder.buffer)
        self.model.buffers = [self.model.buffers[index] for index in held]

    def to_bytes(self) -> bytes:
        """The file."""
        builder = flatbuffers.Builder(_BUILDER_BYTES)
        builder.Finish(self.model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    def _tensors(self, indices: Any) -> tuple[Any, ...]:
        return tuple(None if i < 0 else self.graph.tensors[i] for i in indices)


def shape_of(tensor: Any) -> tuple[int, ...]:
    """The tensor's shape; () for a scalar."""
    return () if tensor.shape is None else tuple(int(size) for size in tensor.shape)


def name_of(tensor: Any) -> str:
    """The tensor's name."""
    return str(tensor.name.decode())


def scales_of(tensor: Any) -> Array:
    """The tensor's scales, one or one per channel."""
    return np.asarray(tensor.quantization.scale, np.float32)


def layers_of(tensor: Any) -> tuple[str, ...]:
    """The parts of the tensor's name, which has the names of the Keras layers it was made by."""
    return tuple(part for part in re.split("[/;]", name_of(tensor)) if part)


def with_unique_names(data: bytes) -> bytes:
    """The file with another name for every tensor that shares one: ranges are kept by name."""
    file = TfliteFile(data)
    counts = Counter(name_of(tensor) for tensor in file.tensors)
    if max(counts.values(), default=0) < 2:
        return data
    taken = set(counts)
    for index, tensor in enumerate(file.tensors):
        if counts[name_of(tensor)] > 1:
            name = f"{name_of(tensor)}:{index}"
            while name in taken:
                name += "_"
            taken.add(name)
            tensor.name = name.encode()
    return file.to_bytes()
