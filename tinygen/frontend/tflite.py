"""Reads a .tflite file into a Graph; tensor ids are the file's tensor indices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinygen import ops
from tinygen.errors import ModelError, ModelErrors
from tinygen.frontend.flatbuffer import Reader, Table
from tinygen.ir import DTYPES, Array, Graph, Node, Quantization, Tensor
from tinygen.ops.spec import Options

SCHEMA_VERSION = 3
MAX_TENSOR_BYTES = 2**31 - 1
"""Offsets in the generated code are 32 bits wide, the field's own limit as well."""


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


_OPERATORS = _names(schema.BuiltinOperator)
_OPTIONS = _names(schema.BuiltinOptions)
_TYPES = {value: name.lower() for value, name in _names(schema.TensorType).items()}
_CUSTOM = 32
_PACKED = "int4"
"""Two constants a byte, the first in its low half; the graph holds them as int8."""


OF_AN_OPEN_BATCH = frozenset({"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "GATHER", "REDUCE_PROD", "TILE"})
"""Operators that the converter takes where the batch is open, and often none in their place where it is 1."""
UNSUPPORTED = "unsupported"
"""The `op` of a node that has no operator here; only `outline` returns such nodes."""


def read(data: bytes, source: str, subgraph: int = 0) -> Graph:
    """The graph of one subgraph of the file; ModelErrors lists every operator that is not supported."""
    graph, problems = outline(data, source, subgraph)
    if problems:
        raise ModelErrors(problems)
    return graph


def outline(data: bytes, source: str, subgraph: int = 0) -> tuple[Graph, list[ModelError]]:
    """(graph, problems): as `read`, but operators that are not supported become UNSUPPORTED nodes, one problem each."""
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise ModelError(
            "not a .tflite file",
            where=source,
            found=f"{len(data)} bytes that start with {data[:8].hex(' ') or 'nothing'}",
            expected="'TFL3' at byte 4",
            remedy="give the file that the TensorFlow Lite converter wrote",
        )
    model = Reader(data, source).root()
    version = model.integer(0, "<I")
    if version != SCHEMA_VERSION:
        raise ModelError("unknown schema version", where=source, found=str(version), expected=str(SCHEMA_VERSION))
    subgraphs = model.tables(2)
    if not 0 <= subgraph < len(subgraphs):
        raise ModelError("no such subgraph", where=source, found=str(subgraph), expected=f"0 to {len(subgraphs) - 1}")
    buffers = [_buffer(table, data) for table in model.tables(4)]
    return _graph(subgraphs[subgraph], model.tables(1), buffers, source)


def _buffer(table: Table, data: bytes) -> Array:
    """The bytes of a constant; empty for a buffer that is missing or lies to be filled at run time."""
    inline = table.array(0, "u1")
    if inline is not None and len(inline):
        return inline
    offset, size = table.integer(1, "<Q"), table.integer(2, "<Q")
    if offset <= 1 or size == 0:
        return np.zeros(0, np.uint8)
    if offset + size > len(data):
        raise table.reader.damaged(f"a buffer of {size} bytes at byte {offset} runs past the end")
    return np.frombuffer(data, np.uint8, size, offset)


def _graph(table: Table, codes: list[Table], buffers: list[Array], source: str) -> tuple[Graph, list[ModelError]]:
    inputs, outputs = _ids(table, 1), _ids(table, 2)
    raw_tensors = table.tables(0)
    has_open_batch = any(_is_open(raw_tensors[index]) for index in inputs if 0 <= index < len(raw_tensors))
    nodes: list[Node] = []
    node_problems: list[ModelError] = []
    for index, operator in enumerate(table.tables(3)):
        try:
            nodes.append(_node(index, operator, codes, has_open_batch))
        except ModelError as problem:
            node_problems.append(problem)
            location = f"operator {index} {_operator_name(operator, codes)}"
            nodes.append(Node(UNSUPPORTED, _ids(operator, 1), _ids(operator, 2), None, location))
    tensors, tensor_problems = _tensors(table, buffers, {*inputs, *(i for node in nodes for i in node.outputs)})
    for index in inputs:
        tensor_problems += _dynamic(index, raw_tensors, tensors)
    if tensor_problems:
        raise ModelErrors([*node_problems, *tensor_problems])
    if not outputs or not nodes:
        found = f"{len(nodes)} operators, {len(outputs)} outputs"
        raise ModelError("model computes nothing", where=source, found=found)
    name = table.string(4) or "main"
    return Graph(name, MappingProxyType(tensors), tuple(nodes), inputs, outputs).verify(), node_problems


def _tensors(table: Table, buffers: list[Array], computed: set[int]) -> tuple[dict[int, Tensor], list[ModelError]]:
    tensors: dict[int, Tensor] = {}
    problems: list[ModelError] = []
    for index, raw in enumerate(table.tables(0)):
        try:
            tensors[index] = _tensor(index, raw, buffers, index in computed)
        except ModelError as problem:
            problems.append(problem)
    return tensors, problems


def _ids(table: Table, slot: int) -> tuple[int, ...]:
    ids = table.array(slot, "i4")
    return () if ids is None else tuple(int(i) for i in ids)


def _is_open(raw_tensor: Table) -> bool:
    """Whether the first axis of a tensor may have any size."""
    signature = raw_tensor.array(7, "i4")
    return signature is not None and len(signature) > 0 and signature[0] < 0


def _dynamic(index: int, raw_tensors: list[Table], tensors: dict[int, Tensor]) -> list[ModelError]:
    """The problem of an input whose shape is open in more than its batch axis."""
    if not 0 <= index < len(raw_tensors):
        return [ModelError("model input is not a tensor", found=str(index), expected=f"0 to {len(raw_tensors) - 1}")]
    signature = raw_tensors[index].array(7, "i4")
    if (
        signature is None
        or index not in tensors
        or not any(axis > 0 and size < 0 for axis, size in enumerate(signature))
    ):
        return []
    return [
        ModelError(
            "dynamic shape",
            where=f"input tensor {index} '{tensors[index].name}'",
            found=str([int(size) for size in signature]),
            expected="sizes known at compile time",
            remedy="give the model's input a fixed shape and convert it again",
        )
    ]


def _tensor(index: int, table: Table, buffers: list[Array], computed: bool) -> Tensor:
    name = table.string(3) or f"tensor_{index}"
    where = f"tensor {index} '{name}'"
    raw_shape = table.array(0, "i4")
    shape = () if raw_shape is None else tuple(int(size) for size in raw_shape)
    type_code = table.integer(1, "<b")
    dtype = _TYPES.get(type_code, f"type {type_code}")
    if any(size < 0 for size in shape):
        raise ModelError("dynamic shape", where=where, found=str(list(shape)), remedy="convert with fixed shapes")
    packed = dtype == _PACKED and not computed
    if dtype not in DTYPES and not packed:
        raise ModelError(
            "element type is not supported",
            where=where,
            found=dtype,
            expected=", ".join(DTYPES),
            remedy="convert the model with full integer quantisation to int8",
        )
    if table.table(6) is not None:
        raise ModelError("sparse storage is not supported", where=where, remedy="convert without sparsity encoding")
    tensor = Tensor(index, name, shape, "int8" if packed else dtype, None)
    if tensor.bytes > MAX_TENSOR_BYTES:
        raise ModelError(
            "tensor is too large", where=where, found=f"{tensor.bytes} bytes", expected=f"<= {MAX_TENSOR_BYTES}"
        )
    data = None if computed else _constant(table, buffers, tensor, where, packed)
    if tensor.size == 0 and data is None:
        raise ModelError(
            "tensor has no elements", where=where, found=str(list(shape)), expected="every size at least 1"
        )
    return replace(tensor, quant=_quantization(table.table(4), shape, where), data=data)


def _constant(table: Table, buffers: list[Array], tensor: Tensor, where: str, packed: bool) -> Array | None:
    buffer = table.integer(2, "<I")
    if buffer >= len(buffers):
        raise ModelError("no such buffer", where=where, found=str(buffer), expected=f"0 to {len(buffers) - 1}")
    raw = buffers[buffer]
    if not len(raw) and tensor.size:
        return None
    expected = (tensor.size + 1) // 2 if packed else tensor.bytes
    if len(raw) != expected:
        raise ModelError("constant has the wrong size", where=where, found=f"{len(raw)} bytes", expected=f"{expected}")
    raw = _halves(raw)[: tensor.size] if packed else raw
    data = np.frombuffer(raw.tobytes(), DTYPES[tensor.dtype].newbyteorder("<")).astype(DTYPES[tensor.dtype])
    data = data.reshape(tensor.shape)
    data.setflags(write=False)
    return data


def _halves(raw: Array) -> Array:
    """The two int4 of every byte, as bytes that hold an int8."""
    halves = np.stack([raw & 15, raw >> 4], axis=1).ravel()
    return np.asarray((halves ^ 8) - np.uint8(8))


def _quantization(table: Table | None, shape: tuple[int, ...], where: str) -> Quantization | None:
    """Scale and zero point; None when the tensor is not quantised.

    Old converters write a quantized_dimension beyond the rank (1-D biases with 3): several scales then belong to the
    one axis of their number, and a single scale to the whole tensor whatever the field says.
    """
    scales = None if table is None else table.array(2, "f4")
    if table is None or scales is None or not len(scales):
        return None
    points = table.array(3, "i8")
    if points is None or not len(points):
        points = np.zeros(len(scales), np.int64)
    if len(points) == 1 and len(scales) > 1:
        points = np.repeat(points, len(scales))
    if not np.all(np.isfinite(scales)) or np.any(scales < 0):
        raise ModelError("scale is not a positive number", where=where, found=str(float(np.min(scales))))
    quant = Quantization(tuple(float(s) for s in scales), tuple(int(p) for p in points))
    if len(scales) == 1:
        return quant
    axis = table.integer(6)
    if not 0 <= axis < len(shape) or shape[axis] != len(scales):
        candidates = [i for i, size in enumerate(shape) if size == len(scales)]
        if len(candidates) != 1:
            raise ModelError("scales fit no axis", where=where, found=f"{len(scales)} scales for shape {list(shape)}")
        axis = candidates[0]
    return replace(quant, axis=axis)


def _operator_name(table: Table, codes: list[Table]) -> str:
    """The operator's name in the schema; old files keep its code in a byte, new ones in an integer as well."""
    index = table.integer(0, "<I")
    if index >= len(codes):
        return f"of unknown code {index}"
    builtin = max(codes[index].integer(0, "<b"), codes[index].integer(3))
    if builtin == _CUSTOM:
        return f"custom '{codes[index].string(1)}'"
    return _OPERATORS.get(builtin, f"of unknown code {builtin}")


def _node(index: int, table: Table, codes: list[Table], has_open_batch: bool) -> Node:
    name = _operator_name(table, codes)
    location = f"operator {index} {name}"
    spec = ops.BY_TFLITE.get(name)
    if spec is None:
        remedy = "replace it in the model; `tinygen ops` lists what is supported"
        if has_open_batch and name in OF_AN_OPEN_BATCH:
            remedy = "convert the model with a batch of 1, as by keras.Input(shape, batch_size=1)"
        raise ModelError("operator is not supported", where=location, remedy=remedy)
    outputs = _ids(table, 2)
    if not outputs:
        raise ModelError("operator has no outputs", where=location)
    return Node(spec.name, _ids(table, 1), outputs, spec.read(_options(table, location)), location)


def _options(table: Table, location: str) -> Options:
    """The operator's builtin options; none at all in files of old converters."""
    options = table.table(4)
    if options is None:
        return Options({}, location)
    kind = table.integer(3, "<B")
    if _OPTIONS.get(kind, "NONE") == "NONE":
        raise ModelError("options are of an unknown kind", where=location, found=str(kind))
    unpack: Any = getattr(schema, f"{_OPTIONS[kind]}T").InitFromBuf
    return Options(options.unpacked(unpack), location)


def open_outline(path: Path, subgraph: int = 0) -> tuple[bytes, Graph, list[ModelError]]:
    """(bytes, graph, problems) of a file on disk, as `outline`."""
    data = load_bytes(path)
    graph, problems = outline(data, str(path), subgraph)
    return data, graph, problems


def load_bytes(path: Path) -> bytes:
    """The file's bytes; raises ModelError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError("cannot read the model", where=str(path), found=error.strerror or str(error)) from None


def count_subgraphs(data: bytes, source: str) -> int:
    """How many subgraphs the file has."""
    return len(Reader(data, source).root().tables(2))


def with_first_subgraph(data: bytes, subgraph: int) -> bytes:
    """The file with `subgraph` as its first, which is the one that interpreters run; its signatures are left out."""
    if subgraph == 0:
        return data
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    model.subgraphs[0], model.subgraphs[subgraph] = model.subgraphs[subgraph], model.subgraphs[0]
    model.signatureDefs = None
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
