"""Computes layers row by row from rows that lie anywhere, with nothing kept from one row to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tests.overlap_harness import APART, Layers, differing, planned
from tinygen.driver import Compiled
from tinygen.emit import emit
from tinygen.ir import Array
from tinygen.ops.spec import Rows
from tinygen.program import Data, Function
from tinygen.variants import Choice

POOL_BYTES, UNUSED = 24576, 20480
"""Rows lie in the first part of the pool; those that a call does not need are said to be in the other."""
POISON, STALE = 0x55, 0xA5
"""What lies between rows and in their place; what scratch holds before each call."""
MOST_GAP = 6


def rows_of(net: Layers) -> list[Rows]:
    """The row form of every layer; all have one."""
    found = [choice.rows for choice in net.choices]
    assert None not in found, [c.context.input(0).shape for c, rows in zip(net.choices, found, strict=True) if not rows]
    return [rows for rows in found if rows is not None]


def by_rows(net: Layers, seed: int = 0) -> Compiled:
    """The model with every layer computed by its row kernel, the rows of each call scattered over a buffer.

    Other rows than those that the record says are not there; and where it says that all is read first, the output lies
    over them.
    """
    rng, compiled, forms = np.random.default_rng(seed), _apart(net), rows_of(net)
    functions = [Function(f"tg_row_{i}", rows.template, rows.kernel.values) for i, rows in enumerate(forms)]
    data = [value for value in compiled.program.data if value.plain]
    data += [
        Data(f"net_{index}_{constant.role}", str(constant.data.dtype), constant.data, constant.role)
        for index, rows in enumerate(forms)
        for constant in rows.kernel.constants
    ]
    files = emit(replace(compiled.program, functions=tuple(functions), data=tuple(data), calls=()))
    head = files["src/net.c"].rsplit("void net_invoke(void)", 1)[0]
    layers = [
        _form(rows)(compiled, i, choice, rows, rng)
        for i, (choice, rows) in enumerate(zip(net.choices, forms, strict=True))
    ]
    body = "\n".join(line for lines in layers for line in lines)
    head += (
        f"static int8_t pool[{POOL_BYTES}];\n\nvoid net_invoke(void)\n{{\n    int8_t *const arena = net_arena.bytes;\n"
    )
    return replace(compiled, files={**compiled.files, **files, "src/net.c": f"{head}{body}\n}}\n"})


def check_rows(net: Layers, samples: int = 3, seed: int = 0) -> None:
    """Every layer is exact row by row, here and in the emulator of its board."""
    compiled = by_rows(net, seed)
    for emulated in (False, True) if net.board else (False,):
        wrong = differing(net, compiled, samples, emulated)
        assert not wrong, [(net.choices[i].variant.name, net.choices[i].context.input(0).shape) for i in sorted(wrong)]


def _apart(net: Layers) -> Compiled:
    """The model under a plan that lets nothing share a byte; nobody looks at its C."""
    graph, end = net.graph, 0
    tensors, scratch = {}, {}
    for number, tensor in graph.tensors.items():
        if tensor.data is None:
            tensors[number], end = end, -(-(end + tensor.bytes) // APART) * APART + APART
    for index, rows in enumerate(rows_of(net)):
        scratch[index], end = end, -(-(end + rows.kernel.scratch_bytes) // APART) * APART + APART
    return planned(net, tensors, scratch, end)


def _row_bytes(shape: Sequence[int]) -> int:
    return shape[2] * shape[3]


def _scattered(shape: Sequence[int], start: int, rng: np.random.Generator) -> tuple[Array, int]:
    """Where the rows of a tensor begin, in any order with any gaps, and where the last one ends."""
    places, at = np.zeros(shape[1], int), start
    for row in rng.permutation(shape[1]):
        at += int(rng.integers(MOST_GAP))
        places[row], at = at, at + _row_bytes(shape)
    return places, at


def _form(rows: Rows) -> Callable[[Compiled, int, Choice, Rows, np.random.Generator], list[str]]:
    """Which C calls the kernel."""
    if rows.gathers:
        return _layer_that_gathers
    return _layer if rows.table else _layer_of_pixels


def _layer_that_gathers(
    compiled: Compiled, index: int, choice: Choice, rows: Rows, rng: np.random.Generator
) -> list[str]:
    """The same of a layer that takes one row of its input after another, and keeps its scratch."""
    node, shape, tensors = choice.context.node, choice.context.input(0).shape, compiled.plan.tensors
    scratch, size, place = f"arena + {compiled.plan.scratch[index]}", _row_bytes(shape), int(rng.integers(MOST_GAP))
    constants = [f"net_{index}_{constant.role}" for constant in rows.kernel.constants]
    arguments = [f"pool + {place}", "y", *constants, scratch, f"arena + {tensors[node.outputs[0]]}"]
    return [
        f"    memset({scratch}, {STALE}, {rows.kernel.scratch_bytes});",
        f"    for (int32_t y = 0; y < {shape[1]}; ++y) {{",
        f"        memset(pool, {POISON}, sizeof pool);",
        f"        memcpy(pool + {place}, arena + {tensors[node.inputs[0]]} + y * {size}, {size});",
        f"        tg_row_{index}({', '.join(arguments)});",
        "    }",
        f"    TG_LAYER_DONE({index});",
    ]


def _layer_of_pixels(compiled: Compiled, index: int, choice: Choice, rows: Rows, rng: np.random.Generator) -> list[str]:
    """The same of a layer that reads one row of each input, its output as far over the first one as the rule says."""
    kernel, context, at = rows.kernel, choice.context, 0
    places: dict[int, int] = {}
    for operand in kernel.operands:
        tensor = context.input(operand)
        assert tensor.data is None and (rows.height, rows.stride, rows.pad) == (1, 1, 0)
        places[operand] = at + int(rng.integers(MOST_GAP)) + _row_bytes(context.output.shape)
        at = places[operand] + _row_bytes(tensor.shape)
    bounds = [rule.most for rule in kernel.overlaps if rule.operand == kernel.operands[0]]
    output = at if not bounds or bounds[0] is None else places[kernel.operands[0]] + bounds[0]
    scratch = [f"arena + {compiled.plan.scratch[index]}"] if kernel.scratch_bytes else []
    constants = [f"net_{index}_{constant.role}" for constant in kernel.constants]
    out_size = _row_bytes(context.output.shape)
    return [
        f"    for (int32_t y = 0; y < {context.output.shape[1]}; ++y) {{",
        f"        memset(pool, {POISON}, sizeof pool);",
        *(
            f"        memcpy(pool + {place}, arena + {compiled.plan.tensors[context.node.inputs[operand]]}"
            f" + y * {_row_bytes(context.input(operand).shape)}, {_row_bytes(context.input(operand).shape)});"
            for operand, place in places.items()
        ),
        f"        tg_row_{index}({', '.join([*(f'pool + {p}' for p in places.values()), *constants, *scratch])},"
        f" pool + {output});",
        f"        memcpy(arena + {compiled.plan.tensors[context.node.outputs[0]]} + y * {out_size}, pool + {output},"
        f" {out_size});",
        "    }",
        f"    TG_LAYER_DONE({index});",
    ]


def _layer(compiled: Compiled, index: int, choice: Choice, rows: Rows, rng: np.random.Generator) -> list[str]:
    """The C of one layer: from its input in the arena to its output there."""
    source, target = choice.context.node.inputs[rows.kernel.operands[0]], choice.context.node.outputs[0]
    shape, out = choice.context.tensors[source].shape, choice.context.output.shape
    places, end = _scattered(shape, 0, rng)
    output = int(rng.integers(max(1, end - _row_bytes(out)))) if rows.reads_first else end + int(rng.integers(MOST_GAP))
    assert output + _row_bytes(out) <= UNUSED
    scratch = f"arena + {compiled.plan.scratch[index]}"
    scratched = [scratch] if rows.kernel.scratch_bytes else []
    constants = [f"net_{index}_{constant.role}" for constant in rows.kernel.constants]
    arguments = ["pool", "rows", "y", *constants, *scratched, f"pool + {output}"]
    size, out_size = _row_bytes(shape), _row_bytes(out)
    return [
        "    {",
        f"        static const uint16_t starts[] = {{ {', '.join(map(str, places))} }};",
        f"        for (int32_t y = 0; y < {out[1]}; ++y) {{",
        f"            uint16_t rows[{shape[1]}];",
        f"            memset(pool, {POISON}, sizeof pool);",
        *(f"            memset({place}, {STALE}, {rows.kernel.scratch_bytes});" for place in scratched),
        f"            for (int32_t i = 0; i < {shape[1]}; ++i) {{",
        f"                const int32_t at = i - (y * {rows.stride} - {rows.pad});",
        f"                rows[i] = {UNUSED};",
        f"                if (at >= 0 && at < {rows.height}) {{",
        "                    rows[i] = starts[i];",
        f"                    memcpy(pool + starts[i], arena + {compiled.plan.tensors[source]} + i * {size}, {size});",
        "                }",
        "            }",
        f"            tg_row_{index}({', '.join(arguments)});",
        f"            memcpy(arena + {compiled.plan.tensors[target]} + y * {out_size}, pool + {output}, {out_size});",
        "        }",
        "    }",
        f"    TG_LAYER_DONE({index});",
    ]
