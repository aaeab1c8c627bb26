"""Turns a graph and its memory plan into a program: kernel functions, the arrays they need, the calls in order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen import ops
from tinygen.ir import CTYPES, Array, Graph, Node, Tensor
from tinygen.memory.plan import Plan
from tinygen.variants import Choice

SUFFIXES = {"int8": "s8", "uint8": "u8", "int16": "s16", "int32": "s32", "int64": "s64", "float32": "f32", "bool": "b"}


@dataclass(frozen=True)
class Function:
    """A kernel function: a template with its numbers, shared by every layer that prints the same."""

    name: str
    template: str
    values: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Data:
    """A constant array."""

    symbol: str
    dtype: str
    data: Array
    comment: str
    plain: bool = False
    """Read by the model's user like any array, so never in a memory of its own (AVR's program memory)."""


@dataclass(frozen=True)
class Call:
    """One layer: a call of a kernel function."""

    layer: int
    function: str
    arguments: tuple[str, ...]
    comment: str
    outputs: tuple[int, ...]
    """Ids of the tensors that are complete after it."""


@dataclass(frozen=True)
class Piece:
    """Bytes of a tensor, and where they lie."""

    tensor: int
    start: int
    """The first of them in the tensor."""
    offset: int
    """In the arena."""
    bytes: int


@dataclass(frozen=True)
class Stop:
    """A moment of the inference that TG_LAYER_DONE shows: a part of a layer's outputs is complete."""

    layer: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Port:
    """An input or output of the model."""

    symbol: str
    tensor: Tensor
    address: str
    """The C expression of its first element."""


@dataclass(frozen=True)
class Program:
    """All that the templates print."""

    name: str
    functions: tuple[Function, ...]
    data: tuple[Data, ...]
    calls: tuple[Call, ...]
    stops: tuple[Stop, ...]
    """In the order of the inference."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    plan: Plan
    macs: int


def identifier(text: str) -> str:
    """`text` as a C identifier in lower case, outside the runtime's own `tg_` names."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "model"
    return name if name[0].isalpha() and name.split("_")[0] != "tg" else f"m_{name}"


def lower(graph: Graph, choices: Sequence[Choice | None], plan: Plan, name: str) -> Program:
    """The program of `graph` under `plan`, every symbol prefixed with `name`."""
    builder = _Builder(graph, plan, name)
    for index, (node, choice) in enumerate(zip(graph.nodes, choices, strict=True)):
        if choice is not None:
            builder.add(index, node, choice)
    inputs = tuple(builder.port(f"{name}_input_{i}", tensor) for i, tensor in enumerate(graph.inputs))
    outputs = tuple(builder.port(f"{name}_output_{i}", tensor) for i, tensor in enumerate(graph.outputs))
    macs = sum(ops.SPECS[c.context.node.op].cost(c.context).macs for c in choices if c is not None)
    return Program(
        name,
        tuple(builder.functions.values()),
        tuple(builder.data.values()),
        tuple(builder.calls),
        tuple(builder.stop(call) for call in builder.calls),
        inputs,
        outputs,
        plan,
        macs,
    )


class _Builder:
    """Collects functions and arrays, each distinct one once."""

    def __init__(self, graph: Graph, plan: Plan, name: str) -> None:
        self.graph, self.plan, self.name = graph, plan, name
        self.functions: dict[str, Function] = {}
        self.data: dict[tuple[str, tuple[int, ...], bytes], Data] = {}
        self.calls: list[Call] = []
        self._counts: dict[str, int] = {}

    def add(self, index: int, node: Node, choice: Choice) -> None:
        """The call of one node, with its function and arrays."""
        kernel, context = choice.kernel, choice.context
        layer = len(self.calls)
        arguments = [self.address(node.inputs[operand], const=True) for operand in kernel.operands]
        for constant in kernel.constants:
            symbol = f"{self.name}_{layer}_{node.op}_{constant.role}"
            arguments.append(self.array(symbol, constant.data, f"layer {layer}, {node.location}: {constant.role}"))
        if kernel.scratch_bytes:
            arguments.append(f"arena + {self.plan.scratch[index]}")
        arguments += [self.address(tensor) for tensor in node.outputs]
        shapes = ", ".join(_shape(context.input(i)) for i in kernel.operands if i < len(context.node.inputs))
        outputs = ", ".join(_shape(tensor) for tensor in context.outputs)
        comment = f"layer {layer}, {node.location}: {shapes} -> {outputs}"
        function = self.function(choice)
        self.calls.append(Call(layer, function, tuple(arguments), comment, node.outputs))

    def function(self, choice: Choice) -> str:
        """The name of the kernel function; layers that print the same text share one.

        It says the operator, or what a template for many operators does, then the variant and the output's type.
        """
        values = choice.kernel.values
        key = f"{choice.variant.template} {sorted(values.items(), key=lambda item: item[0])}"
        if key not in self.functions:
            first, *rest = Path(choice.variant.template).name.removesuffix(".c.j2").split(".")
            kind = choice.context.node.op if first in ops.SPECS else first
            base = "_".join(["tg", kind, *rest, SUFFIXES[choice.context.output.dtype]])
            count = self._counts[base] = self._counts.get(base, 0) + 1
            self.functions[key] = Function(f"{base}_{count}", choice.variant.template, values)
        return self.functions[key].name

    def array(self, symbol: str, data: Array, comment: str) -> str:
        """The symbol of a constant array; equal arrays are kept once."""
        key = (str(data.dtype), data.shape, data.tobytes())
        if key not in self.data:
            self.data[key] = Data(symbol, str(data.dtype), data, f"{comment} [{']['.join(map(str, data.shape))}]")
        return self.data[key].symbol

    def address(self, tensor_id: int, const: bool = False) -> str:
        """The C expression of a tensor's first element."""
        tensor = self.graph.tensors[tensor_id]
        if tensor.data is not None:
            return self.array(f"{self.name}_tensor_{tensor_id}", tensor.data, tensor.name)
        place = f"arena + {self.plan.tensors[tensor_id]}"
        if tensor.dtype == "int8":
            return place
        qualifier = "const " if const else ""
        return f"({qualifier}{CTYPES[tensor.dtype]} *)(void *)({place})"

    def stop(self, call: Call) -> Stop:
        """The end of a layer, which leaves its outputs whole."""
        sizes = {tensor: self.graph.tensors[tensor].bytes for tensor in call.outputs}
        return Stop(call.layer, tuple(Piece(t, 0, self.plan.tensors[t], size) for t, size in sizes.items()))

    def port(self, symbol: str, tensor_id: int) -> Port:
        """An input or output of the model."""
        tensor = self.graph.tensors[tensor_id]
        if tensor.data is None:
            return Port(symbol, tensor, self.address(tensor_id).replace("arena +", f"{self.name}_arena.bytes +"))
        value = Data(f"{symbol}_value", tensor.dtype, tensor.data, f"{tensor.name}, known at compile time", plain=True)
        self.data[(value.symbol, (), b"")] = value
        return Port(symbol, tensor, value.symbol)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
