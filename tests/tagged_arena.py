"""Runs a compiled model on an arena whose every byte knows what it holds: no layer reads what was overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cffi
import numpy as np

from tinygen import ops
from tinygen.driver import Compiled
from tinygen.ir import ABSENT, DTYPES, Array, Graph
from tinygen.memory.rows import GIVEN as NOBODY
from tinygen.memory.rows import Run, read_rows, read_tensors, row_bytes, turns
from tinygen.ops.spec import context_of
from tinygen.quant import Numerics
from tinygen.variants import Choice
from tinygen.verify.feeding import feeding
from tinygen.verify.host import compiler, run_compiler
from tinygen.verify.observed import ARRAYS, arrays

INPUT, OUTPUT, SCRATCH, FED, REWRITTEN = range(5)
CLAMPED_AFTERWARDS = "tg_clamp(*y"
"""In the C of kernels that read their results again."""
GATHERED_AGAIN = "tg_min(next, channels - 4)"
"""Code of a kernel whose last four channels begin with some that are gathered again, and not computed again."""
FAULTS = 32
"""Kept of a run, at most."""
NOTHING = 2**64 - 1
"""The tag of a byte that nobody wrote."""
KINDS = ("reads", "writes", "leaves")
CHECKER = Path(__file__).with_name("tagged_arena.c")
CFLAGS = ("-std=c99", "-O1", "-fPIC", "-fno-tree-vectorize", "-fno-math-errno")
HARNESS = """\
#include <stdint.h>
#include <string.h>
void *tagged_memcpy(void *to, const void *from, size_t count);
void *tagged_memset(void *to, int value, size_t count);
void tagged_next(void);
#undef memcpy
#undef memset
#define memcpy(to, from, count) tagged_memcpy(to, from, count)
#define memset(to, value, count) tagged_memset(to, value, count)
#define TG_LAYER_DONE(layer) tagged_next()
#include "src/{name}.c"
{feeding}{arrays}"""
CDEF = """
struct range { int32_t start, bytes, kind; const uint64_t *tags; };
struct array { const int8_t *bytes; int32_t start, count; };
struct fault { int32_t moment, write, at; uint64_t found; };
void tagged_begin(const struct array *, int32_t, int32_t, const struct range *, const int32_t *, uint64_t *,
                  struct fault *);
int32_t tagged_end(void);
"""


@dataclass(frozen=True, eq=False)
class Range:
    """Bytes of the arena that a layer may use in one way; `tags` is what they hold then."""

    start: int
    bytes: int
    kind: int
    tags: Array | None


def element_tags(graph: Graph, moved: frozenset[int]) -> dict[int, Array]:
    """Run-time tensor -> a number for each element; one that a node without a call hands on keeps its number."""
    found = {tensor: _numbered(graph, tensor) for tensor in (*graph.inputs, *graph.given_again)}
    for index, node in enumerate(graph.nodes):
        if index in moved or ops.SPECS[node.op].alias:
            values = [None if i == ABSENT else found.get(i, graph.tensors[i].data) for i in node.inputs]
            results = ops.SPECS[node.op].reference(context_of(graph, node, Numerics.TFLITE), values)
            found |= dict(zip(node.outputs, results, strict=True))
        else:
            found |= {tensor: _numbered(graph, tensor) for tensor in node.outputs}
    return found


def _numbered(graph: Graph, tensor: int) -> Array:
    shape = graph.tensors[tensor].shape
    return (tensor + 1) * 2**32 + 8 * np.arange(graph.tensors[tensor].size, dtype=np.uint64).reshape(shape)


def byte_tags(compiled: Compiled) -> dict[int, Array]:
    """Run-time tensor -> the tag of each of its bytes."""
    graph = compiled.graph
    return {
        tensor: np.ascontiguousarray(
            elements.reshape(-1, 1) + np.arange(DTYPES[graph.tensors[tensor].dtype].itemsize, dtype=np.uint64)
        ).ravel()
        for tensor, elements in element_tags(graph, compiled.plan.moved).items()
    }


def moments(compiled: Compiled) -> list[list[Range]]:
    """What each layer, or row of a layer, may use, in the order in which they end.

    Rows that the caller gives count as written by what ends next.
    """
    return list(_Moments(compiled).all())


class _Moments:
    """The ranges of layers and of rows."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled, self.name, self.choices = compiled, compiled.program.name, compiled.choices
        self.graph, self.plan = compiled.graph, compiled.plan
        self.tags = byte_tags(compiled)

    def all(self) -> Iterator[list[Range]]:
        """One list for each moment."""
        starts = {run.first: run for run in self.plan.runs}
        inside = {node for run in self.plan.runs for node in range(run.first, run.last + 1)}
        for index, choice in enumerate(self.choices):
            if index in starts:
                yield from self._run(starts[index])
            elif index not in inside and index not in self.plan.moved and choice is not None:
                node = self.graph.nodes[index]
                given = [self._whole(tensor, INPUT) for tensor in node.inputs if tensor in self.tags]
                made = [self._whole(tensor, self._written(node.outputs, choice)) for tensor in node.outputs]
                yield given + made + self._scratch(index, choice.kernel.scratch_bytes)

    def _run(self, run: Run) -> Iterator[list[Range]]:
        fed: list[Range] = []
        for event in run.events:
            if event.node == NOBODY:
                assert run.given is not None
                fed.append(self._row(run.given, event.row, FED))
                continue
            choice, output = self.choices[event.node], self.graph.nodes[event.node].outputs[0]
            assert choice is not None and choice.rows is not None
            rows = choice.rows
            given = [
                part
                for tensor in read_tensors(self.graph, event.node, rows)
                for row in read_rows(rows, event.row, self.graph.tensors[tensor].rows)
                for part in self._row_with_rest(tensor, row, INPUT)
            ]
            ends = event.row == turns(self.graph, event.node, rows) - 1
            made = [] if rows.gathers else self._row_with_rest(output, event.row, OUTPUT)
            made += [self._whole(output, OUTPUT)] if rows.gathers and ends else []
            yield [*given, *fed, *made, *self._scratch(event.node, rows.kernel.scratch_bytes)]
            fed = []

    def _written(self, outputs: tuple[int, ...], choice: Choice) -> int:
        """Whether the layer with these outputs reads them again.

        A maximum may: where it lies over its own window, with some channels taken twice, it is the same again. So may a
        kernel that gathers channels once more which it has done: nothing is made of them.
        """
        if choice.context.node.op == "max_pool_2d" and choice.kernel.overlaps[0].exact:
            return REWRITTEN
        [call] = [call for call in self.compiled.program.calls if call.outputs == outputs]
        source = self.compiled.files[next(path for path in self.compiled.files if path.endswith(f"{self.name}.c"))]
        kernel = source.partition(f" void {call.function}(")[2].partition("\n}\n")[0]
        return REWRITTEN if CLAMPED_AFTERWARDS in kernel or GATHERED_AGAIN in kernel else OUTPUT

    def _whole(self, tensor: int, kind: int) -> Range:
        return Range(self.plan.tensors[tensor], self.graph.tensors[tensor].bytes, kind, self.tags[tensor])

    def _row(self, tensor: int, row: int, kind: int) -> Range:
        size = row_bytes(self.graph.tensors[tensor])
        apart = self.plan.rows.get(tensor)
        start = apart[row] if apart else self.plan.tensors[tensor] + row * size
        tags = self.tags[tensor][row * size : (row + 1) * size]
        return Range(start, len(tags), kind, tags)

    def _row_with_rest(self, tensor: int, row: int, kind: int) -> list[Range]:
        """A row, and what is behind the end of the last one that has fewer steps: anything, to be computed with."""
        found = self._row(tensor, row, kind)
        rest = row_bytes(self.graph.tensors[tensor]) - found.bytes
        return [found, Range(found.start + found.bytes, rest, SCRATCH, None)] if rest else [found]

    def _scratch(self, index: int, size: int) -> list[Range]:
        return [Range(self.plan.scratch[index], size, SCRATCH, None)] if size else []


class TaggedModel:
    """A compiled model as a shared library of this computer that checks its accesses to the arena."""

    def __init__(self, compiled: Compiled, folder: Path, planned: Compiled | None = None) -> None:
        """`planned` says what the layers may use, if not the model that is run."""
        self._compiled, self._planned = compiled, planned or compiled
        name = compiled.program.name
        blocks = {"feeding": feeding(compiled.program), "arrays": arrays(compiled.program)}
        for path, text in {**compiled.files, "harness.c": HARNESS.format(name=name, **blocks)}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, "utf-8")
        include = ("-Iinclude", "-Isrc")
        _run([*compiler(), *CFLAGS, *include, "-fsanitize=thread", "-c", "harness.c", "-o", "harness.o"], folder)
        objects = ("harness.o", f"src/{name}_data.c", str(CHECKER))
        _run([*compiler(), *CFLAGS, *include, "-shared", *objects, "-o", "tagged.so"], folder)
        self._ffi = cffi.FFI()
        self._ffi.cdef(CDEF + f"void {name}_invoke(void); extern int8_t *const {ARRAYS}[];")
        for port in (*compiled.program.inputs, *compiled.program.outputs):
            self._ffi.cdef(f"const void *{port.symbol}(void);")
        self._library: Any = self._ffi.dlopen(str(folder / "tagged.so"))

    def run(self, inputs: Sequence[Array]) -> tuple[list[str], list[bytes]]:
        """(what layers did that they may not, the outputs) of one inference."""
        program, plan = self._compiled.program, self._planned.plan
        for port, value in zip(program.inputs, inputs, strict=True):
            data = np.ascontiguousarray(value, DTYPES[port.tensor.dtype]).tobytes()
            self._ffi.memmove(self._ffi.cast("void *", getattr(self._library, port.symbol)()), data, len(data))
        tags = byte_tags(self._planned)
        arena = np.full(max(1, plan.arena_bytes), NOTHING, np.uint64)
        for tensor in () if self._planned.program.fed else self._planned.graph.inputs:
            arena[plan.tensors[tensor] : plan.tensors[tensor] + len(tags[tensor])] = tags[tensor]
        faults = self._invoke(arena)
        for tensor in self._planned.graph.outputs:
            if tensor in tags:
                held = arena[plan.tensors[tensor] : plan.tensors[tensor] + len(tags[tensor])]
                wrong = np.flatnonzero(held != tags[tensor])
                faults += [f"the end: output {tensor} lacks byte {wrong[0]}"] if len(wrong) else []
        sizes = [(port.symbol, port.tensor.bytes) for port in program.outputs]
        return faults, [bytes(self._ffi.buffer(getattr(self._library, symbol)(), size)) for symbol, size in sizes]

    def _invoke(self, arena: Array) -> list[str]:
        found, ffi = moments(self._planned), self._ffi
        keep = [r.tags for ranges in found for r in ranges]
        ranges = ffi.new("struct range[]", max(1, len(keep)))
        for at, one in enumerate(r for ranges in found for r in ranges):
            tags = ffi.NULL if one.tags is None else ffi.from_buffer("uint64_t[]", one.tags)
            ranges[at] = (one.start, one.bytes, one.kind, tags)
        firsts = np.cumsum([0, *map(len, found)]).astype(np.int32)
        faults = ffi.new("struct fault[]", FAULTS)
        places = getattr(self._library, ARRAYS)
        arenas = enumerate(self._planned.program.arenas)
        parts = ffi.new("struct array[]", [(places[i], array.start, array.bytes) for i, array in arenas])
        self._library.tagged_begin(
            parts,
            len(parts),
            len(found),
            ranges,
            ffi.from_buffer("int32_t[]", firsts),
            ffi.from_buffer("uint64_t[]", arena),
            faults,
        )
        getattr(self._library, f"{self._compiled.program.name}_invoke")()
        count = self._library.tagged_end()
        assert count >= 0, "not every layer ended"
        return [self._text(faults[i]) for i in range(min(count, FAULTS))]

    def _text(self, fault: Any) -> str:
        calls, stops = self._planned.program.calls, self._planned.program.stops
        where = calls[stops[fault.moment].layer].comment if fault.moment < len(stops) else "after the last layer"
        held = f"element {(fault.found & 0xFFFFFFFF) // 8} of tensor {(fault.found >> 32) - 1}"
        held = held if fault.found < 2**62 else "no tensor's"
        return f"{where}: {KINDS[fault.write]} byte {fault.at} of the arena, which is {held}"


def _run(command: Sequence[str], folder: Path) -> None:
    done = run_compiler(command, folder)
    assert done.returncode == 0, done.stderr
