"""Builds .tflite files in memory with the flatbuffer schema's object API, without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int4": schema.TensorType.INT4,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
}


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the model being built."""

    index: int
    shape: tuple[int, ...]
    dtype: str
    scale: Any = None
    zero_point: Any = None


class ModelBuilder:
    """Tensors, constants and operators in order; `finish` gives the file's bytes."""

    def __init__(self, rng: np.random.Generator | None = None, activations: str = "int8") -> None:
        self.rng = rng if rng is not None else np.random.default_rng(0)
        self.activations = activations
        """The type of what random operators read and write: int8 or int16."""
        self.tensors: list[schema.TensorT] = []
        self.buffers = [schema.BufferT()]
        self.codes: list[schema.OperatorCodeT] = []
        self.operators: list[schema.OperatorT] = []
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.pool: list[Value] = []
        """Activations so far, for graphs that grow at random."""

    def tensor(
        self, shape: Sequence[int], dtype: str = "int8", scale: Any = None, zero_point: Any = 0, axis: int = 0
    ) -> Value:
        """A new tensor without data; `scale` and `zero_point` may be lists (per channel along `axis`)."""
        raw = schema.TensorT()
        raw.name = f"t{len(self.tensors)}"
        raw.shape = list(map(int, shape))
        raw.type = TYPES[dtype]
        if scale is not None:
            raw.quantization = schema.QuantizationParametersT()
            raw.quantization.scale = [float(s) for s in np.atleast_1d(scale)]
            raw.quantization.zeroPoint = [int(z) for z in np.atleast_1d(zero_point)]
            raw.quantization.quantizedDimension = axis
        self.tensors.append(raw)
        return Value(len(self.tensors) - 1, tuple(map(int, shape)), dtype, scale, zero_point)

    def input(self, shape: Sequence[int], dtype: str = "int8", scale: Any = None, zero_point: Any = 0) -> Value:
        """A model input."""
        value = self.tensor(shape, dtype, scale, zero_point)
        self.inputs.append(value)
        self.pool.append(value)
        return value

    def constant(self, data: Any, dtype: str, scale: Any = None, zero_point: Any = 0, axis: int = 0) -> Value:
        """A tensor with data; two int4 a byte, the first in its low half."""
        array = np.asarray(data, "int8" if dtype == "int4" else dtype)
        value = self.tensor(array.shape, dtype, scale, zero_point, axis)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        if dtype == "int4":
            halves = np.pad(buffer.data & 15, (0, array.size % 2))
            buffer.data = halves[::2] | halves[1::2] << 4
        self.buffers.append(buffer)
        self.tensors[value.index].buffer = len(self.buffers) - 1
        return value

    def op(
        self,
        name: str,
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
        options: str | None = None,
        **fields: Any,
    ) -> Sequence[Value]:
        """An operator; `options` names its options table without the "Options" at the end, `fields` fills it."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 1
        self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.codes) - 1
        operator.inputs = [-1 if value is None else value.index for value in inputs]
        operator.outputs = [value.index for value in outputs]
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
            operator.builtinOptions = getattr(schema, f"{options}OptionsT")()
            if options in ("Add", "Sub"):
                fields = {"potScaleInt16": False, **fields}
            for key, value in fields.items():
                if not hasattr(operator.builtinOptions, key):
                    raise AttributeError(f"{options}Options has no field {key}")
                setattr(operator.builtinOptions, key, value)
        self.operators.append(operator)
        self.pool.extend(value for value in outputs if value.dtype == self.activations and np.size(value.scale) == 1)
        return outputs

    def finish(self, outputs: Sequence[Value] | None = None) -> bytes:
        """The file; without `outputs`, every tensor that nothing reads is one."""
        read = {index for operator in self.operators for index in operator.inputs}
        if outputs is None:
            written = [index for operator in self.operators for index in operator.outputs]
            ends = [index for index in written if index not in read]
        else:
            ends = [value.index for value in outputs]
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = [value.index for value in self.inputs], ends
        model = schema.ModelT()
        model.version = 3
        model.description = "test"
        model.operatorCodes, model.subgraphs, model.buffers = self.codes, [graph], self.buffers
        return pack(model)

    # Random choices that many operators share.

    def random_scale(self, least: float = 0.003, most: float = 0.3) -> float:
        """A float32 scale, evenly spread over its logarithm."""
        return float(np.float32(np.exp(self.rng.uniform(np.log(least), np.log(most)))))

    def random_zero_point(self) -> int:
        """A zero point of an activation, the ends often; int16 has none but 0."""
        if self.activations == "int16":
            return 0
        return int(
            self.rng.choice([-128, 127, 0, int(self.rng.integers(-128, 128)), int(self.rng.integers(-128, 128))])
        )

    def random_input(self, shape: Sequence[int]) -> Value:
        """A new model input with random quantisation."""
        return self.input(shape, self.activations, self.random_scale(), self.random_zero_point())

    def forget(self, value: Value) -> None:
        """Take back an input that nothing was built on."""
        if value is self.inputs[-1] and value.index == len(self.tensors) - 1:
            self.tensors.pop()
            self.inputs.remove(value)
            self.pool.remove(value)

    def random_output(self, shape: Sequence[int], like: Value | None = None) -> Value:
        """A new tensor for an operator to write: quantised like `like`, or at random."""
        if like is not None:
            return self.tensor(shape, self.activations, like.scale, like.zero_point)
        return self.tensor(shape, self.activations, self.random_scale(), self.random_zero_point())

    def random_shape(self, rank: int, most: int = 9) -> tuple[int, ...]:
        """A shape of `rank`, batch mostly 1, sizes 1 to `most`."""
        shape = [int(size) for size in self.rng.integers(1, most + 1, rank)]
        if rank > 1 and self.rng.random() < 0.8:
            shape[0] = 1
        return tuple(shape)

    def partner(self, shape: Sequence[int]) -> Value:
        """An activation of exactly `shape`: one that the graph has, or a new input."""
        found = [value for value in self.pool if value.shape == tuple(shape)]
        if found and self.rng.random() < 0.7:
            return found[int(self.rng.integers(len(found)))]
        return self.random_input(shape)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return bool(self.rng.random() < probability)

    def pick(self, choices: Sequence[Any]) -> Any:
        """One of `choices`."""
        return choices[int(self.rng.integers(len(choices)))]


def pack(model: schema.ModelT) -> bytes:
    """The bytes of a schema object."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unpack(data: bytes) -> schema.ModelT:
    """The schema object of a file, to be changed and packed again."""
    return schema.ModelT.InitFromPackedBuf(data, 0)
