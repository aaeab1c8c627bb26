"""The graph that every stage works on: tensors, nodes, and the rules that hold between them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygen.errors import ModelError

Array = npt.NDArray[Any]

ABSENT = -1
"""The tensor id of an optional input that is not there."""

DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {name: np.dtype(name) for name in ("int8", "uint8", "int16", "int32", "int64", "float32", "bool")}
)


CTYPES: Mapping[str, str] = MappingProxyType(
    {name: "float" if name == "float32" else name if name == "bool" else f"{name}_t" for name in DTYPES}
)
"""Element type -> its C type."""


@dataclass(frozen=True)
class Quantization:
    """real = scale * (stored - zero_point); one pair for the tensor, or one for each index of `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None


@dataclass(frozen=True)
class Columns:
    """Some of the columns (the axis before the last) of another tensor."""

    of: int
    first: int
    end: int


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the graph: constant when `data` is there, else computed or given by the caller."""

    id: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    quant: Quantization | None = None
    data: Array | None = None
    channels: tuple[int, ...] | None = None
    """Which channels of the file's tensor it holds, as indices along the last axis; None: all."""
    columns: Columns | None = None
    """Which columns of which tensor it holds, where it is no tensor of the file's own."""
    file_shape: tuple[int, ...] | None = None
    """The shape that it has in the file, where that is another with the same bytes."""
    row_steps: int | None = None
    """How many of its columns are a row, where it is a sequence over time: an image of one row that is divided."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes in memory, unpadded."""
        return self.size * DTYPES[self.dtype].itemsize

    @property
    def per_tensor(self) -> bool:
        """Whether one scale and zero point hold for all elements."""
        return self.quant is not None and len(self.quant.scale) == 1

    @property
    def scale(self) -> float:
        """The per-tensor scale."""
        return self._single(self.quant.scale if self.quant else ())

    @property
    def zero_point(self) -> int:
        """The per-tensor zero point."""
        return int(self._single(self.quant.zero_point if self.quant else ()))

    @property
    def source(self) -> int:
        """The id of the file's tensor that it holds something of."""
        return self.columns.of if self.columns else self.id

    @property
    def rows(self) -> int:
        """Rows that it can be computed by: of its height, or of some steps, the last one of those that are left."""
        return -(-self.shape[2] // self.row_steps) if self.row_steps else self.shape[1]

    @property
    def shape_in_file(self) -> tuple[int, ...]:
        """Its shape with the axes that it has in the file, but for channels that were dropped."""
        return (*self.file_shape[:-1], *self.shape[-1:]) if self.file_shape else self.shape

    def part_of(self, whole: Array) -> Array:
        """What this tensor holds of `whole`, a value of the file's tensor."""
        columns = whole[..., self.columns.first : self.columns.end, :] if self.columns else whole
        held = columns if self.channels is None else columns[..., list(self.channels)]
        return held.reshape(self.shape)

    def _single(self, values: tuple[float, ...]) -> float:
        if len(values) != 1:
            raise ModelError(
                "tensor needs one scale and zero point",
                where=f"tensor {self.id} '{self.name}'",
                found=str(len(values) or "none"),
                remedy="convert the model with full integer quantisation (a representative dataset)",
            )
        return values[0]

    def __str__(self) -> str:
        return f"%{self.id}:{self.dtype}[{'x'.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Node:
    """One operator: `op` names its OpSpec, `attributes` is that operator's own frozen dataclass."""

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attributes: Any
    location: str
    """How a message names the node: "operator 3 CONV_2D"."""


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in an order that can be executed, over tensors known by id."""

    name: str
    tensors: Mapping[int, Tensor]
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def with_nodes(self, nodes: Iterable[Node], changed: Iterable[Tensor] = ()) -> Graph:
        """The same graph with other nodes and with `changed` tensors added or replaced."""
        tensors = {**self.tensors, **{tensor.id: tensor for tensor in changed}}
        return replace(self, nodes=tuple(nodes), tensors=MappingProxyType(tensors))

    @property
    def given_again(self) -> tuple[int, ...]:
        """What the caller gives after the inputs: one of these once more, for the nodes of a strip of columns."""
        made = {output for node in self.nodes for output in node.outputs} | set(self.inputs)
        again = (t for t in self.tensors.values() if t.source != t.id and t.source in self.inputs and t.id not in made)
        return tuple(tensor.id for tensor in again)

    def producers(self) -> dict[int, int]:
        """Tensor id -> index of the node that computes it."""
        return {output: index for index, node in enumerate(self.nodes) for output in node.outputs}

    def consumers(self) -> dict[int, list[int]]:
        """Tensor id -> indices of the nodes that read it, in order."""
        found: dict[int, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for tensor in dict.fromkeys(node.inputs):
                found.setdefault(tensor, []).append(index)
        return found

    def verify(self) -> Graph:
        """Return the graph itself, or raise ModelError when one of its rules is broken."""
        known = set(self.inputs) | {tensor.id for tensor in self.tensors.values() if tensor.data is not None}
        for tensor in self.tensors.values():
            _verify_tensor(tensor)
        for node in self.nodes:
            for tensor_id in node.inputs:
                if tensor_id != ABSENT and tensor_id not in self.tensors:
                    raise ModelError("input is not a tensor of the graph", where=node.location, found=str(tensor_id))
                if tensor_id != ABSENT and tensor_id not in known:
                    raise ModelError(
                        "input is read before anything computes it",
                        where=node.location,
                        found=f"tensor {tensor_id} '{self.tensors[tensor_id].name}'",
                        remedy="the file is damaged or its operators are out of order: convert it again",
                    )
            for tensor_id in node.outputs:
                if tensor_id not in self.tensors:
                    raise ModelError("output is not a tensor of the graph", where=node.location, found=str(tensor_id))
                if tensor_id in known:
                    raise ModelError("output is computed twice", where=node.location, found=f"tensor {tensor_id}")
                known.add(tensor_id)
        for tensor_id in self.outputs:
            if tensor_id not in known:
                raise ModelError("graph output is never computed", where=self.name, found=f"tensor {tensor_id}")
        return self

    def text(self) -> str:
        """One line a node, for tests and for people."""
        lines = [f"graph {self.name}({', '.join(str(self.tensors[i]) for i in self.inputs)})"]
        for node in self.nodes:
            outputs = ", ".join(str(self.tensors[i]) for i in node.outputs)
            inputs = ", ".join("-" if i == ABSENT else str(self.tensors[i]) for i in node.inputs)
            lines.append(f"  {outputs} = {node.op}({inputs}) {node.attributes}")
        lines.append(f"  return {', '.join(str(self.tensors[i]) for i in self.outputs)}")
        return "\n".join(lines)


def _verify_tensor(tensor: Tensor) -> None:
    where = f"tensor {tensor.id} '{tensor.name}'"
    if tensor.dtype not in DTYPES:
        raise ModelError("element type is not supported", where=where, found=tensor.dtype, expected=", ".join(DTYPES))
    if tensor.data is not None and tensor.data.shape != tensor.shape:
        raise ModelError(
            "constant has another shape", where=where, found=str(tensor.data.shape), expected=str(tensor.shape)
        )
    if tensor.data is not None and tensor.data.dtype != DTYPES[tensor.dtype]:
        raise ModelError("constant has another type", where=where, found=str(tensor.data.dtype), expected=tensor.dtype)
    if tensor.channels is not None and tensor.shape[-1:] != (len(tensor.channels),):
        raise ModelError(
            "channels do not fit the shape", where=where, found=str(len(tensor.channels)), expected=str(tensor.shape)
        )
    quant = tensor.quant
    if quant is None:
        return
    if len(quant.scale) != len(quant.zero_point):
        raise ModelError(
            "scales and zero points differ in number",
            where=where,
            found=f"{len(quant.scale)} and {len(quant.zero_point)}",
        )
    channels = 1 if quant.axis is None else tensor.shape[quant.axis]
    if len(quant.scale) != channels:
        raise ModelError("wrong number of scales", where=where, found=str(len(quant.scale)), expected=str(channels))
