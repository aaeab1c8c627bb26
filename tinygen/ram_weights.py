"""Chooses the constants that are copied to RAM at the start: those that make a core wait most for its flash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from tinygen import ops
from tinygen.errors import TargetError
from tinygen.memory.regions import FreeRegion
from tinygen.program import Program
from tinygen.target import Target
from tinygen.variants import Choice, Choices

AUTO = -1
"""As many as pay and the board has room for, instead of a number of bytes."""
SHARE_LEFT = 2
"""AUTO leaves one part in so many of the RAM that there still is: the application needs some too."""
LINE_BYTES, CACHE_BYTES = 16, 256
"""What a slow flash gives at a time, and what is cached of its data: as the profile assumes (profile/replay.c)."""
ONCE = 1
"""Passes over constants that are read once in an inference: to have them in RAM is worth little."""
ALL = 0
AT_ONCE: Mapping[str, int] = MappingProxyType(
    {
        "conv_2d.chain.dsp": 4,
        "conv_2d.chain.runs.dsp": 4,
        "conv_2d.chain.v6m": 8,
        "conv_2d.fives.chain.dsp": 5,
        "conv_2d.contiguous.chain.dsp": 4,
        "conv_2d.dsp": 2,
        "conv_2d.few.dsp": 2,
        "conv_2d.pointwise.chain.dsp": 4,
        "conv_2d.pointwise.chain.v6m": 8,
        "conv_2d.winograd.dsp": 32,
        "conv_2d.winograd.v6m": ALL,
        "conv_2d.widened.v6m": ALL,
        "conv_2d.pairs.packed.v7m": 16,
        "conv_2d.pairs.v7m": 16,
    }
)
"""Kernel -> pixels for which it reads a weight once, where that is not the block of its variant, as profiles show."""
OF_A_CHANNEL, OF_A_ROW = "depthwise_conv_2d.", ("depthwise_conv_2d.rows.dsp",)
"""Kernels (all that begin so) that take all pixels of a channel with its weights at hand; or all of a row of it."""


@dataclass(frozen=True)
class RamWeights:
    """Constants in RAM: their bytes, the layers that read them, and about how many cycles of waiting that saves."""

    bytes: int = 0
    layers: int = 0
    saved_cycles: int | None = 0
    """None where the board's wait states are not known."""


NO_RAM_WEIGHTS = RamWeights()


@dataclass(frozen=True)
class _Array:
    """A constant array of the program; `passes`: how often an inference reads all of it past the cache."""

    symbol: str
    bytes: int
    passes: float
    layers: frozenset[int]


def in_ram(
    program: Program,
    choices: Choices,
    board: Target | None,
    wanted: int,
    rooms: Sequence[FreeRegion],
    most_ram_bytes: float,
) -> tuple[Program, RamWeights]:
    """The program with its most worthwhile constants in RAM: `wanted` bytes of them, or with AUTO those that pay.

    AUTO takes a share of what the arena leaves of the RAM for data, and keeps `most_ram_bytes`. `choices` has none for
    nodes without a call. Raises TargetError for cores that cannot read constants from RAM.
    """
    if board and "avr" in board.core.features:
        what = "this core reads constants with instructions of their own, from program memory only"
        raise TargetError(what, where=board.name, remedy="compile without --ram-weights")
    found = sorted(_arrays(program, choices), key=lambda array: (-array.passes, array.symbol))
    left: float = wanted
    if wanted == AUTO:
        left = min(_left(program, board, rooms) // SHARE_LEFT, most_ram_bytes - program.plan.arena_bytes)
        found = [array for array in found if array.passes > ONCE and board and board.flash_wait_states]
    chosen: list[_Array] = []
    for array in found:
        if array.bytes <= left:
            chosen.append(array)
            left -= array.bytes
    symbols = {array.symbol for array in chosen}
    data = tuple(replace(array, ram=array.symbol in symbols) for array in program.data)
    return replace(program, data=data), _facts(chosen, board)


def _left(program: Program, board: Target | None, rooms: Sequence[FreeRegion]) -> int:
    """Bytes of the RAM for data beside the arena and what else is kept there."""
    if board is None:
        return 0
    taken = sum(array.bytes for array in program.arenas if not array.region)
    return next((room.bytes for room in rooms if not room.region), board.main_ram.bytes) - taken


def _facts(chosen: list[_Array], board: Target | None) -> RamWeights:
    waits = board.flash_wait_states if board else None
    lines = sum(array.passes * -(-array.bytes // LINE_BYTES) for array in chosen)
    layers = frozenset[int]().union(*(array.layers for array in chosen))
    return RamWeights(
        sum(array.bytes for array in chosen), len(layers), None if waits is None else round(waits * lines)
    )


def _arrays(program: Program, choices: Choices) -> Iterator[_Array]:
    """The arrays that layers with weights take."""
    sizes = {data.symbol: data.data.nbytes for data in program.data if not data.plain}
    passes: dict[str, float] = {}
    layers: dict[str, set[int]] = {}
    for call, (node, choice) in zip(program.calls, _called(choices), strict=True):
        symbols = [argument for argument in call.arguments if argument in sizes]
        often = _passes(program, node, choice)
        if sum(sizes[symbol] for symbol in symbols) <= CACHE_BYTES:
            often = min(often, ONCE)
        for symbol in symbols if often else ():
            passes[symbol] = passes.get(symbol, 0) + often
            layers.setdefault(symbol, set()).add(call.layer)
    for symbol, often in passes.items():
        yield _Array(symbol, sizes[symbol], often, frozenset(layers[symbol]))


def _called(choices: Choices) -> list[tuple[int, Choice]]:
    return [(node, choice) for node, choice in enumerate(choices) if choice]


def _passes(program: Program, node: int, choice: Choice) -> float:
    """How often a layer reads each of its weights: for every block of pixels, for every row, or once; 0 without any."""
    context = choice.context
    cost, channels = ops.SPECS[context.node.op].cost(context), context.output.shape[-1]
    if not cost.macs or not choice.kernel.constants:
        return 0
    rows = choice.rows if any(run.first <= node <= run.last for run in program.plan.runs) else None
    kernel = Path(rows.template if rows else choice.variant.template).name.removesuffix(".c.j2")
    least = context.output.rows if rows or kernel in OF_A_ROW else ONCE
    at_once = AT_ONCE.get(kernel, ALL if kernel.startswith(OF_A_CHANNEL) else choice.variant.block)
    return least if at_once == ALL else max(least, -(-(cost.outputs // channels) // at_once))
