"""Turns a graph and its memory plan into a program: kernel functions, the arrays they need, the calls in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.ir import CTYPES, Array, Graph, Tensor
from tinygen.memory.plan import Plan
from tinygen.memory.rows import GIVEN, Event, Run, row_bytes, turns
from tinygen.ops.spec import Context, Gathered, Kernel, Rows
from tinygen.program import Call, Data, Function, Given, Piece, Port, Program, Stop, Stream, arena_at, arenas
from tinygen.variants import Choice

SUFFIXES = {"int8": "s8", "uint8": "u8", "int16": "s16", "int32": "s32", "int64": "s64", "float32": "f32", "bool": "b"}
STEPS = "kernels/steps.c.j2"
"""What gathers the steps under a window."""


def lower(graph: Graph, choices: Sequence[Choice | None], plan: Plan, name: str) -> Program:
    """The program of `graph` under `plan`, every symbol prefixed with `name`."""
    builder = _Builder(graph, plan, name)
    runs = {index: run for run in plan.runs for index in range(run.first, run.last + 1)}
    for index, choice in enumerate(choices):
        if index in runs:
            if index == runs[index].first:
                builder.add_run(runs[index], choices)
        elif choice is not None:
            builder.add(index, choice)
    inputs = tuple(builder.port(f"{name}_input_{i}", tensor) for i, tensor in enumerate(graph.inputs))
    outputs = tuple(builder.port(f"{name}_output_{i}", tensor) for i, tensor in enumerate(graph.outputs))
    macs = sum(ops.SPECS[c.context.node.op].cost(c.context).macs for c in choices if c is not None)
    return Program(
        name,
        tuple(builder.functions.values()),
        tuple(builder.data.values()),
        tuple(builder.calls),
        tuple(builder.steps),
        tuple(builder.stops),
        inputs,
        outputs,
        plan,
        macs,
    )


class _Builder:
    """Collects functions and arrays, each distinct one once."""

    def __init__(self, graph: Graph, plan: Plan, name: str) -> None:
        self.graph, self.plan, self.name = graph, plan, name
        self.arenas = arenas(plan, name)
        self.functions: dict[str, Function] = {}
        self.data: dict[tuple[str, tuple[int, ...], bytes], Data] = {}
        self.calls: list[Call] = []
        self.steps: list[Call | Stream] = []
        self.stops: list[Stop] = []
        self._counts: dict[str, int] = {}

    def add(self, index: int, choice: Choice) -> None:
        """One node as a layer of its own, with its function and arrays."""
        node = choice.context.node
        inputs = [self.address(node.inputs[operand], const=True) for operand in choice.kernel.operands]
        outputs = [self.address(tensor) for tensor in node.outputs]
        call = self.call(index, choice, choice.kernel, choice.variant.template, inputs, outputs)
        self.steps.append(call)
        sizes = {tensor: self.graph.tensors[tensor].bytes for tensor in node.outputs}
        pieces = tuple(Piece(tensor, 0, self.plan.tensors[tensor], size) for tensor, size in sizes.items())
        self.stops.append(Stop(call.layer, pieces))

    def call(
        self,
        index: int,
        choice: Choice,
        kernel: Kernel,
        template: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        gathered_bytes: int = 0,
    ) -> Call:
        """The call of a kernel for node `index`, with the C expressions of its inputs and outputs.

        Its scratch begins behind what is gathered.
        """
        context, layer = choice.context, len(self.calls)
        node = context.node
        arguments = list(inputs)
        for constant in kernel.constants:
            symbol = f"{self.name}_{layer}_{node.op}_{constant.role}"
            arguments.append(self.array(symbol, constant.data, f"layer {layer}, {node.location}: {constant.role}"))
        if kernel.scratch_bytes > gathered_bytes:
            arguments.append(self.place(self.plan.scratch[index] + gathered_bytes))
        arguments += outputs
        shapes = ", ".join(_shape(context.input(i)) for i in kernel.operands if i < len(node.inputs))
        made = ", ".join(_shape(tensor) for tensor in context.outputs)
        comment = f"layer {layer}, {node.location}: {shapes} -> {made}"
        function = self.function(context, template, kernel.values)
        self.calls.append(Call(layer, function, tuple(arguments), comment, node.outputs))
        return self.calls[-1]

    def add_run(self, run: Run, choices: Sequence[Choice | None]) -> None:
        """Nodes that are computed row by row."""
        first = len(self.calls)
        layers = [self.row_call(index, choices[index]) for index in range(run.first, run.last + 1)]
        given = self.given(run.given) if run.given is not None else None
        order_of_turns = [len(layers) if event.node == GIVEN else event.node - run.first for event in run.events]
        comment = f"layers {first} to {first + len(layers) - 1}: whose row is next"
        order = self.array(f"{self.name}_{first}_order", np.array(order_of_turns, np.uint8), comment)
        name = f"{self.name}_rows_{first}"
        self.steps.append(Stream(name, tuple(layers), order, len(order_of_turns), given))
        for event in run.events:
            if event.node != GIVEN:
                self.stops.append(self.row_stop(first + event.node - run.first, event, choices[event.node]))

    def row_call(self, index: int, choice: Choice | None) -> Call:
        """The call that makes row `y` of a node's output."""
        rows = _rows(choice)
        assert choice is not None
        node = choice.context.node
        if rows.gathered:
            inputs = [self.gathered(index, rows.gathered, node.inputs[0])]
        elif rows.table:
            inputs = [part for i in rows.kernel.operands for part in self.row_table(node.inputs[i])] + ["y"]
        else:
            inputs = [self.row_address(node.inputs[i], const=True) for i in rows.kernel.operands] + ["y"] * rows.gathers
        output = self.address(node.outputs[0]) if rows.gathers else self.row_address(node.outputs[0])
        held = rows.gathered.bytes if rows.gathered else 0
        return self.call(index, choice, rows.kernel, rows.template, inputs, [output], held)

    def gathered(self, index: int, found: Gathered, tensor: int) -> str:
        """The C expression of the first of the steps under a window, once they lie side by side in its scratch."""
        values = {**asdict(found), "padded": found.padded}
        key = f"{STEPS} {sorted(values.items())}"
        if key not in self.functions:
            count = self._counts[STEPS] = self._counts.get(STEPS, 0) + 1
            self.functions[key] = Function(f"tg_steps_{count}", STEPS, values)
        base, table = self.row_table(tensor)
        scratch = self.place(self.plan.scratch[index])
        return self.typed(f"{self.functions[key].name}({base}, {table}, y, {scratch})", tensor, const=True)

    def row_stop(self, layer: int, event: Event, choice: Choice | None) -> Stop:
        """The end of an event, which leaves one row; or nothing, as long as rows are gathered."""
        rows = _rows(choice)
        tensor = self.graph.nodes[event.node].outputs[0]
        if rows.gathers:
            ends = event.row == turns(self.graph, event.node, rows) - 1
            whole = Piece(tensor, 0, self.plan.tensors[tensor], self.graph.tensors[tensor].bytes)
            return Stop(layer, (whole,) if ends else ())
        size = row_bytes(self.graph.tensors[tensor])
        start, made = event.row * size, self.graph.tensors[tensor].bytes
        return Stop(layer, (Piece(tensor, start, self.row_offsets(tensor)[event.row], min(size, made - start)),))

    def row_offsets(self, tensor: int) -> Sequence[int]:
        """Where each row of a tensor lies in the arena."""
        if tensor in self.plan.rows:
            return self.plan.rows[tensor]
        size, rows = row_bytes(self.graph.tensors[tensor]), self.graph.tensors[tensor].rows
        return [self.plan.tensors[tensor] + row * size for row in range(rows)]

    def row_table(self, tensor: int) -> tuple[str, str]:
        """The C expression of a tensor's lowest row, and the array of how far from it each row lies."""
        offsets = np.array(self.row_offsets(tensor))
        lowest = int(offsets.min())
        comment = f"how far the rows of {self.graph.tensors[tensor].name} lie from the lowest"
        table = self.array(f"{self.name}_rows_of_{tensor}", (offsets - lowest).astype(np.uint16), comment)
        return self.place(lowest) if lowest or len(self.arenas) > 1 else "arena", table

    def row_address(self, tensor: int, const: bool = False) -> str:
        """The C expression of row `y` of a tensor, if that is not constant."""
        if self.graph.tensors[tensor].data is not None:
            return self.address(tensor, const=True)
        if tensor in self.plan.rows:
            base, table = self.row_table(tensor)
            return self.typed(f"{base} + tg_load_u16({table} + y)", tensor, const)
        place = f"{self.place(self.plan.tensors[tensor])} + y * {row_bytes(self.graph.tensors[tensor])}"
        return self.typed(place, tensor, const)

    def given(self, tensor_id: int) -> Given:
        """The model's input, where its rows are given one by one."""
        tensor = self.graph.tensors[tensor_id]
        port = self.port(f"{self.name}_input_0", tensor_id)
        size = row_bytes(tensor)
        return Given(port, self.row_address(tensor.id), size, tensor.rows, tensor.bytes - (tensor.rows - 1) * size)

    def place(self, offset: int) -> str:
        """The C expression of the byte at an offset of the plan."""
        if len(self.arenas) == 1:
            return f"arena + {offset}"
        array, byte = arena_at(self.arenas, offset)
        return f"{array.symbol}.bytes + {byte}"

    def function(self, context: Context, template: str, values: Mapping[str, Any]) -> str:
        """The name of the kernel function; layers that print the same text share one.

        It says the operator, or what a template for many operators does, then the variant and the output's type.
        """
        key = f"{template} {sorted(values.items(), key=lambda item: item[0])}"
        if key not in self.functions:
            first, *rest = Path(template).name.removesuffix(".c.j2").split(".")
            kind = context.node.op if first in ops.SPECS else first
            base = "_".join(["tg", kind, *rest, SUFFIXES[context.output.dtype]])
            count = self._counts[base] = self._counts.get(base, 0) + 1
            self.functions[key] = Function(f"{base}_{count}", template, values)
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
        return self.typed(self.place(self.plan.tensors[tensor_id]), tensor_id, const)

    def typed(self, place: str, tensor_id: int, const: bool) -> str:
        """The C expression of an address of bytes, as one of a tensor's elements."""
        dtype, qualifier = self.graph.tensors[tensor_id].dtype, "const " if const else ""
        return place if dtype == "int8" else f"({qualifier}{CTYPES[dtype]} *)({qualifier}void *)({place})"

    def port(self, symbol: str, tensor_id: int) -> Port:
        """An input or output of the model, as the file has it."""
        held = self.graph.tensors[tensor_id]
        tensor = replace(held, shape=held.shape_in_file, file_shape=None, row_steps=None)
        if tensor_id in self.plan.rows:
            return Port(symbol, tensor, "")
        if tensor.data is None:
            return Port(symbol, tensor, self.address(tensor_id).replace("arena +", f"{self.name}_arena.bytes +"))
        value = Data(f"{symbol}_value", tensor.dtype, tensor.data, f"{tensor.name}, known at compile time", plain=True)
        self.data[(value.symbol, (), b"")] = value
        return Port(symbol, tensor, value.symbol)


def _rows(choice: Choice | None) -> Rows:
    assert choice is not None and choice.rows is not None
    return choice.rows


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
