"""Turns the choice of kernels into one whose functions are worth their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tinygen import ops
from tinygen.target import Core
from tinygen.variants import Choice, Choices, choice_of, constant_bytes

CYCLES_A_BYTE = 28
"""What a byte of a function must save of an inference, at least: a kilobyte at 100 MHz a quarter of a millisecond."""


@dataclass(frozen=True)
class _Swap:
    """Leaner kernels for all layers of a function, by node."""

    choices: dict[int, Choice]
    saved_bytes: float
    extra_cycles: float


def leaner(choices: Choices, core: Core, most_cycles: float) -> Choices:
    """The choices, with leaner kernels for all layers of a function that saves too little; the largest goes first.

    All of them together take at most so many cycles more: a small network has few to lose.
    """
    while True:
        swaps = [swap for swap in _swaps(choices, core) if swap.extra_cycles < CYCLES_A_BYTE * swap.saved_bytes]
        swaps = [swap for swap in swaps if swap.extra_cycles <= most_cycles]
        if not swaps:
            return choices
        best = max(swaps, key=lambda swap: swap.saved_bytes)
        most_cycles -= best.extra_cycles
        choices = tuple(best.choices.get(index, choice) for index, choice in enumerate(choices))


def _swaps(choices: Choices, core: Core) -> Iterator[_Swap]:
    """For each function whose layers all have a leaner kernel: these, and what comes of them."""
    layers: dict[str, dict[int, Choice]] = {}
    for index, choice in enumerate(choices):
        if choice:
            layers.setdefault(_function(choice), {})[index] = choice
    for function, present in layers.items():
        swap = _swap(present, core, layers.keys() - {function})
        if swap:
            yield swap


def _swap(present: dict[int, Choice], core: Core, others: set[str]) -> _Swap | None:
    """That of the layers of one function, beside the `others`; None where one of them has no leaner kernel."""
    found: dict[int, Choice] = {}
    new: dict[str, int] = {}
    saved_bytes, cycles = 0.0, 0.0
    for index, choice in present.items():
        leaner = choice.variant.leaner
        variants = ops.SPECS[choice.context.node.op].variants
        variant = next((each for each in variants if leaner and each.name == leaner.variant), None)
        if leaner is None or variant is None or not variant.fits(choice.context, core.features):
            return None
        found[index] = choice_of(choice.context, variant)
        function = _function(found[index])
        new |= {} if function in others else {function: leaner.own_bytes}
        saved_bytes += constant_bytes(choice) - constant_bytes(found[index])
        cycles += leaner.extra_cycles(choice.context)
        code_bytes = leaner.code_bytes
    return _Swap(found, saved_bytes + code_bytes - sum(new.values()), cycles)


def _function(choice: Choice) -> str:
    """What tells the function of a kernel: layers that print the same text share one."""
    return f"{choice.variant.template} {sorted(choice.kernel.values.items(), key=lambda item: item[0])}"
