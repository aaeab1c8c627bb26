"""The layers that are to have 16-bit activations as all operators of a float .tflite that then have them.

An operator without weights, such as ADD or SOFTMAX, follows its neighbours: it has 16 bits when all that it reads comes
from operators that have, and all that reads it does too. Else what it passes on between two such layers would be
rounded to 8 bits on its way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tinygen.quantize.tflite_file import Node, Operator, TfliteFile
from tinygen.quantize.weights import bits_of, check_patterns

FOLLOWING = frozenset(
    {
        Operator.ADD,
        Operator.AVERAGE_POOL_2D,
        Operator.CONCATENATION,
        Operator.LOGISTIC,
        Operator.MAXIMUM,
        Operator.MAX_POOL_2D,
        Operator.MEAN,
        Operator.MUL,
        Operator.PACK,
        Operator.PAD,
        Operator.RELU,
        Operator.RESHAPE,
        Operator.RESIZE_BILINEAR,
        Operator.RESIZE_NEAREST_NEIGHBOR,
        Operator.SLICE,
        Operator.SOFTMAX,
        Operator.SPLIT,
        Operator.STRIDED_SLICE,
        Operator.TANH,
        Operator.TRANSPOSE,
        Operator.UNPACK,
    }
)
"""Operators without weights that both the quantiser and the compiler have for 16 bits."""


def wide_operators(file: TfliteFile, activations: Mapping[str, int]) -> list[Node]:
    """The operators with 16-bit activations, in their order; raises QuantizeError for a pattern without a layer."""
    check_patterns(file, activations)
    nodes = list(file.nodes())
    weighted = {id(node.record) for node in file.weighted()}
    chosen = {i for i, node in enumerate(nodes) if id(node.record) in weighted and bits_of(node, activations) == 16}
    following = {i for i, node in enumerate(nodes) if node.code in FOLLOWING}
    links = _links(file, nodes)
    while narrow := {i for i in following if not _is_between(i, links, chosen | following)}:
        following -= narrow
    return [nodes[i] for i in sorted(chosen | following)]


def _links(file: TfliteFile, nodes: Sequence[Node]) -> list[tuple[int | None, int]]:
    """(place of the operator that makes a tensor, of one that reads it); None makes the model's inputs."""
    makers = {id(tensor): i for i, node in enumerate(nodes) for tensor in node.outputs}
    return [
        (makers.get(id(tensor)), i)
        for i, node in enumerate(nodes)
        for tensor in node.inputs
        if tensor is not None and not file.is_constant(tensor)
    ]


def _is_between(place: int, links: Sequence[tuple[int | None, int]], wide: Collection[int]) -> bool:
    """Whether all neighbours of an operator are `wide`; what leaves the model has no reader."""
    makers = [maker for maker, reader in links if reader == place]
    readers = [reader for maker, reader in links if maker == place]
    return bool(makers) and all(neighbour in wide for neighbour in (*makers, *readers))
