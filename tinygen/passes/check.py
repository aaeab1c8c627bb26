"""Checks every node against its operator's contract and reports all problems together."""

from __future__ import annotations

from tinygen import ops
from tinygen.errors import ModelError, ModelErrors
from tinygen.ir import Graph
from tinygen.ops.spec import context_of
from tinygen.quant import Numerics

EDGES = frozenset({"quantize", "dequantize"})
"""Operators that may meet float32."""


def check(graph: Graph) -> Graph:
    """`graph` itself; ModelErrors when any node cannot be computed."""
    _check_float(graph)
    problems: list[ModelError] = []
    for node in graph.nodes:
        try:
            ops.SPECS[node.op].check(context_of(graph, node, Numerics.TFLITE))
        except ModelError as problem:
            problems.append(problem)
    if problems:
        raise ModelErrors(problems)
    return graph


def _check_float(graph: Graph) -> None:
    """One clear line for a model that was never quantised, instead of one for each operator."""
    inner = [node for node in graph.nodes if node.op not in EDGES]
    floats = {tensor.id for tensor in graph.tensors.values() if tensor.dtype == "float32"}
    float_nodes = [node for node in inner if floats.intersection(node.inputs[:1])]
    if inner and len(float_nodes) == len(inner):
        raise ModelError(
            "float model",
            where=float_nodes[0].location,
            found=f"float32 inputs in all {len(inner)} operators",
            expected="int8",
            remedy="quantise it: full integer quantisation with a representative dataset",
        )
